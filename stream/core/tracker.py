"""One partition's state machine: records in, decisions out.  No I/O, no clock; illegal input changes nothing.

apply(events, next_offset) -> drain()                    what was decided
                           -> dirty_pages(), meta()      what a checkpoint writes; clean() when it is taken
Tracker.restore(...)                                     the same state from that
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from heapq import heapify
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core import enrolling, reports
from stream.core.adjusting import adjust
from stream.core.batches import Group, resolve
from stream.core.counting import Delta, Tally
from stream.core.errors import Corrupt, Rejected
from stream.core.folding import MOST_TOLD, folded
from stream.core.joining import joined
from stream.core.judging import Cause
from stream.core.mapping import FieldMapping
from stream.core.model import (
    Adjustment,
    DeadLetter,
    Decision,
    Deltas,
    Deregistration,
    Event,
    Malformed,
    Names,
    Plans,
    Position,
    QuotaWarning,
    Registration,
    Watermark,
)
from stream.core.page import Page
from stream.core.plan import Plan
from stream.core.remembered import PREFIX, RememberedIds
from stream.core.replanning import replan
from stream.core.services import Services, Taken
from stream.core.speed import Speed
from stream.core.storing import MARKS, PLANS, marks_page, page_of, plans_of, plans_page, restore_page
from stream.core.vectors import Columns, Left, count, take
from stream.core.view import Counted, ServiceView, view_of

MOST_SOURCES: Final = 4096
FEW: Final = 8
AT_ONCE: Final = 500
"""Services that are looked at before others may run, where a record concerns many."""
_CARRY_EVERY: Final = 512
"""Rounds after which columns of accepted bytes are looked after: each adds at most 2^50 to a row."""


class Drained(NamedTuple):
    """What came since the last time, in the order of its input."""

    outcomes: list[Decision | QuotaWarning]
    dead_letters: list[DeadLetter]


class Tracker:
    def __init__(self, partition: int, partition_of: Callable[[str], int], *, few: int = FEW) -> None:
        """Fewer deltas than `few` of different services at a time are counted one by one, with the same result."""
        self.partition = partition
        self.next_offset = 0
        self.plans: Mapping[str, Plan] = {}
        self.mappings: Mapping[str, FieldMapping] = {}
        """How foreign records after `next_offset` are read: in force with the plans of this version."""
        self.plans_version = 0
        self._partition_of = partition_of
        self._few = few
        self._services = Services()
        self._ids = RememberedIds()
        self._dirty = {PLANS, MARKS}  # of the pages that are there once; of a new tracker both are written
        self._tally = Tally()
        self._outcomes: list[Decision | QuotaWarning] = []
        self._dead_letters: list[DeadLetter] = []
        self._rounds = 0

    # ------------------------------------------------------------ in and out

    def apply(self, events: Sequence[Event], next_offset: int) -> None:
        """Events in the order of the log; afterwards everything before `next_offset` is applied."""
        for _ in self.steps(events, next_offset):
            pass

    def steps(self, events: Sequence[Event], next_offset: int) -> Iterator[None]:
        """As `apply`, in pieces: one record of plans may change what is due to every service, which takes seconds.

        What lies between two pieces is no state to be asked or made durable.
        """
        for event in events:
            if isinstance(event, Deltas):
                self._count(event)
            elif isinstance(event, Malformed):
                self._dead_letters.append(DeadLetter(event.position, event.reason, event.cure, event.value))
            else:
                try:
                    yield from self._act(event)
                except Rejected as refusal:
                    self._reject(event.position, refusal, _as_json(event))
        self.next_offset = next_offset

    def drain(self) -> Drained:
        letters = sorted(self._dead_letters, key=lambda letter: letter.position)
        drained = Drained(self._outcomes, letters)
        self._outcomes, self._dead_letters = [], []
        return drained

    @property
    def counters(self) -> dict[str, int]:
        """Totals since this object was made, for metrics."""
        return self._tally.read()

    def _act(self, event: Registration | Deregistration | Watermark | Adjustment | Plans) -> Iterator[None]:
        if isinstance(event, Registration):
            self._register(event)
        elif isinstance(event, Deregistration):
            self._deregister(event)
        elif isinstance(event, Watermark):
            yield from self._watermark(event)
        elif isinstance(event, Adjustment):
            self._adjust(event)
        else:
            yield from self._change_plans(event)

    def _cause(self, position: Position) -> Cause:
        return Cause(position, self.partition, self.plans_version)

    def _reject(self, position: Position, refusal: Rejected, value: bytes) -> None:
        self._dead_letters.append(DeadLetter(position, refusal.reason, refusal.cure, value))

    # ------------------------------------------------------------ deltas

    def _count(self, deltas: Deltas) -> None:
        resolved = resolve(self._services, deltas.names)
        if len(resolved.unknown):
            self._reject_unknown(deltas, resolved.unknown.tolist())
        found: list[tuple[int, Decision | QuotaWarning]] = []
        for groups in resolved.rounds:
            for group in groups:
                left = self._count_columns(deltas, group)
                for place, taken in left.to_count:
                    found += [(place, outcome) for outcome in self._count_one(deltas, place, taken)]
                found += left.moves
            self._rounds += 1
            if self._rounds % _CARRY_EVERY == 0:
                self._services.carry()
        found.sort(key=lambda each: each[0])
        self._outcomes += [outcome for _, outcome in found]

    def _reject_unknown(self, deltas: Deltas, places: list[int]) -> None:
        """Each of the first, then the rest as one; but all of those that are records of their own."""
        names = deltas.names.strings() if isinstance(deltas.names, Names) else deltas.names
        told = MOST_TOLD if isinstance(deltas.offset, int) else len(places)
        for place in places[: told + 1]:
            refusal = enrolling.unknown(names[place], self.partition, self._partition_of)
            if len(places) > told and place == places[told]:
                refusal = folded(len(places) - told, refusal)
            self._reject(_position(deltas, place), refusal, _element(deltas, place, names[place]))

    def _count_columns(self, deltas: Deltas, group: Group) -> Left:
        """Counts what can be counted by columns, and returns the rest."""
        if len(group) < self._few:
            return Left(take(self._services, group))
        columns = Columns.of(deltas, group.places)
        return count(self._services, self._tally, group, columns, lambda place: self._cause(_position(deltas, place)))

    def _count_one(self, deltas: Deltas, place: int, taken: Taken) -> list[Decision | QuotaWarning]:
        position = _position(deltas, place)
        try:
            taken.service.delta(_delta(deltas, place), self._cause(position), self._tally)
        except Rejected as refusal:
            self._reject(position, refusal, _element(deltas, place, taken.service.name))
        self._services.store(taken)
        return taken.service.outcomes

    # ------------------------------------------------------------ control records

    def _find(self, name: str) -> Taken:
        row = self._services.names.row(name)
        if row < 0:
            raise enrolling.unknown(name, self.partition, self._partition_of)
        return self._services.take(row)

    def _put_back(self, taken: Taken) -> None:
        self._services.store(taken)
        self._outcomes += taken.service.outcomes

    def _register(self, event: Registration) -> None:
        cause = self._cause(event.position)
        row = self._services.names.row(event.service)
        if row >= 0:
            taken = self._services.take(row)
            enrolling.enrol_again(event, taken.service, self.plans, cause)
            taken.service.mark = self._services.marks.get(event.source)
            enrolling.set_plans(event, taken.service, self.plans, cause)
            self._put_back(taken)
            return
        owner = self._partition_of(event.service)
        if owner != self.partition:
            raise enrolling.wrong_partition(event.service, self.partition, owner)
        service = enrolling.enrol(event, self.plans, cause)
        self._services.add(service)
        self._outcomes += service.outcomes

    def _deregister(self, event: Deregistration) -> None:
        row = self._services.names.row(event.service)
        if row < 0:
            owner = self._partition_of(event.service)
            if owner != self.partition:
                raise enrolling.wrong_partition(event.service, self.partition, owner)
            self._tally.add("deregistrations_repeated")
            return
        taken = self._services.take(row)
        service = taken.service
        service.ladders = []
        service.decide(self._cause(event.position), "deregistered", max(event.at, service.time or 0))
        self._services.remove(taken)
        self._outcomes += service.outcomes

    def _watermark(self, event: Watermark) -> Iterator[None]:
        services, cause = self._services, self._cause(event.position)
        known = services.marks.get(event.source)
        if known is None and len(services.marks) >= MOST_SOURCES:
            raise Rejected("too many sources", f"a partition knows at most {MOST_SOURCES}: name them more coarsely")
        if known is not None and event.at <= known:
            self._tally.add("watermarks_repeated")
            return
        rows = services.waiting_for(event.source, event.at)
        found: list[tuple[int, Decision | QuotaWarning]] = []
        for number, row in enumerate(rows.tolist(), 1):
            taken = services.take(row)
            taken.service.watermark(event.at, cause)
            services.store(taken)
            found += [(outcome.at, outcome) for outcome in taken.service.outcomes]
            if number % AT_ONCE == 0:
                yield
        services.set_mark(event.source, event.at)
        self._dirty.add(MARKS)
        found.sort(key=lambda each: each[0])
        self._outcomes += [outcome for _, outcome in found]

    def _adjust(self, event: Adjustment) -> None:
        self._ids.forget(event.appended)
        if event.id in self._ids:
            self._tally.add("adjustments_repeated")
            return
        taken = self._find(event.service)
        adjust(taken.service, event, self._cause(event.position))
        self._put_back(taken)
        self._ids.add(event.id, event.appended)

    def _change_plans(self, event: Plans) -> Iterator[None]:
        if event.version <= self.plans_version:
            self._tally.add("plans_repeated")
            return
        former = self.plans
        same = {name for name, plan in event.plans.items() if former.get(name) == plan}
        self.plans = {name: former[name] if name in same else plan for name, plan in event.plans.items()}
        self.mappings, self.plans_version = event.mappings, event.version
        self._dirty.add(PLANS)
        changed = former.keys() - same
        for number, row in enumerate(self._services.having(changed).tolist(), 1):
            taken = self._services.take(row)
            replan(taken.service, self.plans, changed, self._cause(event.position))
            self._put_back(taken)
            if number % AT_ONCE == 0:
                yield
        self._services.forget_plans(list(self.plans.values()))

    # ------------------------------------------------------------ durability

    def dirty_pages(self) -> list[Page]:
        """What has changed since `clean` was last called.  The first time the page of plans comes first."""
        pages = [plans_page(self.plans_version, self.plans, self.mappings)] if PLANS in self._dirty else []
        pages += [marks_page(self._services)] if MARKS in self._dirty else []
        pages += [page_of(self._services, number) for number in np.flatnonzero(self._services.dirty).tolist()]
        return pages + list(self._ids.dirty_pages())

    def clean(self) -> None:
        """What `dirty_pages` gave is on its way to be durable, and nothing was applied in between."""
        self._dirty.clear()
        self._services.dirty[:] = False
        self._ids.clean()

    def meta(self) -> dict[str, Any]:
        """What is in no page: a few numbers.  What can grow has pages, which are cut below the limit of a record."""
        return {
            "partition": self.partition,
            "next_offset": self.next_offset,
            "rows": self._services.rows.count,
            "services": len(self._services.names),
        }

    @classmethod
    def restore(
        cls,
        partition: int,
        partition_of: Callable[[str], int],
        meta: Mapping[str, Any],
        pages: Iterable[Page],
        *,
        few: int = FEW,
    ) -> Tracker:
        """From `meta` and all pages written so far: the latest of each key, that of plans first.  Raises Corrupt."""
        tracker = cls(partition, partition_of, few=few)
        if meta["partition"] != partition:
            raise Corrupt(f"this is the state of partition {meta['partition']}, not of {partition}")
        tracker.next_offset = meta["next_offset"]
        services = tracker._services
        services.rows.count = meta["rows"]
        services.reserve(meta["rows"])
        services.names.reserve(meta["rows"])
        found, ids = set(), []
        for page in joined(pages):
            found.add(page.key)
            if page.key == PLANS:
                tracker.plans_version, tracker.plans, tracker.mappings = plans_of(page)
            elif page.key.startswith(PREFIX):
                ids.append(page)
            else:
                restore_page(services, page, tracker.plans)
        tracker._ids.restore(ids)
        tracker._dirty.clear()
        heapify(services.rows.free)
        held = (len(services.names), len(services.names) + len(services.rows.free))
        if not found.issuperset((PLANS, MARKS)):
            raise Corrupt("the page of plans or of watermarks is missing; restore a backup")
        if held != (meta["services"], meta["rows"]):
            raise Corrupt(f"pages hold {held[0]} services in {held[1]} rows, meta names others")
        return tracker

    # ------------------------------------------------------------ questions

    @property
    def marks(self) -> Mapping[str, int]:
        """Watermarks by source."""
        return self._services.marks

    def names(self) -> Iterator[str]:
        return iter(self._services.names)

    def service(self, name: str) -> ServiceView | None:
        row = self._services.names.row(name)
        return None if row < 0 else view_of(self._services.take(row).service)

    def due(self) -> Iterator[tuple[str, int, int, Speed]]:
        """(service, incarnation, revision, speed) of every service."""
        return reports.due(self._services)

    def counted(self) -> Iterator[Counted]:
        """How far every service is counted."""
        return reports.counted(self._services)

    def population(self) -> dict[tuple[str, str], int]:
        """How many services are in which profile: {(plan, profile): services}."""
        return reports.population(self._services)

    def sources(self) -> dict[str, tuple[int | None, int]]:
        """{source: (the oldest counted end among its services, how many they are)}."""
        return reports.sources(self._services)


def _position(deltas: Deltas, place: int) -> Position:
    offset = deltas.offset if isinstance(deltas.offset, int) else int(deltas.offset[place])
    return Position(offset, place if deltas.index is None else int(deltas.index[place]))


def _delta(deltas: Deltas, place: int) -> Delta:
    start, end = (each if isinstance(each, int) else int(each[place]) for each in (deltas.start, deltas.end))
    return Delta(start, end, int(deltas.in_[place]), int(deltas.out[place]), deltas.backfill)


def _element(deltas: Deltas, place: int, name: str) -> bytes:
    """The element as the single delta that it could have been."""
    delta = _delta(deltas, place)
    value = {"service": name, "start": delta.start, "end": delta.end, "in": delta.in_, "out": delta.out}
    return json.dumps(value | ({"backfill": True} if delta.backfill else {})).encode()


def _as_json(event: Registration | Deregistration | Watermark | Adjustment | Plans) -> bytes:
    """The record as its fields were understood."""
    assert is_dataclass(event)
    fields = {name: value for name, value in asdict(event).items() if name != "position"}
    return json.dumps({"type": type(event).__name__.lower()} | fields, default=str).encode()
