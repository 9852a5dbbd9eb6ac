"""Once a day: what the tracker counted of each service this month, beside the platform's own figure for it.

Ours is what stands in the tracker's state: the totals of the month's anchors, each taken over when it is final.  The
sum reaches back to the first of them that we saw, so to the whole month after a month without a restart; on the first
of a month it is the whole month before.  The platform is asked in its own way for exactly that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from stream.core.errors import QuotaStreamError
from stream.core.view import Counted
from stream.ports import Platform
from stream.runtime.meter import Calendar

log = structlog.get_logger()

DEADLINE_S = 180.0


class Comparison(NamedTuple):
    """Bytes of one service in `[start, end)`, counted by us and according to its platform."""

    service: str
    start: int
    end: int
    ours_in: int
    ours_out: int
    theirs_in: int
    theirs_out: int


class Noted(NamedTuple):
    """What a look at the state comes to, by service."""

    grown: list[str]
    """Those whose sum has grown: to be compared."""
    gone: list[str]
    """Those that were known at the look before."""


@dataclass(slots=True)
class _Sum:
    """What was counted in `[start, end)`."""

    start: int
    end: int
    in_: int
    out: int


class MonthSums:
    """This month's final anchors of each service, added up as the tracker's state shows them."""

    def __init__(self, calendar: Calendar, known: Iterable[Counted]) -> None:
        self._calendar = calendar
        self._names = {counted.service for counted in known}
        self._sums: dict[str, _Sum] = {}

    def note(self, known: Sequence[Counted], now: int) -> Noted:
        """Take over what has become final, and drop what is not known any more."""
        grown = [counted.service for counted in known if self._take_over(counted, now)]
        former, self._names = self._names, {counted.service for counted in known}
        self._sums = {name: month for name, month in self._sums.items() if name in self._names}
        return Noted(grown, sorted(former - self._names))

    async def compare(self, platform: Platform, services: Iterable[str]) -> list[Comparison]:
        """Ask the platform for each, one after another; what it does not tell is left out."""
        compared = []
        for name in services:
            month = self._sums[name]
            try:
                async with asyncio.timeout(DEADLINE_S):
                    theirs = await platform.total(name, month.start, month.end)
            except (QuotaStreamError, TimeoutError) as error:
                log.info("month.not_compared", platform=platform.name, service=name, cause=str(error))
                continue
            if theirs is not None:
                compared.append(Comparison(name, month.start, month.end, month.in_, month.out, theirs.in_, theirs.out))
        return compared

    def _take_over(self, counted: Counted, now: int) -> bool:
        anchors, day = self._calendar.anchors, counted.previous
        if day is None or counted.backfilling or day.start != anchors.of(day.start):
            return False
        end = anchors.after(day.start)
        if day.end != end or now < end + self._calendar.final_after_ms + self._calendar.reread_ms:
            return False
        month = self._sums.get(counted.service)
        if month is not None and month.end == end:
            return False
        if month is None or month.end != day.start or anchors.month_of(day.start) != anchors.month_of(month.start):
            month = self._sums[counted.service] = _Sum(day.start, day.start, 0, 0)
        month.end, month.in_, month.out = end, month.in_ + day.in_, month.out + day.out
        return True
