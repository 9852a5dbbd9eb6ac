"""From a page to columns, by NumPy: what `facts_of` says of a service's view, for 256 services at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import grown
from stream.core.ladder import NO_HEAD
from stream.core.ladders import LadderTable
from stream.core.services import PAGE_ROWS, Services
from stream.core.speed import ORIGINAL, Speed
from stream.core.view import ServiceView, view_of
from stream.core.window import Int64s
from stream.replica.pages import Decoded
from stream.replica.texts import Written

COLUMNS: Mapping[str, Any] = {
    "shape": np.int32,
    "source": np.int32,
    "speed": np.int32,
    "slowed": np.bool_,
    "usage": np.float32,
    "changed": np.int64,
    "counted_to": np.int64,
    "incarnation": np.int64,
    "revision": np.int32,
}
"""Codes of what is told of in words; instants, -1 for none; the share of the quota that is used, -1 without one."""

Shape: TypeAlias = tuple[tuple[str, str], ...]
"""Plans and profiles of a service."""

T = TypeVar("T")


class Codes(Generic[T]):
    """Numbers for things that many have in common."""

    def __init__(self) -> None:
        self.things: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, thing: T) -> int:
        number = self._numbers.get(thing)
        if number is None:
            number = self._numbers[thing] = len(self.things)
            self.things.append(thing)
        return number


class Words:
    """What the codes in columns stand for."""

    def __init__(self) -> None:
        self.shapes: Codes[Shape] = Codes()
        self.sources: Codes[str] = Codes()
        self.speeds: Codes[Speed] = Codes()


class Batch:
    """Pages of services as they are to be in the columns, one after the other, 256 rows each."""

    def __init__(self, partition: int, numbers: Sequence[int]) -> None:
        self.partition = partition
        self.numbers = numbers
        self.firsts: list[int] = []
        """By page, as far as they are staged: the first of its rows in the columns."""
        self.texts: defaultdict[str, list[Written]] = defaultdict(list)
        """By column of texts: those that are others."""
        self.prints: dict[int, int] = {}
        """By first row of a page with other labels than before: what tells that they are the same."""
        self.other_labels: dict[int, Mapping[int, Mapping[str, str]]] = {}
        """By first row of such a page, and row in it: labels that have no column."""
        self.columns = {name: self._column(dtype, 0 if name == "slowed" else -1) for name, dtype in COLUMNS.items()}
        self.used: list[Int64s] = []
        """By place of a plan in the service's set: bytes in its window."""
        self.quotas: list[Int64s] = []
        """The same of its quotas, credit included; -1 for none."""

    def _column(self, dtype: Any, empty: int) -> NDArray[Any]:
        column = grown(np.zeros(0, dtype), len(self.numbers) * PAGE_ROWS)
        column[:] = empty
        return column

    @property
    def here(self) -> slice:
        """The rows of the next page in what is staged."""
        return slice(len(self.firsts) * PAGE_ROWS, (len(self.firsts) + 1) * PAGE_ROWS)

    def fill(self, decoded: Decoded, words: Words) -> None:
        """The numbers of the next page."""
        here = self.here
        while len(self.used) < len(decoded.services.ladder_rows):
            self.used.append(self._column(np.int64, 0))
            self.quotas.append(self._column(np.int64, -1))
        columns = {name: column[here] for name, column in self.columns.items()}
        amounts = [(used[here], quotas[here]) for used, quotas in zip(self.used, self.quotas, strict=True)]
        stage(decoded, columns, amounts, words)


def share_of(view: ServiceView) -> float:
    """Of the quota of the plan that is nearest to its own; -1 if no plan has a quota."""
    return max(
        (
            each.usage_bytes / each.quota_bytes if each.quota_bytes else float(each.usage_bytes > 0)
            for each in view.plans
            if each.quota_bytes is not None
        ),
        default=-1.0,
    )


def stage(
    decoded: Decoded, columns: Mapping[str, NDArray[Any]], amounts: Sequence[tuple[Int64s, Int64s]], words: Words
) -> None:
    """What a page says, into columns that say nothing yet."""
    services = decoded.services
    rows = np.flatnonzero(np.array([bool(name) for name in decoded.names], np.bool_))
    sources = np.array([words.sources.number(source) for source in services.sources], np.int32)
    columns["source"][rows] = sources[services.source[rows]]
    counted_to = np.where(services.current_start[rows] < 0, -1, services.current_end[rows])
    columns["counted_to"][rows] = counted_to
    columns["incarnation"][rows] = services.incarnation[rows]
    columns["revision"][rows] = services.revision[rows]
    times = _times(services, rows, counted_to)
    combinations = services.combination[rows]
    for number in np.unique(combinations).tolist():
        places = np.flatnonzero(combinations == number)
        _stage_alike(services, number, rows[places], times[places], columns, amounts, words)


def _times(services: Services, rows: Int64s, counted_to: Int64s) -> Int64s:
    """The services' times, -1 for none."""
    marks = np.array([services.marks.get(source, -1) for source in services.sources], np.int64)
    times = np.maximum(counted_to, marks[services.source[rows]])
    for row, floor in services.floors.items():
        place = np.searchsorted(rows, row)
        if place < len(rows) and rows[place] == row:
            times[place] = max(times[place], floor)
    return times


def _stage_alike(
    services: Services,
    number: int,
    rows: Int64s,
    times: Int64s,
    columns: Mapping[str, NDArray[Any]],
    amounts: Sequence[tuple[Int64s, Int64s]],
    words: Words,
) -> None:
    """Of rows that have the same plans."""
    tables = services.combinations[number]
    kinds = np.zeros(len(rows), np.int64)  # the profiles in all plans, as one number
    usage, changed = np.full(len(rows), -1.0), np.full(len(rows), -1, np.int64)
    adjusted: set[int] = set()
    for place, table in enumerate(tables):
        ladders = services.ladder_rows[place][rows].astype(np.int64)
        kinds = kinds * 128 + table.profile[ladders]
        entered = table.entered_at[ladders]
        np.maximum(changed, entered, out=changed)
        used = sums_at(table, ladders, np.where(times < 0, entered, times)) // 100
        quotas = _quotas(services, table, rows, table.profile[ladders])
        amounts[place][0][rows], amounts[place][1][rows] = used, quotas
        share = np.where(quotas > 0, used / np.maximum(quotas, 1), used > 0)
        np.maximum(usage, np.where(quotas < 0, -1.0, share), out=usage)
        if table.rare:
            having = {ladder for ladder, rare in table.rare.items() if rare.credits or rare.exempt_until or rare.pin}
            adjusted |= {int(row) for row, ladder in zip(rows, ladders.tolist(), strict=True) if ladder in having}
    columns["usage"][rows], columns["changed"][rows] = usage, changed
    different, which = np.unique(kinds, return_inverse=True)
    alike = [_of_kind(tables, kind, words) for kind in different.tolist()]
    for name, values in zip(("shape", "speed", "slowed"), zip(*alike, strict=True), strict=True):
        columns[name][rows] = np.array(values)[which]
    for row in adjusted:
        _stage_one(services, row, columns, amounts, words)


def _of_kind(tables: tuple[LadderTable, ...], kind: int, words: Words) -> tuple[int, int, bool]:
    """(shape, speed, whether that is slowed) of services without adjustments in these profiles."""
    profiles = []
    for table in reversed(tables):
        kind, profile = divmod(kind, 128)
        profiles.append(table.plan.profiles[profile])
    profiles.reverse()
    shape = tuple((table.plan.name, profile.name) for table, profile in zip(tables, profiles, strict=True))
    speed = reduce(Speed.least, (profile.speed for profile in profiles), ORIGINAL)
    first = _first(tables)
    return words.shapes.number(shape), words.speeds.number(speed), speed.least(first) != first


def _first(tables: tuple[LadderTable, ...]) -> Speed:
    return reduce(Speed.least, (table.plan.profiles[0].speed for table in tables), ORIGINAL)


def _stage_one(
    services: Services,
    row: int,
    columns: Mapping[str, NDArray[Any]],
    amounts: Sequence[tuple[Int64s, Int64s]],
    words: Words,
) -> None:
    """What adjustments have changed: credits add to the quota, and who rests is due something else."""
    view, first = view_of(services.take(row).service), _first(services.combinations[services.combination[row]])
    for each, (_, quotas) in zip(view.plans, amounts, strict=False):
        quotas[row] = -1 if each.quota_bytes is None else each.quota_bytes
    columns["usage"][row] = share_of(view)
    columns["speed"][row] = words.speeds.number(view.speed)
    columns["slowed"][row] = view.speed.least(first) != first


def _quotas(services: Services, table: LadderTable, rows: Int64s, profiles: NDArray[np.int8]) -> Int64s:
    """In bytes, without credit; -1 for none."""
    fixed = [-1 if profile.quota is None or profile.quota == "service" else profile.quota
             for profile in table.plan.profiles]  # fmt: skip
    quotas = np.array(fixed, np.int64)[profiles]
    own = np.array([profile.quota == "service" for profile in table.plan.profiles], np.bool_)[profiles]
    if own.any():
        quotas[own] = [services.quotas.get(row, -1) for row in rows[own].tolist()]
    return quotas


def sums_at(table: LadderTable, ladders: Int64s, instants: Int64s) -> Int64s:
    """What is in the windows as of these instants: hundredths of a byte."""
    heads, slices = table.head[ladders], table.plan.slices
    ordinals = (
        np.array([table.slicer.ordinal(instants.item(0))]) if _alike(instants) else table.slicer.ordinals(instants)
    )
    gone = np.clip(ordinals - np.maximum(heads, NO_HEAD >> 1), 0, slices)
    sums = table.total[ladders].copy()
    for slid in np.unique(gone).tolist():
        if slid == 0:
            continue
        places = np.flatnonzero(gone == slid)
        left = [(heads[places] - back) % slices for back in range(slices - slid)]
        sums[places] = sum((table.ring[each, ladders[places]] for each in left), np.zeros(len(places), np.int64))
    return sums


def _alike(instants: Int64s) -> bool:
    return len(instants) > 0 and bool((instants == instants[0]).all())
