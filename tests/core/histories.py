"""From a draft's few words to the records of a log: `Author` remembers who said what so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, NamedTuple

import orjson

from tests.core.strategies import (
    DAY,
    PROFILES,
    SERVICES,
    SOURCES,
    Adjust,
    Apply,
    Batch,
    Delta,
    Deregister,
    Draft,
    Hostile,
    Poll,
    Register,
    Span,
    Step,
    Watermark,
)
from tests.oracle.slicing import slicing

MOST_EDGES = 500
"""No delta spans more slices than this: the ways up are judged at each."""

Json = dict[str, Any]


class Record(NamedTuple):
    offset: int
    appended: int
    value: Any
    padded: bool = False

    def encoded(self) -> bytes:
        return orjson.dumps(self.value, option=orjson.OPT_PASSTHROUGH_DATACLASS) + b" " * (1100 * self.padded)


class Said(NamedTuple):
    """A delta as it was sent."""

    start: int
    end: int
    in_: int
    out: int


@dataclass
class Memory:
    """Of one service: its deltas as the author sees them, and the poll of its source."""

    current: Said
    former: Said
    last: Said


@dataclass
class Author:
    draft: Draft
    services: Sequence[str] = SERVICES
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.draft.beginning
        self.version = 1
        self.plans = self.draft.plan_sets[0]
        start = Said(self.now, self.now, 0, 0)
        self.memory = {service: Memory(start, start, start) for service in self.services}
        self.polls = {source: (self.now, self.now, dict.fromkeys(self.services, (0, 0))) for source in SOURCES}
        self.ids = 0
        self.append({"type": "plans", "version": 1, "plans": self.plans})

    def write(self) -> list[Record]:
        for step in (*self.draft.registrations, *self.draft.steps):
            if step is not None:
                self.tell(step)
        return self.records

    def append(self, value: Any, *, padded: bool = False) -> None:
        offset = self.records[-1].offset + 1 + (len(self.records) % 7 == 3) if self.records else 0
        self.records.append(Record(offset, self.now, value, padded))

    # ------------------------------------------------------------ times

    def after(self, origin: int, span: Span | None) -> int:
        """The instant that lies `span` after `origin`, later than that."""
        if span is None:
            return origin
        return max(origin + 1, self._after(origin, span) + span.off)

    def _after(self, origin: int, span: Span) -> int:
        if span.kind == "ms":
            return origin + span.count
        plan = self.plans[self.named([span.plan])[0]]
        stays = [profile["stay"] for profile in plan["profiles"] if profile["stay"]] or ["period"]
        stay = "period" if span.kind == "edge" else stays[span.count % len(stays)]
        return slicing(plan["window"], 31).start(origin, span.count) if stay == "period" else origin + int(stay)

    def end_of_delta(self, start: int, origin: int, span: Span) -> int:
        sizes: list[int] = [plan["window"].get("slice_ms", DAY // 24) for plan in self.plans.values()]
        return min(self.after(origin, span), start + max(1, origin - start) + MOST_EDGES * min(sizes))

    # ------------------------------------------------------------ steps

    @singledispatchmethod
    def tell(self, step: Step) -> None:
        raise NotImplementedError(step)

    @tell.register
    def _(self, step: Delta) -> None:
        self.append(self.single(step))

    @tell.register
    def _(self, step: Batch) -> None:
        singles = [self.single(delta) for delta in step.deltas]
        self.append(batch(singles), padded=step.padded)

    @tell.register
    def _(self, step: Poll) -> None:
        source = SOURCES[step.source]
        start, end, totals = self.polls[source]
        if not step.grows:
            start, totals = end, dict.fromkeys(self.services, (0, 0))
        end = self.end_of_delta(start, end, step.span)
        more = dict(zip(self.services, step.bytes, strict=True))
        totals = {name: (in_ + more[name][0], out + more[name][1]) for name, (in_, out) in totals.items()}
        self.polls[source] = (start, end, totals)
        names = [name for name in self.services if name.startswith(source)]
        singles = [delta_json(name, Said(start, end, *totals[name]), step.backfill) for name in names]
        for name in names:
            self.remember(name, Said(start, end, *totals[name]))
        self.append(batch(singles), padded=step.padded)

    def single(self, step: Delta) -> Json:
        name = self.services[step.service]
        memory = self.memory[name]
        said = self.shaped(step, memory.current, memory.former, memory.last)
        self.remember(name, said)
        return delta_json(name, said, step.backfill)

    def shaped(self, step: Delta, current: Said, former: Said, last: Said) -> Said:
        (start, end, *counted), shape = current, step.shape
        in_, out = step.bytes
        if shape == "again" and last.end > last.start:
            return last
        if shape == "former" and former.start < start:
            until = self.end_of_delta(former.start, former.end, step.span)
            until = until if step.span.off > 0 else min(until, max(start, former.start + 1))
            return Said(former.start, until, former.in_ + in_, former.out + out)
        if shape in ("grow", "shrink") and end > start:
            later = self.end_of_delta(start, end, step.span) if step.span.off >= 0 else end
            known = [total // 2 if shape == "shrink" else total for total in counted]
            return Said(start, later, known[0] + in_, known[1] + out)
        if shape in ("behind", "inside", "long_ago") and end - start > 1:
            early = {"behind": start - 5, "inside": (start + end) // 2, "long_ago": start - 40 * DAY}[shape]
            return Said(max(0, early), max(max(0, early) + 1, end - (shape != "inside")), in_, out)
        if shape == "overlap" and end - start > 1:
            middle = (start + end) // 2
            return Said(middle, self.end_of_delta(middle, end, step.span), in_, out)
        begin = end + 7000 if shape == "gap" else end
        return Said(begin, self.end_of_delta(begin, begin, step.span), in_, out)

    def remember(self, name: str, said: Said) -> None:
        memory = self.memory[name]
        if said.end > memory.current.end or said.start == memory.current.start:
            memory.former = memory.former if said.start == memory.current.start else memory.current
            memory.current = said
        elif said.start == memory.former.start:
            memory.former = said
        memory.last = said
        self.now = max(self.now, said.end)

    @tell.register
    def _(self, step: Watermark) -> None:
        source = (*SOURCES, "vm9")[step.source]
        ends = [memory.current.end for name, memory in self.memory.items() if name.startswith(source)]
        at = self.after(max(ends, default=self.now), step.span)
        self.now = max(self.now, at)
        self.append({"type": "watermark", "source": source, "at": at})

    def named(self, numbers: Iterable[int]) -> list[str]:
        """Plans in force; a number beyond them is the last one."""
        names = list(self.plans)
        return list(dict.fromkeys(names[min(number, len(names) - 1)] for number in numbers))

    @tell.register
    def _(self, step: Register) -> None:
        self.append(self.registration(step))

    def registration(self, step: Register) -> Json:
        name = self.services[step.service]
        value: Json = {"type": "registration", "service": name, "plans": self.named(step.plans)}
        value["quota"], value["anchor_day"] = step.own
        if step.source is not None:
            value["source"] = SOURCES[step.source]
        if step.at is not None:
            value["at"] = self.at(name, step.at)
        return value

    def at(self, name: str, span: Span) -> int:
        """Ahead of the service's own deltas."""
        at = self.after(self.memory[name].current.end, span)
        self.now = max(self.now, at)
        return at

    @tell.register
    def _(self, step: Deregister) -> None:
        name = self.services[step.service]
        value: Json = {"type": "forget" if step.forgets else "deregistration", "service": name}
        self.append(value if step.at is None else value | {"at": self.at(name, step.at)})

    @tell.register
    def _(self, step: Adjust) -> None:
        name = self.services[step.service]
        value: Json = {"type": "adjustment", "service": name, "kind": step.kind, "by": "anna", "why": "because"}
        self.ids += not step.repeats
        value["id"] = f"{name}/{self.ids}"
        value["plan"] = None if step.plan is None else self.named([step.plan])[0]
        if step.kind == "pin":
            value["profile"] = PROFILES[step.profile]
        if step.kind == "credit":
            value["bytes"] = step.bytes
        end = self.memory[name].current.end
        if step.back is not None:
            value["at"] = max(0, 2 * end - self.after(end, step.back))
        elif step.at is not None:
            value["at"] = self.at(name, step.at)
        if step.until is not None and step.kind in ("exempt", "pin"):
            value["until"] = self.after(end, step.until)
        self.append(value)

    @tell.register
    def _(self, step: Apply) -> None:
        self.version += step.newer
        self.plans = self.draft.plan_sets[step.plans % len(self.draft.plan_sets)] if step.newer else self.plans
        self.append({"type": "plans", "version": self.version, "plans": self.plans})

    @tell.register
    def _(self, step: Hostile) -> None:
        name = self.services[step.service]
        value = self.spoiled(name, step.what)
        good = self.single(Delta(step.service, "next", Span("ms", 10), (5, 5)))
        if step.in_batch and isinstance(value, dict) and "type" not in value and len(value) >= 5:
            self.append(batch([good, value, good | {"service": self.services[0]}]))
        else:
            self.append(value)

    def spoiled(self, name: str, what: str) -> Any:
        end = self.memory[name].current.end
        delta = delta_json(name, Said(end, end + 10, 5, 5), False)
        far = self.now + 3 * DAY
        changed: dict[str, Json] = {
            "reversed": {"start": end + 20},
            "empty": {"start": end + 10},
            "too_long": {"start": max(0, end + 9 - 400 * DAY)},
            "negative": {"in": -1},
            "enormous": {"out": (1 << 50) + 1},
            "far_ahead": {"end": far},
            "boolean": {"in": True},
            "float": {"in": 5.0},
            "string": {"start": str(end)},
            "null": {"end": None},
            "beyond_64_bits": {"in": 1 << 63},
            "list": {"out": [5]},
            "no_service": {"service": "nobody"},
            "unregistered": {"service": "vm1/unknown"},
            "elsewhere": {"service": "elsewhere/1"},
            "registered_ahead": {"type": "registration", "plans": [], "at": far},
            "mark_ahead": {"type": "watermark", "source": "vm1", "at": far},
            "plan_twice": {"type": "registration", "plans": ["a", "a"]},
            "plan_unknown": {"type": "registration", "plans": ["nothing"]},
            "no_by": {"type": "adjustment", "kind": "reset", "id": f"no{self.now}"},
            "kind_unknown": {"type": "adjustment", "kind": "forgive", "id": "k", "by": "anna"},
            "unknown_type": {"type": "wish"},
            "no_batch": {"type": "batch", "services": [name], "in": [1, 2], "out": [1]},
        }
        if what == "missing":
            return {key: value for key, value in delta.items() if key != "out"}
        return [delta] if what == "not_an_object" else delta | changed[what]


def delta_json(name: str, said: Said, backfill: bool) -> Json:
    value: Json = {"service": name, "start": said.start, "end": said.end, "in": said.in_, "out": said.out}
    return value | {"backfill": True} if backfill else value


def batch(singles: list[Json]) -> Json:
    """One record of them; one that fills up makes all of it a backfill.  Equal instants are written once."""
    value: Json = {"type": "batch", "source": "vm1", "services": [single["service"] for single in singles]}
    for column in ("start", "end", "in", "out"):
        values = [single[column] for single in singles]
        same = column in ("start", "end") and all(type(each) is int and each == values[0] for each in values)
        value[column] = values[0] if same else values
    return value | {"backfill": True} if any(single.get("backfill") for single in singles) else value


def written(draft: Draft) -> list[Record]:
    return Author(draft).write()
