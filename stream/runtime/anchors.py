"""The instants at which totals begin and end: a platform's local days, and the slices of plans.

All of them are put on the platform's sampling grid, because no total can be had for less than a step.

    day d                                            day d + 1
    |--------------------------------------------------|------------- ...
    anchor      edge       edge       edge             anchor
    [-----------)                                       growing deltas of one anchor: each begins at it
    [----------------------)
    [---------------------------------)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from stream.core.plan import Plan
from stream.core.window import CalendarSlicer


class Anchors:
    """The days of a time zone, cut to the grid: they cover all of time without a gap."""

    def __init__(self, timezone: str, sampling_ms: int) -> None:
        self._days = CalendarSlicer("day", timezone)
        self._months = CalendarSlicer("month", timezone)
        self._sampling_ms = sampling_ms

    def of(self, instant: int) -> int:
        """The anchor whose day `instant` lies in."""
        anchor = self._floor(self._days.edge(self._days.ordinal(instant)))
        following = self.after(anchor)
        return anchor if instant < following else following

    def after(self, anchor: int) -> int:
        """The next one."""
        ordinal = self._days.ordinal(anchor + self._sampling_ms - 1)  # within the day, also where the grid cut it early
        following = anchor
        while following <= anchor:  # a zone may leave a day out
            ordinal += 1
            following = self._floor(self._days.edge(ordinal))
        return following

    def month_of(self, instant: int) -> int:
        """The anchor with which the calendar month of `instant` begins."""
        return self._floor(self._months.edge(self._months.ordinal(instant)))

    def _floor(self, instant: int) -> int:
        return instant // self._sampling_ms * self._sampling_ms


class Windows:
    """What the windows of plans need to be filled: how far back, and cut where."""

    def __init__(self, plans: Mapping[str, Plan], sampling_ms: int) -> None:
        self._plans = plans
        self._sampling_ms = sampling_ms
        self.edges = lru_cache(4096)(self._edges)

    def since(self, names: Sequence[str], anchor_day: int | None, upto: int) -> int:
        """The oldest instant that a window of these plans reaches, as of just before `upto`."""
        return min((self._since(self._plans[name], anchor_day, upto) for name in self._known(names)), default=upto)

    def _edges(
        self, names: tuple[str, ...], anchor_day: int | None, start: int, end: int, upto: int
    ) -> tuple[int, ...]:
        """The slice edges within `(start, end)`, ascending, as far as the windows as of `upto` reach back."""
        found: set[int] = set()
        for plan in map(self._plans.__getitem__, self._known(names)):
            slicer = plan.slicer(anchor_day)
            oldest = max(start, self._since(plan, anchor_day, upto))
            ordinals = range(slicer.ordinal(oldest), slicer.ordinal(end) + 1)
            found.update(slicer.edge(ordinal) // self._sampling_ms * self._sampling_ms for ordinal in ordinals)
        return tuple(sorted(edge for edge in found if start < edge < end))

    def _since(self, plan: Plan, anchor_day: int | None, upto: int) -> int:
        slicer = plan.slicer(anchor_day)
        return slicer.edge(slicer.ordinal(upto - 1) - plan.slices + 1)

    def _known(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self._plans]
