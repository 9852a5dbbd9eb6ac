"""The VMs, their limits and the platform's tasks: pure, seeded, no I/O; what happened is a list of plain events.

Every change goes through `_happen`, which applies it and hands it to `journal`.  So a world that replays the same
events over the same seed has the same bytes, to the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from stream.core.errors import Rejected
from stream.simulator.habits import HABITS, MIX, mix
from stream.simulator.machine import Change, Machine, Rate, share

Happening: TypeAlias = dict[str, Any]
"""JSON-able: `do` names the kind, `at` the instant in ms; the rest are that kind's own."""

Outcome: TypeAlias = Literal["complete", "fail", "forgotten", "endless"]

FIRST_ID = 101
MOST_TASKS = 2_000
MOST_SCRIPTED = 1_000_000
"""Steps of one script."""
PLACES = ("name", "comment", "account", "node", "cluster", "tags", "disabled")
"""What `edit` can change: none of it touches traffic."""


@dataclass(frozen=True, slots=True)
class Task:
    """A change of limits that the platform works on.  Older ones than the last MOST_TASKS are forgotten."""

    number: int
    consul_id: int
    machine: int
    seen_from: int
    """Not before this instant does the record exist."""
    ends: int
    outcome: Outcome

    def status(self, at: int) -> str | None:
        """`running`, `complete`, `fail`; None while (or since) there is no record of it."""
        if at < self.seen_from or self.outcome == "forgotten":
            return None
        return "running" if at < self.ends or self.outcome == "endless" else self.outcome


class World:
    """A platform's VMs as they are at `clock()` ms.  Time never goes back here, whatever the clock does."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        seed: int = 0,
        step_ms: int = 300_000,
        journal: Callable[[Happening], None] | None = None,
    ) -> None:
        self.seed = seed
        self.step_ms = step_ms
        self.journal = journal
        self.happened = 0
        self.tasks: dict[int, Task] = {}
        self._clock = clock
        self._latest = 0
        self._alive: dict[int, Machine] = {}
        self._lives: dict[int, list[Machine]] = {}
        self._serials = 0
        self._task_numbers = 0

    def now(self) -> int:
        self._latest = max(self._latest, self._clock())
        return self._latest

    # ------------------------------------------------------------ looking

    def machines(self) -> list[Machine]:
        """Those that exist now, in order of creation."""
        return list(self._alive.values())

    def machine(self, id: int) -> Machine:
        """The one that has this id now; raises Rejected if none has."""
        try:
            return self._alive[id]
        except KeyError:
            raise Rejected(f"no such VM: {id}") from None

    def lives(self, id: int) -> Sequence[Machine]:
        """All that ever had this id, oldest first."""
        return self._lives.get(id, [])

    def ids(self) -> list[int]:
        """Every id that was ever given."""
        return list(self._lives)

    def bytes_between(self, id: int, start: int, end: int) -> tuple[int, int]:
        """Ground truth: bytes in and out in `[start, end)`, over all lives of the id."""
        lives = self.lives(id)
        return (
            sum(one.bytes_between("in", start, end) for one in lives),
            sum(one.bytes_between("out", start, end) for one in lives),
        )

    def limits(self, id: int, at: int | None = None) -> tuple[int | None, int | None]:
        """Mbit/s in and out that hold at that instant (now); None is "no limit"."""
        era = self.machine(id).era(self.now() if at is None else at)
        return era.in_mbitps, era.out_mbitps

    def busy_until(self, id: int) -> int | None:
        """When the last of the VM's running tasks ends; None if there is none."""
        now = self.now()
        ends = [task.ends for task in self.tasks.values() if task.machine == id and task.ends > now]
        return max(ends, default=None)

    # ------------------------------------------------------------ changing

    def populate(self, count: int, *, since: int | None = None, habits: Mapping[str, int] = MIX) -> None:
        """`count` VMs of all kinds, as the seed has them, that exist since then.  `habits`: name -> how many of them
        in proportion."""
        self._happen({"do": "populate", "at": self._past(since), "count": count, "habits": dict(habits)})

    def create(
        self,
        *,
        id: int | None = None,
        habit: str = "steady",
        limits: tuple[int | None, int | None] = (100, 100),
        since: int | None = None,
        creating_ms: int = 0,
        **places: Any,
    ) -> int:
        """One VM, active after `creating_ms`; `places` are any of PLACES.  Returns its id: a free one, or the given one
        (which may have belonged to a deleted VM)."""
        at = self._past(since)
        id = max(self._lives, default=FIRST_ID - 1) + 1 if id is None else id
        if id in self._alive:
            raise Rejected(f"the id is taken: {id}")
        event = {"do": "create", "at": at, "id": id, "habit": habit, "in": limits[0], "out": limits[1]}
        self._happen(event | {"creating_ms": creating_ms} | places)
        return id

    def _past(self, since: int | None) -> int:
        now = self.now()
        if since is not None and since > now:
            raise Rejected(f"nothing is created in the future: {since} > {now}")
        return now if since is None else since

    def delete(self, id: int) -> None:
        self.machine(id)
        self._happen({"do": "delete", "at": self.now(), "id": id})

    def edit(self, id: int, **places: Any) -> None:
        """Rename, move, tag, give to another owner, ...: any of PLACES."""
        self.machine(id)
        if unknown := places.keys() - set(PLACES):
            raise Rejected(f"not a property of a VM: {', '.join(sorted(unknown))}", f"one of {', '.join(PLACES)}")
        self._happen({"do": "edit", "at": self.now(), "id": id} | places)

    def start(self, id: int) -> None:
        self._change(id, {"state": "active"}, "owner")

    def stop(self, id: int) -> None:
        self._change(id, {"state": "stopped"}, "owner")

    def set_limits(self, id: int, in_mbitps: int | None, out_mbitps: int | None, *, by: str = "somebody else") -> None:
        """At once and without a task, as the platform's own user interface or its billing may do it."""
        self._change(id, {"net_in_mbitps": in_mbitps, "net_out_mbitps": out_mbitps}, by)

    def _change(self, id: int, values: Mapping[str, int | str | None], by: str) -> None:
        self.machine(id)
        self._happen({"do": "change", "at": self.now(), "id": id, "values": dict(values), "by": by})

    def order(
        self,
        id: int,
        limits: Mapping[str, int | None],
        *,
        by: str,
        takes_ms: int,
        absent_ms: int = 0,
        outcome: Outcome = "complete",
    ) -> Task:
        """A task that changes the limits (net_in_mbitps, net_out_mbitps) when it ends, after the VM's other tasks.
        A forgotten one does its work all the same; a failed or endless one never does."""
        self.machine(id)
        now = self.now()
        ends = (self.busy_until(id) or now) + takes_ms
        event = {"do": "order", "at": now, "id": id, "values": dict(limits), "by": by, "ends": ends}
        self._happen(event | {"seen_from": now + absent_ms, "outcome": outcome})
        return self.tasks[next(reversed(self.tasks))]

    def script(self, id: int, start: int, end: int, bytes_in: int, bytes_out: int) -> None:
        """The VM wants exactly so many bytes in `[start, end)` (whole steps), evenly spread, and gets them unless its
        limits or its state forbid.  Outside it keeps its habit."""
        self.machine(id)
        if start % self.step_ms or end % self.step_ms or start >= end:
            raise Rejected(f"a script covers whole steps of {self.step_ms} ms: {start} .. {end}")
        at = self.now()
        self._happen({"do": "script", "at": at, "id": id, "start": start, "end": end, "in": bytes_in, "out": bytes_out})

    def follow(self, id: int, rate: Rate | None) -> None:
        """From now on (and back to its creation) the VM wants what the function says, scripted steps excepted; None:
        its habit again.  No event can hold a function, so a replay does not have it."""
        self.machine(id).rate = rate

    # ------------------------------------------------------------ events

    def replay(self, happenings: Iterable[Happening]) -> None:
        """What happened before, in order; nothing of it goes to the journal again."""
        for event in happenings:
            self._apply(event)

    def _happen(self, event: Happening) -> None:
        self._apply(event)
        if self.journal is not None:
            self.journal(event)

    def _apply(self, event: Happening) -> None:
        self._latest = max(self._latest, event["at"])
        self.happened += 1
        getattr(self, f"_apply_{event['do']}")(event)

    def _apply_populate(self, event: Happening) -> None:
        habits = [name for name, weight in event["habits"].items() for _ in range(weight)]
        first = max(self._lives, default=FIRST_ID - 1) + 1
        for id in range(first, first + event["count"]):
            draw = mix(self.seed, id)
            limit = (100, 100, 100, 200, 300, 500, 1000, None)[draw % 8]
            self._apply_create(
                {"id": id, "at": event["at"], "habit": habits[mix(draw, 1) % len(habits)], "in": limit, "out": limit}
                | {"account": f"{1 + mix(draw, 2) % (1 + event['count'] // 5)}", "node": f"node-{1 + mix(draw, 3) % 4}"}
                | {"cluster": f"kvm-{1 + mix(draw, 4) % 2}", "tags": ["vpn"] if mix(draw, 5) % 3 == 0 else []}
            )

    def _apply_create(self, event: Happening) -> None:
        if event["habit"] not in HABITS:
            raise Rejected(f"no such habit: {event['habit']}", f"one of {', '.join(HABITS)}")
        self._serials += 1
        at: int = event["at"]
        machine = Machine(
            id=event["id"],
            serial=self._serials,
            key=mix(self.seed, self._serials, event["id"]),
            step_ms=self.step_ms,
            created=at,
            habit=event["habit"],
            name=event.get("name", f"vm{event['id']}.example.com"),
            account=str(event.get("account", "1")),
            node=event.get("node", "node-1"),
            cluster=event.get("cluster", "kvm-1"),
            tags=tuple(event.get("tags", ())),
            comment=event.get("comment", ""),
            disabled=event.get("disabled", False),
        )
        limits = {"net_in_mbitps": event["in"], "net_out_mbitps": event["out"]}
        ready = at + event.get("creating_ms", 0)
        if ready > at:
            machine.change(Change(at, limits | {"state": "creating"}, "creation"))
            machine.change(Change(ready, {"state": "active"}, "creation"))
        else:
            machine.change(Change(at, limits | {"state": "active"}, "creation"))
        self._alive[machine.id] = machine
        self._lives.setdefault(machine.id, []).append(machine)

    def _apply_delete(self, event: Happening) -> None:
        self._alive.pop(event["id"]).deleted = event["at"]

    def _apply_edit(self, event: Happening) -> None:
        machine = self._alive[event["id"]]
        for place in PLACES:
            if place in event:
                setattr(machine, place, tuple(event[place]) if place == "tags" else event[place])

    def _apply_change(self, event: Happening) -> None:
        self._alive[event["id"]].change(Change(event["at"], event["values"], event["by"]))

    def _apply_order(self, event: Happening) -> None:
        self._task_numbers += 1
        task = Task(
            number=self._task_numbers,
            consul_id=500_000 + 7 * self._task_numbers,
            machine=event["id"],
            seen_from=event["seen_from"],
            ends=event["ends"],
            outcome=event["outcome"],
        )
        self.tasks[task.consul_id] = task
        if len(self.tasks) > MOST_TASKS:
            del self.tasks[next(iter(self.tasks))]
        if task.outcome in ("complete", "forgotten"):
            self._alive[task.machine].change(Change(task.ends, event["values"], event["by"]))

    def _apply_script(self, event: Happening) -> None:
        start, length = event["start"], event["end"] - event["start"]
        if length // self.step_ms > MOST_SCRIPTED:
            raise Rejected(f"a script covers at most {MOST_SCRIPTED} steps")
        scripted = self._alive[event["id"]].scripted
        for begin in range(start, event["end"], self.step_ms):
            part = begin - start, begin - start + self.step_ms
            scripted[begin // self.step_ms] = share(event["in"], length, *part), share(event["out"], length, *part)
