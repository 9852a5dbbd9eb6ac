"""Window algebra: slicers, and the exact share of an amount.  Integers, half-open intervals.

A slicer cuts time into slices and numbers them; a window is the last N slices, the current one included:

    ordinal      40        41        42        43
            |---------|---------|---------|---------|
          edge(40)  edge(41)  edge(42)  edge(43)  edge(44)
                      [-------- N = 3 --------)        as of any instant of slice 43 or its first ms
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal, Protocol, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Int64s: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Unit: TypeAlias = Literal["hour", "day", "week", "month"]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_EPOCH: Final = datetime(1970, 1, 1)
_MONDAY: Final = 3  # 1970-01-01 was a Thursday
_CYCLE_MS: Final = 146_097 * DAY_MS  # 400 years: the Gregorian calendar, weekdays included, begins anew
_CYCLE_FROM_MS: Final = 4_102_444_800_000  # 2100: zones follow a yearly rule from here on
_PER_CYCLE: Final = {"hour": 146_097 * 24, "day": 146_097, "week": 20_871, "month": 4_800}
_MOST_EDGES: Final = 20_000


class Slicer(Protocol):
    """Numbers the slices of time.  Two slicers that are equal number them alike, in every process."""

    def ordinal(self, instant: int) -> int:
        """The slice that `instant` lies in."""
        ...

    def edge(self, ordinal: int) -> int:
        """The first instant of a slice."""
        ...

    def ordinals(self, instants: Int64s) -> Int64s: ...

    def edges(self, ordinals: Int64s) -> Int64s: ...

    def __hash__(self) -> int: ...


class FixedSlicer:
    """Slices of `size_ms`, counted from the epoch."""

    def __init__(self, size_ms: int) -> None:
        self.size_ms = size_ms

    def ordinal(self, instant: int) -> int:
        return instant // self.size_ms

    def edge(self, ordinal: int) -> int:
        return ordinal * self.size_ms

    def ordinals(self, instants: Int64s) -> Int64s:
        return instants // self.size_ms

    def edges(self, ordinals: Int64s) -> Int64s:
        return ordinals * self.size_ms


class CalendarSlicer:
    """Hours, days, weeks (from Monday) or months (from `anchor_day`, or the month's last day) of a time zone.

    A slice begins at the first instant at which the local calendar shows it: where a midnight comes twice, at the first
    one; where there is none, at the first instant of that day.  A whole day that a zone left out is an empty slice.
    Hours are real ones, from :00 to :00 of the local clock.  Ordinals are calendar numbers.
    """

    def __init__(self, unit: Unit, timezone: str, anchor_day: int = 1) -> None:
        self._unit = unit
        self._zone = ZoneInfo(timezone)
        self._anchor_day = anchor_day
        self._edges: dict[int, int] = {}
        self._last = (0, 0, 0)  # (ordinal, first instant, end) of the slice asked for last

    def ordinal(self, instant: int) -> int:
        ordinal, start, end = self._last
        if not start <= instant < end:
            ordinal = self._guess(instant)
            while instant < self.edge(ordinal):
                ordinal -= 1
            while instant >= self.edge(ordinal + 1):
                ordinal += 1
            self._last = (ordinal, self.edge(ordinal), self.edge(ordinal + 1))
        return ordinal

    def edge(self, ordinal: int) -> int:
        known = self._edges.get(ordinal)
        if known is None:
            if len(self._edges) >= _MOST_EDGES:
                self._edges.clear()
            known = self._edges[ordinal] = self._find_edge(ordinal)
        return known

    def ordinals(self, instants: Int64s) -> Int64s:
        if instants.size == 0:
            return instants
        first, last = self.ordinal(int(instants.min())), self.ordinal(int(instants.max()))
        if last - first > _MOST_EDGES // 2:
            return np.fromiter(map(self.ordinal, instants.tolist()), np.int64, instants.size)
        edges = np.fromiter(map(self.edge, range(first, last + 1)), np.int64, last - first + 1)
        found: Int64s = np.searchsorted(edges, instants, side="right") + (first - 1)
        return found

    def edges(self, ordinals: Int64s) -> Int64s:
        return np.fromiter(map(self.edge, ordinals.tolist()), np.int64, ordinals.size)

    def _guess(self, instant: int) -> int:
        """At most a slice or two beside the truth: what the local calendar shows."""
        cycles = max(0, (instant - _CYCLE_FROM_MS) // _CYCLE_MS)
        local = _wall(self._zone, instant - cycles * _CYCLE_MS)
        days = (local - _EPOCH).days
        if self._unit == "hour":
            return instant // HOUR_MS
        if self._unit == "day":
            number = days
        elif self._unit == "week":
            number = (days + _MONDAY) // 7
        else:
            number = (local.year - 1970) * 12 + local.month - 1
        return number + cycles * _PER_CYCLE[self._unit]

    def _find_edge(self, ordinal: int) -> int:
        per_cycle = _PER_CYCLE[self._unit]
        cycles = max(0, (ordinal - per_cycle) // per_cycle)
        number = ordinal - cycles * per_cycle
        if self._unit == "hour":
            edge = self._hour(number)
        elif self._unit == "day":
            edge = _first_instant(self._zone, _EPOCH + timedelta(days=number))
        elif self._unit == "week":
            edge = _first_instant(self._zone, _EPOCH + timedelta(days=number * 7 - _MONDAY))
        else:
            edge = _first_instant(self._zone, _anchored(number, self._anchor_day))
        return edge + cycles * _CYCLE_MS

    def _hour(self, number: int) -> int:
        """The instant within the hour up to `number` hours after the epoch at which the local clock shows :00.

        A zone that moves by part of an hour (Lord Howe) has a longer hour at each change, and then at times a number
        to spare: an empty slice.
        """
        latest = number * HOUR_MS
        shifts = {_offset_ms(self._zone, latest - back) % HOUR_MS for back in (0, HOUR_MS)}
        shown = [latest - shift for shift in shifts if _offset_ms(self._zone, latest - shift) % HOUR_MS == shift]
        return min(shown) if shown else self._hour(number + 1)


def _anchored(number: int, anchor_day: int) -> datetime:
    """Midnight of the anchor day of month `number` (0 is January 1970), or of that month's last day."""
    year, month = 1970 + number // 12, number % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return datetime(year, month, min(anchor_day, (following - timedelta(days=1)).day))


def _instant(zoned: datetime) -> int:
    return (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _wall(zone: ZoneInfo, instant: int) -> datetime:
    """What the local clock shows."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)).astimezone(zone).replace(tzinfo=None)


def _offset_ms(zone: ZoneInfo, instant: int) -> int:
    return (_wall(zone, instant) - _EPOCH) // timedelta(milliseconds=1) - instant


def _first_instant(zone: ZoneInfo, local: datetime) -> int:
    """The first instant at which the local clock shows `local`; where it is left out, the first one after it."""
    with_former_offset = _instant(local.replace(tzinfo=zone, fold=0))
    with_later_offset = _instant(local.replace(tzinfo=zone, fold=1))
    if with_former_offset <= with_later_offset:
        return with_former_offset
    before, after = with_later_offset, with_former_offset  # the clock jumps over `local` in between
    while after - before > 1:
        middle = (before + after) // 2
        if _wall(zone, middle) < local:
            before = middle
        else:
            after = middle
    return after


def part(amount: int, start: int, end: int, from_: int, to: int) -> int:
    """The part `[from_, to)` of an amount spread over `[start, end)`, exactly: adjacent parts always sum to the whole.

    floor(amount (to - start) / (end - start)) - floor(amount (from_ - start) / (end - start)), within the interval.
    """
    lo, hi = max(from_, start), min(to, end)
    if lo >= hi:
        return 0
    size = end - start
    return amount * (hi - start) // size - amount * (lo - start) // size


MOST_VECTOR_SPAN_MS: Final = 1 << 31
"""Longest interval that `parts` takes: the remainder times the elapsed time then stays below 2^62."""


def parts(amount: Int64s, start: int | Int64s, end: int | Int64s, from_: int | Int64s, to: int | Int64s) -> Int64s:
    """`part` for arrays, without overflow: amounts up to 2^62 over at most MOST_VECTOR_SPAN_MS."""
    size = np.subtract(end, start)
    quotient, remainder = np.divmod(amount, size)
    hi = np.clip(np.subtract(to, start), 0, size)
    lo = np.minimum(np.clip(np.subtract(from_, start), 0, size), hi)
    share: Int64s = quotient * (hi - lo) + (remainder * hi // size - remainder * lo // size)
    return share


def spans(slicer: Slicer, start: int, end: int) -> list[tuple[int, int, int]]:
    """The slices that `[start, end)` touches, as (ordinal, from, to) cut to the interval."""
    first, last = slicer.ordinal(start), slicer.ordinal(end - 1)
    cuts = [start, *(slicer.edge(ordinal) for ordinal in range(first + 1, last + 1)), end]
    return [(first + place, lo, hi) for place, (lo, hi) in enumerate(pairwise(cuts))]
