"""The table of a partition's services, column by column, and the way of a row out of the tables and back.

What few rows have lies beside the columns, by row.  None in a column of instants is -1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import FreeList, grown, room_for
from stream.core.counting import Anchor
from stream.core.ladder import NEVER, Ladder
from stream.core.ladders import LadderTable
from stream.core.names import NameIndex
from stream.core.plan import Plan
from stream.core.service import Service
from stream.core.window import Int64s

PAGE_ROWS: Final = 256
MOST_ACCEPTED: Final = 1 << 61
"""What a column of bytes holds before the rest is carried."""

TableKey: TypeAlias = tuple[str, int | None]
"""(plan, anchor day of the service where the plan asks for it)."""

COLUMNS: Final[Mapping[str, Any]] = {
    "incarnation": np.int64,
    "revision": np.int32,
    "source": np.int32,
    "combination": np.int32,
    "current_start": np.int64,
    "current_end": np.int64,
    "current_in": np.int64,
    "current_out": np.int64,
    "previous_start": np.int64,
    "previous_end": np.int64,
    "previous_in": np.int64,
    "previous_out": np.int64,
    "accepted_in": np.int64,
    "accepted_out": np.int64,
    "backfilling": np.bool_,
    "floored": np.bool_,
}


class Home(NamedTuple):
    """Where a ladder lies."""

    ladder: Ladder
    table: LadderTable
    row: int


@dataclass(slots=True)
class Taken:
    """A service taken out of the tables, to be put back with `Services.store`."""

    row: int
    service: Service
    homes: list[Home]


class Services:
    """Rows of services, and the tables of their plans."""

    def __init__(self) -> None:
        self.rows = FreeList()
        self.names = NameIndex()
        self.tables: dict[TableKey, LadderTable] = {}
        """Of the plans in force, by key."""
        self.combinations: list[tuple[LadderTable, ...]] = [()]
        """Sets of plans in their order, as services have them."""
        self._combination_numbers: dict[tuple[LadderTable, ...], int] = {(): 0}
        self.ladder_rows: list[NDArray[np.int32]] = []
        """By place in the combination: the row in that plan's table."""
        self.sources: list[str] = []
        self._source_numbers: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        """Watermarks by source."""
        self.mark_of_source = np.zeros(0, np.int64)
        """The same by source number, -1 for none."""
        self.carried: dict[int, tuple[int, int]] = {}
        self.stale: dict[int, tuple[int, int]] = {}
        self.floors: dict[int, int] = {}
        self.quotas: dict[int, int] = {}
        self.anchor_days: dict[int, int] = {}
        self.labels: dict[int, Mapping[str, str]] = {}
        self.dirty = np.zeros(0, np.bool_)
        """By page."""
        self.epoch = object()
        """Another one whenever rows of names, or of ladders, have changed."""
        self._room = 0
        for name, dtype in COLUMNS.items():
            setattr(self, name, np.zeros(0, dtype))

    incarnation: Int64s
    revision: NDArray[np.int32]
    source: NDArray[np.int32]
    combination: NDArray[np.int32]
    current_start: Int64s
    current_end: Int64s
    current_in: Int64s
    current_out: Int64s
    previous_start: Int64s
    previous_end: Int64s
    previous_in: Int64s
    previous_out: Int64s
    accepted_in: Int64s
    accepted_out: Int64s
    backfilling: NDArray[np.bool_]
    floored: NDArray[np.bool_]

    # ------------------------------------------------------------ numbers of things

    def source_number(self, source: str) -> int:
        number = self._source_numbers.get(source)
        if number is None:
            number = self._source_numbers[source] = len(self.sources)
            self.sources.append(source)
            self.mark_of_source = np.append(self.mark_of_source, self.marks.get(source, -1))
        return number

    def set_mark(self, source: str, at: int) -> None:
        self.marks[source] = at
        if source in self._source_numbers:
            self.mark_of_source[self._source_numbers[source]] = at

    def combination_number(self, tables: tuple[LadderTable, ...]) -> int:
        number = self._combination_numbers.get(tables)
        if number is None:
            number = self._combination_numbers[tables] = len(self.combinations)
            self.combinations.append(tables)
        while len(self.ladder_rows) < len(tables):
            self.ladder_rows.append(np.zeros(self._room, np.int32))
        return number

    def table(self, plan: Plan, anchor_day: int | None) -> LadderTable:
        """Where ladders of a plan in force belong."""
        key = plan.name, (anchor_day or 1) if plan.needs_anchor_day else None
        if key not in self.tables or self.tables[key].plan is not plan:
            self.tables[key] = LadderTable(plan, key[1])
        return self.tables[key]

    def forget_plans(self, kept: Collection[Plan]) -> None:
        """Drops the tables of plans that no service has any more."""
        self.tables = {key: table for key, table in self.tables.items() if any(table.plan is plan for plan in kept)}
        held = set(self.tables.values())
        for number, tables in enumerate(self.combinations):
            if not held.issuperset(tables):
                self._combination_numbers.pop(tables, None)
                self.combinations[number] = ()

    def reserve(self, count: int) -> None:
        """Room for `count` rows."""
        room = room_for(count, self._room)
        if room == self._room:
            return
        self._room = room
        for name in COLUMNS:
            setattr(self, name, grown(getattr(self, name), room))
        self.ladder_rows = [grown(rows, room) for rows in self.ladder_rows]
        self.dirty = grown(self.dirty, room // PAGE_ROWS + 1)

    # ------------------------------------------------------------ rows

    def add(self, service: Service) -> None:
        """A new row."""
        row = self.rows.take()
        self.reserve(row + 1)
        self.names.put(service.name, row)
        self.epoch = object()
        if service.quota is not None:
            self.quotas[row] = service.quota
        if service.anchor_day is not None:
            self.anchor_days[row] = service.anchor_day
        self.store(Taken(row, service, []))

    def remove(self, taken: Taken) -> None:
        row = taken.row
        for home in taken.homes:
            home.table.remove(home.row)
        self.names.remove(row)
        for beside in (self.carried, self.stale, self.floors, self.quotas, self.anchor_days, self.labels):
            beside.pop(row, None)
        for name in COLUMNS:
            getattr(self, name)[row] = 0
        self.rows.give_back(row)
        self.epoch = object()
        self.dirty[row // PAGE_ROWS] = True

    def take(self, row: int) -> Taken:
        """A service as an object; the row stays as it is until it is stored."""
        homes = self._homes(row)
        source = self.sources[self.source.item(row)]
        carried_in, carried_out = self.carried.get(row, (0, 0))
        stale_in, stale_out = self.stale.get(row, (0, 0))
        service = Service(
            self.names.name(row),
            self.incarnation.item(row),
            self.revision.item(row),
            [home.ladder for home in homes],
            source=source,
            mark=self.marks.get(source),
            floor=self.floors.get(row),
            current=self.current(row),
            previous=self.previous(row),
            accepted_in=self.accepted_in.item(row) + carried_in,
            accepted_out=self.accepted_out.item(row) + carried_out,
            stale_in=stale_in,
            stale_out=stale_out,
            backfilling=self.backfilling.item(row),
            quota=self.quotas.get(row),
            anchor_day=self.anchor_days.get(row),
            labels=self.labels.get(row, {}),
        )
        return Taken(row, service, homes)

    def _homes(self, row: int) -> list[Home]:
        quota, homes = self.quotas.get(row), []
        for place, table in enumerate(self.combinations[self.combination.item(row)]):
            ladder_row = self.ladder_rows[place].item(row)
            homes.append(Home(table.load(ladder_row, quota), table, ladder_row))
        return homes

    def current(self, row: int) -> Anchor | None:
        start = self.current_start.item(row)
        if start < 0:
            return None
        return Anchor(start, self.current_end.item(row), self.current_in.item(row), self.current_out.item(row))

    def previous(self, row: int) -> Anchor | None:
        start = self.previous_start.item(row)
        if start < 0:
            return None
        return Anchor(start, self.previous_end.item(row), self.previous_in.item(row), self.previous_out.item(row))

    def store(self, taken: Taken) -> None:
        row, service = taken.row, taken.service
        self.incarnation[row] = service.incarnation
        self.revision[row] = service.revision
        self.source[row] = self.source_number(service.source)
        self.backfilling[row] = service.backfilling
        start, end, in_, out = service.current or (-1, -1, 0, 0)
        self.current_start[row], self.current_end[row] = start, end
        self.current_in[row], self.current_out[row] = in_, out
        start, end, in_, out = service.previous or (-1, -1, 0, 0)
        self.previous_start[row], self.previous_end[row] = start, end
        self.previous_in[row], self.previous_out[row] = in_, out
        self._store_rare(row, service)
        self._store_ladders(taken)
        self.dirty[row // PAGE_ROWS] = True

    def _store_rare(self, row: int, service: Service) -> None:
        carried_in = service.accepted_in // MOST_ACCEPTED * MOST_ACCEPTED
        carried_out = service.accepted_out // MOST_ACCEPTED * MOST_ACCEPTED
        self.accepted_in[row] = service.accepted_in - carried_in
        self.accepted_out[row] = service.accepted_out - carried_out
        _keep(self.carried, row, (carried_in, carried_out), carried_in or carried_out)
        _keep(self.stale, row, (service.stale_in, service.stale_out), service.stale_in or service.stale_out)
        _keep(self.labels, row, service.labels, service.labels)
        counted_to = -1 if service.current is None else service.current.end
        floor = -1 if service.floor is None else service.floor
        _keep(self.floors, row, floor, floor > counted_to)
        self.floored[row] = floor > counted_to

    def _store_ladders(self, taken: Taken) -> None:
        same = [home.ladder for home in taken.homes] == taken.service.ladders
        if not same or any(home.ladder.plan is not home.table.plan for home in taken.homes):
            self._move_ladders(taken)
            return
        for home in taken.homes:
            home.table.store(home.row, home.ladder)

    def _move_ladders(self, taken: Taken) -> None:
        """The set of ladders, or the plan of one, has changed."""
        row, service = taken.row, taken.service
        former = {home.ladder: home for home in taken.homes}
        tables = [self.table(ladder.plan, service.anchor_day) for ladder in service.ladders]
        self.combination[row] = self.combination_number(tuple(tables))
        taken.homes = []
        for place, (ladder, table) in enumerate(zip(service.ladders, tables, strict=True)):
            home = former.get(ladder)
            if home is not None and home.table is table:
                del former[ladder]
                table.store(home.row, ladder)
                ladder_row = home.row
            else:
                ladder_row = table.add(row, ladder)
            self.ladder_rows[place][row] = ladder_row
            taken.homes.append(Home(ladder, table, ladder_row))
        for home in former.values():
            home.table.remove(home.row)
        self.epoch = object()

    def carry(self) -> None:
        """Keeps the columns of accepted bytes below 2^62: what is more is carried beside them."""
        full = np.flatnonzero((self.accepted_in > MOST_ACCEPTED) | (self.accepted_out > MOST_ACCEPTED))
        for row in full.tolist():
            self.store(self.take(row))

    def waiting_for(self, source: str, at: int) -> Int64s:
        """Rows of a source in which something is to be judged when its watermark reaches `at`, in order."""
        number = self._source_numbers.get(source)
        if number is None:
            return np.zeros(0, np.int64)
        found = [np.zeros(0, np.int64)]
        for table in self.tables.values():
            ladder_rows = np.flatnonzero(table.next_due[: table.rows.count] < NEVER)
            rows = table.service[ladder_rows].astype(np.int64)
            due = table.next_due[ladder_rows] <= np.maximum(self.current_end[rows], at)
            found.append(rows[(due | self.floored[rows]) & (self.source[rows] == number) & ~self.backfilling[rows]])
        return np.unique(np.concatenate(found))

    def having(self, plans: Collection[str]) -> Int64s:
        """Rows that have one of these plans, in order."""
        found = [np.zeros(0, np.int64)]
        found += [
            table.service[table.in_use()].astype(np.int64) for table in self.tables.values() if table.plan.name in plans
        ]
        return np.unique(np.concatenate(found))

    def in_use(self) -> Int64s:
        """Rows that have a service."""
        used = np.ones(self.rows.count, np.bool_)
        used[self.rows.free] = False
        return np.flatnonzero(used)


def _keep(beside: dict[int, Any], row: int, value: Any, wanted: Any) -> None:
    if wanted:
        beside[row] = value
    else:
        beside.pop(row, None)
