"""One partition: registrations, watermarks, plans, and which service a record speaks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.oracle.adjusting import adjust
from tests.oracle.ladder import LONG_AGO, NEVER, Ladder
from tests.oracle.reading import Element, Json, Malformed, read
from tests.oracle.service import Counted, Refused, Service

DAY_MS = 86_400_000
MOST_SOURCES = 4096


class Partition:
    """Takes the records of one partition in order; `outcomes` and `rejects` collect what goes out."""

    def __init__(self, number: int = 0, partition_of: Callable[[str], int] = lambda service: 0) -> None:
        self.number = number
        self.partition_of = partition_of
        self.services: dict[str, Service] = {}
        self.plans: dict[str, Json] = {}
        self.plans_version = 0
        self.marks: dict[str, int] = {}
        self.adjustments: dict[str, int] = {}
        """When (append time) which id was accepted."""
        self.outcomes: list[Json] = []
        self.rejects: list[tuple[int, int, str]] = []
        """(offset, index, class of the reason)"""
        self._input = (0, 0)
        self._adjustment: Json | None = None

    def apply(self, offset: int, appended: int, value: Any) -> None:
        """A record: `value` is the parsed JSON."""
        for element in read(value, appended):
            self._input = (offset, element.index)
            self._adjustment = None
            try:
                if isinstance(element, Malformed):
                    raise Refused("malformed")
                self._act(element, appended)
            except Refused as refused:
                self.rejects.append((offset, element.index, str(refused)))

    def _act(self, element: Element, appended: int) -> None:
        fields = element.fields
        if element.kind == "plans":
            self._change_plans(fields["version"], fields["plans"])
        elif element.kind == "watermark":
            self._move_mark(fields["source"], fields["at"])
        elif element.kind == "registration":
            self._register(fields)
        elif element.kind in ("deregistration", "forget"):
            self._deregister(fields["service"], fields["at"])
        elif element.kind == "adjustment":
            self._adjust(fields, appended)
        else:
            service = self._known(fields["service"])
            service.delta(fields["start"], fields["end"], fields["in"], fields["out"], fields["backfill"])

    def _known(self, name: str) -> Service:
        if name not in self.services:
            raise Refused("not registered" if self.partition_of(name) == self.number else "wrong partition")
        return self.services[name]

    def _tell(self, kind: str, service: Service, **fields: Any) -> None:
        decided = {"revision": service.revision, "adjustment": self._adjustment} if kind == "decision" else {}
        self.outcomes.append(
            {
                "type": kind,
                "service": service.name,
                "incarnation": service.incarnation,
                "plans_version": self.plans_version,
                "input": self._input,
                "partition": self.number,
                **decided,
                **fields,
            }
        )

    # ------------------------------------------------------------ registrations

    def _register(self, fields: Json) -> None:
        name, names = fields["service"], fields["plans"]
        known = self.services.get(name)
        if known is None and self.partition_of(name) != self.number:
            raise Refused("wrong partition")
        if len(set(names)) < len(names):
            raise Refused("plan listed twice")
        if len(names) > 8:
            raise Refused("too many plans")
        owner: Any = known or Service(
            name=name,
            incarnation=self._input[0],
            source=fields["source"],
            quota=fields["quota"],
            anchor_day=fields["anchor_day"],
            labels=fields["labels"],
            marks=self.marks,
            tell=self._tell,
        )
        for plan in names:
            if plan not in self.plans:
                raise Refused("unknown plan")
            if plan not in [ladder.name for ladder in owner.ladders]:
                self._require(owner, self.plans[plan])
        if known is None:
            owner.ladders = [self._ladder(owner, plan, fields["at"], None) for plan in names]
            self.services[name] = owner
            owner.decide("registered", fields["at"])
        else:
            self._register_again(known, fields)

    def _require(self, service: Service, plan: Json) -> None:
        if service.quota is None and any(profile["quota"] == "service" for profile in plan["profiles"]):
            raise Refused("quota is missing")
        if service.anchor_day is None and plan["window"].get("anchor_day") == "service":
            raise Refused("anchor_day is missing")

    def _ladder(self, service: Service, plan: str, at: int, since: int | None) -> Ladder:
        return Ladder(plan, self.plans[plan], service.quota, service.anchor_day, at, since)

    def _register_again(self, service: Service, fields: Json) -> None:
        """Sets plans, labels and source, and nothing else."""
        if fields["source"] != service.source:
            service.own_time, service.source = service.time, fields["source"]
        now = fields["at"] if service.time is None else service.time
        service.labels = fields["labels"]
        kept = {ladder.name: ladder for ladder in service.ladders}
        service.ladders = [kept.get(plan) or self._ladder(service, plan, now, service.time) for plan in fields["plans"]]
        if set(kept) != set(fields["plans"]):
            service.decide("plans_changed", now)

    def _deregister(self, name: str, at: int) -> None:
        service = self.services.pop(name, None)
        if service is None and self.partition_of(name) != self.number:
            raise Refused("wrong partition")
        if service is not None:
            service.decide("deregistered", max(at, service.time or 0), speed=(None, None))

    # ------------------------------------------------------------ the rest

    def _move_mark(self, source: str, at: int) -> None:
        if source not in self.marks and len(self.marks) >= MOST_SOURCES:
            raise Refused("too many sources")
        if at <= self.marks.get(source, LONG_AGO):
            return
        followers = [(each, each.time) for each in self.services.values() if each.source == source]
        self.marks[source] = at
        for service, before in followers:
            if not service.backfilling and service.time is not None:
                service.judge_until(before, service.time)

    def _adjust(self, fields: Json, appended: int) -> None:
        accepted = self.adjustments.get(fields["id"])
        if accepted is not None and appended - accepted <= 40 * DAY_MS:
            return
        echo = ("id", "kind", "by", "why", "bytes", "until", "plan", "profile")
        self._adjustment = {name: fields[name] for name in echo if fields[name] is not None}
        adjust(self._known(fields["service"]), fields)
        self.adjustments[fields["id"]] = appended

    def _change_plans(self, version: int, plans: dict[str, Json]) -> None:
        if version <= self.plans_version:
            return
        changed = {name for name, plan in self.plans.items() if plans.get(name) != plan}
        self.plans, self.plans_version = plans, version
        for service in self.services.values():
            if any(ladder.name in changed for ladder in service.ladders):
                self._replan(service, changed)

    def _replan(self, service: Service, changed: set[str]) -> None:
        """The new plans take effect as a whole; then come the decisions about it, then what shrunken quotas bring."""
        entered = max((ladder.entered_at for ladder in service.ladders), default=0)
        now = entered if service.time is None else service.time
        speed, count = service.speed(), len(service.ladders)
        service.ladders = [ladder for ladder in service.ladders if ladder.name in self.plans]
        shaken = [ladder for ladder in service.ladders if ladder.name in changed]
        told: list[tuple[str, Json]] = []
        for ladder in shaken:
            former, account, pinned = ladder.profile, ladder.account(now, now), ladder.pin
            ladder.replan(self.plans[ladder.name], now)
            if not ladder.has(former):
                to = {"to": ladder.profile, "profile_speed": ladder.speed(ladder.profile)}
                told.append(("plans_changed", {"plan": ladder.name, "from": former, **to, **account}))
            if ladder.pin != pinned:
                told.append(("unpinned", {}))
        if len(service.ladders) < count or (service.speed() != speed and not told):
            told.insert(0, ("plans_changed", {}))
        for reason, fields in told:
            service.decide(reason, now, **fields)
        for ladder in shaken:
            if service.time is not None and not service.backfilling and not ladder.resting:
                service.go_down(ladder, now, now)

    # ------------------------------------------------------------ the state

    def export(self) -> Json:
        return {
            "plans": self.plans,
            "plans_version": self.plans_version,
            "marks": self.marks,
            "services": {name: exported(service) for name, service in self.services.items()},
        }


def exported(service: Service) -> Json:
    def counted(anchor: Counted | None) -> tuple[int, int, int, int] | None:
        return None if anchor is None else (anchor.start, anchor.end, anchor.in_, anchor.out)

    return {
        "incarnation": service.incarnation,
        "revision": service.revision,
        "source": service.source,
        "labels": service.labels,
        "quota": service.quota,
        "anchor_day": service.anchor_day,
        "time": service.time,
        "current": counted(service.current),
        "previous": counted(service.previous),
        "accepted": service.accepted,
        "stale": service.stale,
        "backfilling": service.backfilling,
        "speed": service.speed(),
        "ladders": [exported_ladder(ladder, service.time) for ladder in service.ladders],
    }


def exported_ladder(ladder: Ladder, time: int | None) -> Json:
    """As of the service's time."""
    now = ladder.entered_at if time is None else time

    def known(instant: int) -> int | None:
        return None if instant in (NEVER, LONG_AGO) else instant

    return {
        "plan": ladder.name,
        "profile": ladder.profile,
        "due": ladder.speed(),
        "entered_at": ladder.entered_at,
        "stay_until": known(ladder.stay_end) if ladder.described()["up"] else None,
        "next_up": known(ladder.next_up()),
        "quota_bytes": ladder.quota(now),
        "amounts": ladder.window(now, now),
        "warned": ladder.warned_in == ladder.warning_period(now),
        "since": ladder.since,
        "counted_from": known(ladder.clip),
        "credits": ladder.credits,
        "exempt_until": ladder.exempt_until,
        "pin": None if ladder.pin is None else (ladder.pin[0], known(ladder.pin[1])),
        "ledger": ladder.ledger,
    }
