"""Measures what is unknown of a platform's metrics, by reading some machines' numbers in several ways.

    zone      from/until in local times, fifteen hours of the past: where do the points lie that come back?
    step      the finest interval: how far apart are the points?
    stamp     hours against the steps in them; and no step can be seen before it is over
    lag       how old the newest point is, until a new one has been seen to appear
    keeps     days, as far back as they go; do the oldest go when new ones come?

What cannot be seen is said to be unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from stream.config.platforms import Vmmanager
from stream.core.errors import Refused, Unavailable
from stream.survey.points import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    QUARTER_MS,
    Look,
    Series,
    Stamp,
    clock_text,
    known,
    offsets,
    spacing,
    stamp_of_buckets,
)
from stream.survey.questions import Questions, is_closed
from stream.survey.zones import fitting, offset_at, seasons

TRIED = 12
"""So many machines are asked for numbers, until SAMPLED have some."""
SAMPLED = 5
WATCHED = 3
WATCH_LIMIT_MS = 11 * MINUTE_MS
LOOKS_IN_A_STEP = 25
FARTHEST_MS = 400 * DAY_MS
UNALIGNED_MS = 2 * MINUTE_MS
"""Past the hour: between two points of any usual grid."""

Told = Callable[[str], None]


class Measuring:
    """Measurements of one platform, each of which needs the ones before.  None: it could not be measured.

    Raises Unavailable and Refused when the platform does not answer at all.
    """

    def __init__(self, questions: Questions, settings: Vmmanager, told: Told) -> None:
        self._ask = questions
        self._configured = settings
        self._told = told
        self.now = questions.clock.now
        self.sampled: list[int] = []
        """Ids of machines that have numbers."""
        self.failures: list[str] = []
        """What was asked in vain."""
        self.offsets: dict[int, int] = {}
        """Distance from UTC by instant, as far as it was seen."""
        self.zones: list[str] = []
        """The zones that fit, the configured one alone if it does."""
        self.step_ms: int | None = None
        self.interval = "5min"
        """To ask for single steps."""
        self.steps: dict[int, Series] = {}
        """The latest thirteen hours, by machine."""
        self.stamp: Stamp | None = None
        self.looks: dict[int, list[Look]] = {}
        self.oldest: dict[int, int] = {}
        """The first stamp, by machine."""
        self.edge_moves = False
        """The oldest numbers were seen to go."""
        self._kept_at = 0

    async def all(self, numbers: Sequence[int], *, watch: bool) -> None:
        """Everything, of the first of these machines that have numbers."""
        await self._zone(numbers)
        if not self.sampled:
            return
        await self._step()
        if self.step_ms is None:
            return
        await self._stamp()
        await self._keeps()
        if watch:
            await self._watch(self.step_ms)
            await self._edge(self.step_ms)

    # ------------------------------------------------------------ zone

    async def _zone(self, numbers: Sequence[int]) -> None:
        self._told("time zone")
        now = self.now()
        for number in numbers[:TRIED]:
            if len(self.sampled) == SAMPLED:
                break
            start, end = (_unaligned(now - hours * HOUR_MS) for hours in (30, 15))
            points = await self._points(number, start, end, "1min")
            if known(points):
                self.sampled.append(number)
                if not self.offsets:
                    await self._offset(number, now - 22 * HOUR_MS)
            elif known(await self._points(number, self.local(now - 5 * HOUR_MS), self.local(now), "1min")):
                self.sampled.append(number)
        zone = self._configured.timezone
        if not self.offsets:
            await self._confirm(now)
        elif self.sampled:
            for at in seasons(now):
                await self._offset(self.sampled[0], at)
        if all(offset_at(zone, at) == offset for at, offset in self.offsets.items()):
            self.zones = [str(zone)] if self.offsets else []
        else:
            self.zones = fitting(self.offsets)

    async def _offset(self, number: int, at: int) -> None:
        """The distance from UTC at that instant, if there are numbers around it.

        On a coarse grid one question leaves several quarters of an hour open; the next ones begin a quarter later.
        """
        left: set[int] | None = None
        for shift in range(0, HOUR_MS, QUARTER_MS):
            start, end = (_unaligned(at + hours * HOUR_MS) + shift for hours in (-8, 7))
            points = await self._points(number, start, end, "1min")
            found = offsets(start, end, points)
            left = found if left is None else left & found
            if len(left) < 2:
                break
        if left is not None and len(left) == 1:
            self.offsets[at] = left.pop()

    async def _confirm(self, now: int) -> None:
        """With numbers of the last hours alone: whether the configured zone fits."""
        for number in self.sampled:
            start, end = (_unaligned(self.local(now) - hours * HOUR_MS) for hours in (4, 1))
            found = offsets(start, end, await self._points(number, start, end, "1min"))
            offset = offset_at(self._configured.timezone, now)
            if offset in found:
                self.offsets[now - 2 * HOUR_MS] = offset
                return

    def local(self, instant: int) -> int:
        """What the platform's clock shows then, as far as is known."""
        return instant + offset_at(ZoneInfo(self.zone), instant)

    @property
    def zone(self) -> str:
        """Measured, or else as configured."""
        return self.zones[0] if self.zones else str(self._configured.timezone)

    # ------------------------------------------------------------ step and stamp

    async def _step(self) -> None:
        self._told("sampling step")
        found: set[int] = set()
        for interval in ("1s", "1min"):
            for number in self.sampled:
                points = await self._look(number, interval, 4 * HOUR_MS)
                found |= {point.at for point in known(points)}
            if found:
                break
        step = spacing(found)
        if step is None or step < 1000 or HOUR_MS % step:
            return
        self.step_ms = step
        self.interval = _interval(step)

    async def _stamp(self) -> None:
        """By what an hour (or four steps, if they are long) puts together."""
        self._told("stamps")
        assert self.step_ms is not None
        bucket = max(HOUR_MS, 4 * self.step_ms)
        now = self.now()
        span = self.local(now - 13 * HOUR_MS), self.local(now)
        for number in self.sampled:
            self.steps[number] = await self._points(number, *span, self.interval)
            if self.stamp is None:
                buckets = await self._points(number, *span, _interval(bucket))
                self.stamp = stamp_of_buckets(self.steps[number], buckets, bucket)

    # ------------------------------------------------------------ lag

    async def _watch(self, step_ms: int) -> None:
        """Look at some machines again and again, until each has shown a new point, or for little more than a step."""
        watched = self.sampled[:WATCHED]
        pause_ms = max(2000, step_ms // LOOKS_IN_A_STEP)
        until = self.now() + min(step_ms + 2 * pause_ms, WATCH_LIMIT_MS)
        self._told(f"newest points, for up to {step_ms / MINUTE_MS:.0f} min")
        while watched and self.now() < until:
            await asyncio.sleep(pause_ms / 1000)
            for number in watched:
                await self._look(number, self.interval, 2 * HOUR_MS)
            watched = [number for number in watched if not _moved(self.looks.get(number, ()))]

    @property
    def has_moved(self) -> bool:
        """Whether a new point was seen to appear."""
        return any(map(_moved, self.looks.values()))

    async def _look(self, number: int, interval: str, back_ms: int) -> Series:
        """The newest points; the newest that is known is noted."""
        asked = self.now()
        start, end = self.local(asked - max(back_ms, 4 * (self.step_ms or 0))), self.local(asked) + 10 * MINUTE_MS
        points = await self._points(number, start, end, interval)
        if seen := known(points):
            self.looks.setdefault(number, []).append(Look(asked, self.now(), seen[-1]))
        return points

    # ------------------------------------------------------------ how far back

    async def _keeps(self) -> None:
        self._told("how far back numbers go")
        now = self._kept_at = self.now()
        for number in self.sampled:
            days = known(await self._points(number, self.local(now - FARTHEST_MS), self.local(now), "1d"))
            if days:
                self.oldest[number] = await self._first(number, days[0].at)

    async def _first(self, number: int, about: int) -> int:
        """The first stamp, which lies about there: to the step, where there are still single steps."""
        around = self.local(about - DAY_MS) - DAY_MS // 2, self.local(about + DAY_MS) + DAY_MS // 2
        steps = known(await self._points(number, *around, self.interval))
        return steps[0].at if steps else about

    @property
    def oldest_are_alike(self) -> bool:
        """Whether the numbers of several machines begin together: where the platform ends, or where they all began."""
        return len(self.oldest) > 1 and max(self.oldest.values()) - min(self.oldest.values()) <= 2 * (self.step_ms or 0)

    async def _edge(self, step_ms: int) -> None:
        """Whether numbers go as new ones come: then it is the platform that keeps no more."""
        wait_ms = self._kept_at + step_ms + 1000 - self.now()
        if not self.oldest_are_alike or wait_ms > WATCH_LIMIT_MS:
            return
        self._told("whether old numbers go")
        await asyncio.sleep(max(0, wait_ms) / 1000)
        again = {number: await self._first(number, first) for number, first in self.oldest.items()}
        self.edge_moves = all(again[number] > first for number, first in self.oldest.items())

    # ------------------------------------------------------------ asking

    async def _points(self, number: int, start: int, end: int, interval: str) -> Series:
        """Of local instants.  What one machine or interval cannot answer is noted, and is no data."""
        try:
            return await self._ask.points(number, clock_text(start), clock_text(end), interval)
        except (Refused, Unavailable) as error:
            self.failures.append(str(error))
            if len(self.failures) > TRIED or is_closed(error):
                raise
            return []


def _moved(looks: Sequence[Look]) -> bool:
    return len({look.newest.at for look in looks}) > 1


def _unaligned(instant: int) -> int:
    return instant // HOUR_MS * HOUR_MS + UNALIGNED_MS


def _interval(length_ms: int) -> str:
    """As the platform writes it."""
    if length_ms % HOUR_MS == 0:
        return f"{length_ms // HOUR_MS}h"
    return f"{length_ms // MINUTE_MS}min" if length_ms % MINUTE_MS == 0 else f"{length_ms // 1000}s"
