"""What comes to a ladder if traffic goes on as of late: a copy of it is run forward, slice by slice."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from stream.core.coming import Pace
from stream.core.judging import Cause, Judged, Moment, Pouring
from stream.core.ladder import Amount, Ladder
from stream.core.model import Decision, Position
from stream.core.promising import opens_at, wakes
from stream.core.window import HOUR_MS

LEAST_KNOWN_MS: Final = 300_000
"""A pace is told of at least so long a time, or of half a slice where slices are shorter."""
_CAUSE: Final = Cause(Position(0), 0, 0)


def pace_of(ladder: Ladder, now: int) -> Pace | None:
    """What was counted in the last hour, in the slices that it touches; None while it is counted too short a time."""
    amounts = ladder.amounts_at(now)
    newest_ms = amounts[-1][1] - amounts[-1][0]
    first = next(place for place, (_, end, _) in enumerate(amounts) if end > now - HOUR_MS)
    begun = ladder.clip
    if not any(value for _, end, value in amounts if end <= ladder.entered_at):
        begun = max(begun, ladder.entered_at)
    since = max(amounts[first][0], begun)
    if now - since < min(LEAST_KNOWN_MS, max(1, newest_ms // 2)):
        return None
    return Pace(since, now, sum(value for _, _, value in amounts[first:]))


def at_pace(ladder: Ladder, now: int, pace: Pace) -> Decision | None:
    """The next move; None if it never comes to one."""
    ladder, done = _copy(ladder), now
    for until in _cuts(ladder, now):
        before = _copy(ladder)
        move = _run(ladder, now, done, until, pace)
        if move is not None:
            return _earliest(before, now, done, move, pace)
        done = until
    return None


def _earliest(ladder: Ladder, now: int, done: int, move: Decision, pace: Pace) -> Decision:
    """A way up has its own instant; a step down comes as soon as the sum is over the quota."""
    if move.reason in ("stay_over", "period"):
        return move
    too_soon, until = done, move.at
    while until - too_soon > 1:
        middle = (too_soon + until) // 2
        found = _run(_copy(ladder), now, done, middle, pace)
        if found is None:
            too_soon = middle
        else:
            until, move = middle, found
    return move


def _run(ladder: Ladder, now: int, done: int, until: int, pace: Pace) -> Decision | None:
    """One delta over `[done, until)`.  The first move on the way, if any."""
    judged = Judged("", 0, 0, [ladder])
    value = pace.over(until - now) - pace.over(done - now)
    moment = Moment.of(until, done)
    pouring = Pouring([ladder], [Amount(value, done, until)], done)
    judged.judge_until(_CAUSE, until, moment.as_of if value else None, done, pouring)
    moves = (one for one in judged.outcomes if isinstance(one, Decision) and one.to is not None)
    return next(moves, None)


def _cuts(ladder: Ladder, now: int) -> list[int]:
    """Slice edges in which something may still change: as many as the window has after each instant that matters.

    After that the sum at the slices' ends stays what it is.
    """
    awake = wakes(ladder, now)
    opens = None if awake is None else opens_at(ladder, awake)
    found = set()
    for instant in {now, now if awake is None else awake, now if opens is None else opens}:
        first, until = ladder.edge_after(instant), len(ladder.slices) + 1
        for _ in range(until):
            found.add(first)
            first = ladder.edge_after(first)
    return sorted(found)


def _copy(ladder: Ladder) -> Ladder:
    return replace(ladder, slices=list(ladder.slices), credits=list(ladder.credits))
