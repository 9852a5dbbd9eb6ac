"""How time is cut into slices, told with dates and wall clocks (zoneinfo), instants in ms since the epoch."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Slicing(Protocol):
    """Neighbouring half-open slices.  `start(t, n)` is the first instant of the n-th slice after the one that `t` lies
    in (n = 0: of that one itself; n < 0: before it)."""

    def start(self, instant: int, shift: int = 0) -> int: ...


class FixedSlices:
    def __init__(self, size_ms: int) -> None:
        self.size_ms = size_ms

    def start(self, instant: int, shift: int = 0) -> int:
        return (instant // self.size_ms + shift) * self.size_ms


class Hours:
    """From one instant at which the local clock shows :00 to the next."""

    def __init__(self, zone: str) -> None:
        self.zone = zone

    def start(self, instant: int, shift: int = 0) -> int:
        start = hour_start(self.zone, instant)
        for _ in range(-shift):
            start = hour_start(self.zone, start - 1)
        for _ in range(shift):
            start = next_hour(self.zone, start)
        return start


class Dates:
    """Local days, weeks from Monday, or months from their anchor day: slices that begin with a local date."""

    def __init__(self, zone: str, unit: str, anchor_day: int) -> None:
        self.zone = zone
        self.unit = unit
        self.anchor_day = anchor_day

    def start(self, instant: int, shift: int = 0) -> int:
        first = self.beginning(wall(self.zone, instant).date())
        while first_instant(self.zone, self.shifted(first, 1)) <= instant:
            first = self.shifted(first, 1)  # a clock put back over midnight does not give the old day back
        return first_instant(self.zone, self.shifted(first, shift))

    def beginning(self, day: date) -> date:
        """The first date of the slice that has `day`."""
        if self.unit == "day":
            return day
        if self.unit == "week":
            return day - timedelta(days=day.weekday())
        this_month = anchored(day.year, day.month, self.anchor_day)
        return this_month if this_month <= day else self.shifted(this_month, -1)

    def shifted(self, first: date, slices: int) -> date:
        if self.unit == "day":
            return first + timedelta(days=slices)
        if self.unit == "week":
            return first + timedelta(days=7 * slices)
        months = first.year * 12 + first.month - 1 + slices
        return anchored(months // 12, months % 12 + 1, self.anchor_day)


def slicing(window: dict[str, Any], anchor_day: int | None) -> Slicing:
    """The slices of a plan's window, for a service whose registration gave `anchor_day`."""
    if window["kind"] == "sliding":
        return FixedSlices(window["slice_ms"])
    if window["unit"] == "hour":
        return Hours(window["timezone"])
    anchor = window.get("anchor_day") or 1
    return Dates(window["timezone"], window["unit"], (anchor_day or 1) if anchor == "service" else anchor)


def anchored(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def wall(zone: str, instant: int) -> datetime:
    return (EPOCH + timedelta(milliseconds=instant)).astimezone(ZoneInfo(zone))


@cache
def first_instant(zone: str, day: date) -> int:
    """The first instant at which the local calendar shows `day`, or a later one where that day was left out."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    instant = (midnight - EPOCH) // timedelta(milliseconds=1)
    if wall(zone, instant).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    before = (midnight.replace(fold=1) - EPOCH) // timedelta(milliseconds=1)  # by the offset after the gap
    return first_true(before, instant, lambda t: wall(zone, t).date() >= day)


@cache
def hour_start(zone: str, instant: int) -> int:
    start = instant - into_hour(zone, instant)
    change = offset_change(zone, start, instant)
    return start if change is None else hour_start(zone, change - 1)


@cache
def next_hour(zone: str, instant: int) -> int:
    end = instant + HOUR_MS - into_hour(zone, instant)
    change = offset_change(zone, instant, end)
    if change is None or into_hour(zone, change) == 0:
        return end if change is None else change
    return next_hour(zone, change)


def into_hour(zone: str, instant: int) -> int:
    """Milliseconds past :00 on the local clock."""
    shown = wall(zone, instant)
    return (shown.minute * 60 + shown.second) * 1000 + shown.microsecond // 1000


def offset_change(zone: str, start: int, end: int) -> int | None:
    """The first instant after `start`, up to `end`, with another offset from UTC."""
    before = wall(zone, start).utcoffset()
    if wall(zone, end).utcoffset() == before:
        return None
    return first_true(start, end, lambda t: wall(zone, t).utcoffset() != before)


def first_true(start: int, end: int, holds: Callable[[int], bool]) -> int:
    """The first of `[start, end)` from which on `holds` is true, or `end`."""
    return start + bisect_left(range(end - start), True, key=lambda elapsed: holds(start + elapsed))
