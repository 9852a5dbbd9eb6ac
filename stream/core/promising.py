"""The next move of a ladder as far as it follows from the rules, whatever traffic comes, if it stays below a bound.

What is in the window now leaves it slice by slice; what will be counted from now on, U, is unknown.  At an instant `at`
the sum lies between the rest of the present one and that plus U.  So a bound on U alone keeps a ladder from falling on
the way, keeps it from rising earlier than told, and tells which way up it takes.

    now           opens       edge        edge
     |-------------|-----------|-----------|
       rest(now)     rest(opens) >= rest(edge) >= ...     at the first at which a way up is possible, it is told
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from stream.core.ladder import Ladder
from stream.core.plan import Profile

ENDLESS: Final = 1 << 62
"""A bound that nothing reaches."""


class Promise(NamedTuple):
    """A move at `at` if less than `below` (hundredths of a byte) is counted until then."""

    kind: Literal["up", "down"]
    at: int
    profile: int
    below: int


def promises(ladder: Ladder, now: int) -> list[Promise]:
    """All of one instant, ascending by `below`: the first that holds is what happens.  None may be possible."""
    awake = wakes(ladder, now)
    if awake is None:
        return []
    opens = opens_at(ladder, awake)
    shaken = {max(credit.expires_at, awake) for credit in ladder.credits} | ({awake} if ladder.resting else set())
    most = ENDLESS if ladder.resting else may_still_use(ladder, now)
    while instants := [*shaken, *([] if opens is None else [opens])]:
        at = min(instants)
        if at == opens:
            ups, shut_until = _ups(ladder, at, most)
            if ups:
                return ups
            most = min(most, shut_until)
            opens = ladder.edge_after(at) if shaken or ladder.sum_at(at) else None
        if at in shaken:
            if down := _down(ladder, at, most):
                return [down]
            most = min(most, may_still_use(ladder, at))
            shaken.remove(at)
    return []


def wakes(ladder: Ladder, now: int) -> int | None:
    """When nothing rests any more: now, or when the last pin or exemption ends; None: not by itself."""
    if ladder.pin is not None and ladder.pin.until is None:
        return None
    ends = (ladder.pin and ladder.pin.until, ladder.exempt_until)
    return max([now, *(end for end in ends if end is not None)])


def opens_at(ladder: Ladder, awake: int) -> int | None:
    """When a way up is judged first."""
    opens = ladder.stay_end() if ladder.resting else ladder.next_up
    return None if opens is None else max(opens, awake)


def may_still_use(ladder: Ladder, at: int) -> int:
    """Less than this may be counted from `at` on without a step down while what is in the window stays there.

    At least 1: without traffic there is none.
    """
    if ladder.here.down is None:
        return ENDLESS
    return max(1, _room(ladder, at, ladder.here) - ladder.sum_at(at))


def _room(ladder: Ladder, at: int, profile: Profile) -> int:
    """The least sum that is over the quota."""
    quota = ladder.quota_at(at, profile)
    return ENDLESS if quota is None else 100 * quota + (profile.at == "exceeded")


def _ups(ladder: Ladder, at: int, most: int) -> tuple[list[Promise], int]:
    """The ways up at an instant; if there is none, below which bound it stays so."""
    rest = ladder.sum_at(at)
    found: list[Promise] = []
    for limit, target in _ways_up(ladder, at):
        if limit <= rest:
            continue
        below = most if limit == ENDLESS or ladder.begins_anew(at) else min(most, limit - rest)
        if target is None:
            return found, below
        if found and found[-1].profile == target:
            found.pop()
        found.append(Promise("up", at, target, below))
        if below == most:
            break
    return found, most


def _ways_up(ladder: Ladder, at: int) -> Iterator[tuple[int, int | None]]:
    """(the sum below which it holds, where it leads), ascending; None: nowhere."""
    up, quota = ladder.here.up, ladder.quota_at(at)
    assert up is not None, "a way up is judged where there is none"
    top = ENDLESS if quota is None else 100 * quota
    for limit, target in (*((100 * limit, target) for limit, target in up.below), (ENDLESS, up.otherwise)):
        if target is not None and ladder.plan.keep:
            yield min(limit, top, _room(ladder, at, ladder.plan.profiles[target])), target
            yield min(limit, top), None
        else:
            yield min(limit, top), target
    yield ENDLESS, None


def _down(ladder: Ladder, at: int, most: int) -> Promise | None:
    """The steps down that a shrunken quota brings at an instant, even if nothing more comes."""
    profiles, rest, target = ladder.plan.profiles, ladder.sum_at(at), ladder.profile
    while (down := profiles[target].down) is not None and ladder.over(rest, at, profiles[target]):
        target = down
        if not ladder.plan.keep:
            break
    if target == ladder.profile:
        return None
    if ladder.plan.keep and profiles[target].down is not None:
        # A delta may end at that instant, and is judged as of the millisecond before.
        rooms = [_room(ladder, as_of, profiles[target]) - ladder.sum_at(as_of) for as_of in (at - 1, at)]
        most = min(most, max(1, min(rooms)))
    return Promise("down", at, target, most)
