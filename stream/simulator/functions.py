"""What the platform does for each function of its API, faults and access aside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zlib import crc32

import orjson

from stream.core.errors import Rejected
from stream.simulator import metrics, where
from stream.simulator.access import Access
from stream.simulator.faults import ON_TASK, Faults
from stream.simulator.knobs import Knobs
from stream.simulator.machine import Machine
from stream.simulator.reply import (
    INSTANCE_NOT_FOUND,
    INVENTED_BAD_REQUEST,
    INVENTED_BUSY,
    INVENTED_INTERNAL,
    INVENTED_WRONG_PASSWORD,
    Reply,
    error,
)
from stream.simulator.world import Outcome, Task, World

LARGEST_BODY = 64 * 1024
NUMBER = re.compile("[0-9]{1,18}")
TASK_NAME = "host_change_params"
OUTCOMES: Mapping[str, Outcome] = {"task_fails": "fail", "task_forgotten": "forgotten", "task_endless": "endless"}
RELATED = ("account", "node", "cluster", "ip4", "ip6", "tags")
"""What the list has and a single VM's answer leaves out."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart."""

    method: str
    path: str
    arguments: Mapping[str, Any]
    """Of the path."""
    query: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The content as JSON, None if there is none; raises Rejected."""
        if len(self.content) > LARGEST_BODY:
            raise Rejected("the body is too long")
        try:
            return orjson.loads(self.content) if self.content else None
        except orjson.JSONDecodeError:
            raise Rejected("the body is not JSON") from None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Functions:
    """Each returns a reply; what a caller got wrong is raised as Rejected."""

    world: World
    knobs: Knobs
    faults: Faults
    access: Access

    # ------------------------------------------------------------ auth

    def login(self, call: Call) -> Reply:
        body = call.body
        if not isinstance(body, dict):
            raise Rejected("the body is not an object")
        token = self.access.login(body.get("email"), body.get("password"), self.world.now())
        if token is None:
            return error(self.knobs.wrong_password_status, INVENTED_WRONG_PASSWORD, "Wrong password (invented)")
        content = {"id": str(token.id), "token": token.text, "expires_at": _date(token.expires), "confirmed": True}
        return Reply(self.knobs.login_status, content)

    def issue_token(self, call: Call) -> Reply:
        body = call.body
        if not isinstance(body, dict):
            raise Rejected("the body is not an object")
        token = self.access.issue(body.get("expires_at"))
        content = {"id": token.id, "token": token.text, "expires_at": _date(token.expires)}
        return Reply(201, content | {"description": str(body.get("description", ""))})

    def logout(self, call: Call) -> Reply:
        token = self.access.logout(call.arguments["token"])
        return Reply(200, {"id": token.id}) if token else error(404, INSTANCE_NOT_FOUND, "Token not found")

    # ------------------------------------------------------------ VMs

    def hosts(self, call: Call) -> Reply:
        now = self.world.now()
        rows = [self._row(machine, now) for machine in self.world.machines()]
        if "where" in call.query:
            passes, fields = where.parse(call.query["where"])
            if self.knobs.filters == "id" and fields - {"id"}:
                return error(500, INVENTED_INTERNAL, "Internal error (invented)")
            rows = [row for row in rows if passes(row)]
        return Reply(200, {"list": rows[: self.knobs.list_limit], "last_notify": 1000 + self.world.happened})

    def host(self, call: Call) -> Reply:
        row = self._row(self.world.machine(call.arguments["id"]), self.world.now())
        return Reply(200, {key: value for key, value in row.items() if key not in RELATED})

    def _row(self, machine: Machine, now: int) -> dict[str, Any]:
        era = machine.era(now)
        row: dict[str, Any] = {
            "id": machine.id,
            "name": machine.name,
            "domain": machine.name,
            "comment": machine.comment,
            "state": era.state,
            "disabled": machine.disabled,
            "account": {
                "id": int(machine.account) if NUMBER.fullmatch(machine.account) else machine.account,
                "email": f"user{machine.account}@example.com",
            },
            "node": {"id": crc32(machine.node.encode()) % 10_000, "name": machine.node},
            "cluster": {"id": crc32(machine.cluster.encode()) % 10_000, "name": machine.cluster},
            "ip4": [{"ip": f"10.{machine.serial >> 16 & 255}.{machine.serial >> 8 & 255}.{machine.serial & 255}"}],
            "ip6": [],
            "tags": [self._tag(name) for name in machine.tags],
        }
        limits = [self.knobs.unlimited if limit is None else limit for limit in (era.in_mbitps, era.out_mbitps)]
        if self.knobs.bandwidth == "one":
            return row | {"net_bandwidth_mbitps": limits[0]}
        return row | {"net_in_mbitps": limits[0], "net_out_mbitps": limits[1]}

    def _tag(self, name: str) -> str | dict[str, Any]:
        return name if self.knobs.tags == "names" else {"id": crc32(name.encode()) % 10_000, "name": name}

    def metrics(self, call: Call) -> Reply:
        machine = self.world.machine(call.arguments["id"])
        lives = [machine] if self.knobs.reused_id == "fresh" else self.world.lives(machine.id)
        now = self.world.now()
        asked = call.query
        query = metrics.parse(
            asked.get("target", ""), asked.get("from", "-1d"), asked.get("until", "now"), asked.get("interval"),
            now, self.knobs,
        )  # fmt: skip
        points = metrics.render(lives, query, now, self.knobs, partial(self.faults.hides, now=now))
        if points is None:
            return Reply(200, [] if self.knobs.no_data == "list" else [{"datapoints": []}])
        return Reply(200, [{"datapoints": points}])

    def history(self, call: Call) -> Reply:
        """Its fields are invented, as no sample of it is known."""
        machine, now = self.world.machine(call.arguments["id"]), self.world.now()
        rows = [
            {"id": number, "name": TASK_NAME, "date_create": _date(change.at), "account": {"email": change.by}}
            | {"params": dict(change.values)}
            for number, change in enumerate(machine.changes, 1)
            if change.at <= now
        ]
        return Reply(200, {"list": rows})

    # ------------------------------------------------------------ limits

    def change_resource(self, call: Call) -> Reply:
        machine = self.world.machine(call.arguments["id"])
        limits = self._limits(call.body)
        if self.knobs.busy == "refuse" and self.world.busy_until(machine.id) is not None:
            return error(409, INVENTED_BUSY, "The VM is busy (invented)", id=machine.id)
        if self.knobs.immediate:
            self.world.set_limits(machine.id, *self._merged(machine, limits), by=self.access.email)
            return Reply(200, {"id": machine.id})
        fault = self.faults.strike(str(call), self.world.now(), ON_TASK)
        task = self.world.order(
            machine.id,
            limits,
            by=self.access.email,
            takes_ms=self.knobs.task_ms,
            absent_ms=self.knobs.task_absent_ms,
            outcome=OUTCOMES[fault.effect] if fault else "complete",
        )
        return Reply(200, {"id": machine.id, "task": task.consul_id})

    def _merged(self, machine: Machine, limits: Mapping[str, int | None]) -> tuple[int | None, int | None]:
        era = machine.era(self.world.now())
        return limits.get("net_in_mbitps", era.in_mbitps), limits.get("net_out_mbitps", era.out_mbitps)

    def _limits(self, body: Any) -> dict[str, int | None]:
        """What is asked for, None being "no limit"; raises Rejected for anything but limits, so that a client which
        sends more than it should is noticed."""
        names = ("net_bandwidth_mbitps",) if self.knobs.bandwidth == "one" else ("net_in_mbitps", "net_out_mbitps")
        if not isinstance(body, dict) or not body or body.keys() - set(names):
            raise Rejected(f"the body must hold nothing but {' and '.join(names)}")
        limits: dict[str, int | None] = {}
        for name, value in body.items():
            if value == self.knobs.unlimited and not isinstance(value, bool):
                limits[name] = None
            elif isinstance(value, int) and not isinstance(value, bool):
                limits[name] = value
                if not self.knobs.slowest_mbitps <= value <= self.knobs.fastest_mbitps:
                    raise Rejected(f"{name} is out of range: {value}")
            else:
                raise Rejected(f"{name} is not a whole number of Mbit/s")
        if self.knobs.bandwidth == "one":
            return dict.fromkeys(("net_in_mbitps", "net_out_mbitps"), limits["net_bandwidth_mbitps"])
        return limits

    # ------------------------------------------------------------ tasks

    def tasks(self, call: Call) -> Reply:
        rows = [row for task in self.world.tasks.values() if (row := self._task(task)) is not None]
        if "where" in call.query:
            passes, _ = where.parse(call.query["where"])
            rows = [row for row in rows if passes(row)]
        return Reply(200, {"list": rows, "last_notify": 1000 + self.world.happened})

    def task(self, call: Call) -> Reply:
        number = call.arguments["id"]
        for task in self.world.tasks.values():
            if number in (task.consul_id, task.number) and (row := self._task(task)) is not None:
                return Reply(200, {"task": row})
        return error(404, INSTANCE_NOT_FOUND, "Task not found", id=number)

    def _task(self, task: Task) -> dict[str, Any] | None:
        status = task.status(self.world.now())
        if status is None:
            return None
        status = self.knobs.failed if status == "fail" else status
        return {"id": task.number, "consul_id": task.consul_id, "name": TASK_NAME, "status": status}


def refusal(rejected: Rejected) -> Reply:
    """A caller's mistake as an error of the platform."""
    if rejected.reason.startswith("no such VM"):
        return error(404, INSTANCE_NOT_FOUND, "Instance not found")
    return error(400, INVENTED_BAD_REQUEST, f"{rejected.reason} (invented)")


def _date(at: int) -> str:
    return datetime.fromtimestamp(min(at, 253_402_300_799_000) // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
