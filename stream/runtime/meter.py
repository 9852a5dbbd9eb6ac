"""How far one service is read, and what is to be read next.  No I/O and no clock: the poller brings both.

    anchors     d-3           d-2           d-1           today
                 |-------------|-------------|-------------|------|
                       ^ counted (an outage)                       ^ upto
    read            [==========) [==========) [==========) [=======)     oldest first, each from its anchor on
    then                                      [==========)               again and again, until it is final

An anchor is *finished* when its day is over, and *final* when nothing late is expected any more.  The tracker takes
late numbers for the anchor before the current one only, so an older one is final before the next one is begun.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.core.counting import Anchor
from stream.ports import Traffic
from stream.runtime.anchors import Anchors, Windows


class Delta(NamedTuple):
    """A growing delta to be published; in the order in which the first three sort, a service's are in order of time."""

    start: int
    end: int
    judged: bool
    """Not marked as backfill."""
    place: int
    """Of the service, in the order in which the platform lists them."""
    service: str
    in_: int
    out: int


class Reading(NamedTuple):
    """What to ask of the platform: totals from `start` up to each of `ends`."""

    start: int
    ends: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """What the meters of one platform share.  All in ms."""

    anchors: Anchors
    windows: Windows
    final_after_ms: int
    reread_ms: int
    keeps_ms: int
    random: random.Random


@dataclass(slots=True, kw_only=True)
class Meter:
    """One service's reading.  `next` and `took` take turns until `next` has nothing more for now."""

    service: str
    place: int
    plans: tuple[str, ...]
    anchor_day: int | None
    oldest: int
    """The oldest anchor that is not final."""
    counted: int = 0
    """The newest end that was published; 0: nothing yet."""
    passed: int = 0
    """The end of the newest anchor that was read when it was finished."""
    reread_at: int = 0
    """When a finished anchor that is not final is read again."""
    backfilling: bool = False
    """What is published is marked, until the present is reached."""
    totals: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The last totals of the anchors that are not final."""

    @classmethod
    def begin(
        cls, calendar: Calendar, *, service: str, place: int, plans: tuple[str, ...], anchor_day: int | None, upto: int
    ) -> Meter:
        """Of a service that nothing is known of: as far back as its windows reach and the platform has numbers."""
        since = max(calendar.windows.since(plans, anchor_day, upto), upto - calendar.keeps_ms, 0)
        oldest = calendar.anchors.of(since)
        return cls(service=service, place=place, plans=plans, anchor_day=anchor_day, oldest=oldest, backfilling=True)

    def resume(
        self, calendar: Calendar, current: Anchor, previous: Anchor | None, *, backfilling: bool, now: int
    ) -> None:
        """Go on where the tracker is.

        Nobody knows whether the anchor before the tracker's current one was final: it is read once more, soon, or, when
        the current one is over, before a new one displaces it.
        """
        anchors = calendar.anchors
        self.counted = current.end
        self.backfilling = backfilling
        self.oldest = anchors.of(current.end)
        if current.start != anchors.of(current.start) or current.end > anchors.after(current.start):
            return  # somebody else's intervals, or another time zone
        self.oldest = current.start
        self.totals = {current.start: (current.in_, current.out)}
        if previous is None or previous.start != anchors.of(current.start - 1):
            return
        self.oldest, self.passed = previous.start, current.start
        self.totals[previous.start] = (previous.in_, previous.out)
        self.reread_at = 0 if anchors.after(current.start) <= now else now + self._some(calendar)

    def next(self, calendar: Calendar, upto: int, now: int) -> Reading | None:
        """What to read so that all up to `upto` is known; None: nothing for now."""
        if self.oldest > upto:  # the clock was ahead: the day that was taken for final is not over
            self.oldest = self.passed = calendar.anchors.of(upto)
        anchor = self.oldest
        while anchor < upto:
            end = calendar.anchors.after(anchor)
            if end > upto:
                return self._reading(calendar, anchor, upto, upto, finished=False) if self.counted < upto else None
            if self.passed < end or now >= self.reread_at:
                return self._reading(calendar, anchor, end, upto, finished=True)
            anchor = end
        return None

    def took(
        self, calendar: Calendar, reading: Reading, totals: Sequence[Traffic] | None, now: int, *, stopped: bool
    ) -> list[Delta] | None:
        """What to publish of what was read; None: nothing is known, so nothing newer must be published either.

        A stopped machine is known to be unchanged, so far as the platform says nothing else.
        """
        end = reading.ends[-1]
        final = reading.finished and now >= end + calendar.final_after_ms
        known = list(totals or ())
        if not known and stopped and not final:
            known = [Traffic(end, *self.totals.get(reading.start, (0, 0)))]
        if not known and not (final or self.passed >= end or (reading.finished and self.counted == 0)):
            return None
        if known:
            self._extend(known, reading, complete=stopped or final)
        if reading.finished:
            self._finish(calendar, end, now, final=final)
        return self._deltas(reading, known)

    def _reading(self, calendar: Calendar, anchor: int, end: int, upto: int, *, finished: bool) -> Reading:
        edges = calendar.windows.edges(self.plans, self.anchor_day, max(anchor, min(self.counted, end)), end, upto)
        return Reading(anchor, (*edges, end), finished)

    def _extend(self, known: list[Traffic], reading: Reading, *, complete: bool) -> None:
        """Let the newest total reach to the end if no more is to come, and else as far as anything was published:
        a total with an earlier end could not grow any more."""
        end, in_, out = known[-1]
        reaches = reading.ends[-1] if complete else min(reading.ends[-1], self.counted)
        if end < reaches:
            known.append(Traffic(reaches, in_, out))
        self.totals[reading.start] = (in_, out)

    def _finish(self, calendar: Calendar, end: int, now: int, *, final: bool) -> None:
        if final:
            self.oldest = end
            self.totals = {anchor: total for anchor, total in self.totals.items() if anchor >= end}
        else:
            self.reread_at = now + (calendar.reread_ms if self.passed >= end else self._some(calendar))
        self.passed = max(self.passed, end)

    def _deltas(self, reading: Reading, known: list[Traffic]) -> list[Delta]:
        if not known:
            return []
        newest = known[-1].end
        self.counted = max(self.counted, newest)
        present = not reading.finished
        marked = self.backfilling
        self.backfilling = marked and not present
        return [
            Delta(reading.start, end, not marked or (present and end == newest), self.place, self.service, in_, out)
            for end, in_, out in known
        ]

    def _some(self, calendar: Calendar) -> int:
        """Less than a whole pause, so that not all services are read again at once."""
        return round(calendar.reread_ms * calendar.random.random())
