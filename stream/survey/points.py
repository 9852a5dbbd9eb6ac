"""What the points of a metric give away: their step, the zone in which they were asked for, what their stamps mean.

Pure.  A *local* instant is what a clock on the platform's wall shows, as ms since the epoch in UTC would show it, so
that local = UTC + offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import reduce
from itertools import pairwise
from math import gcd
from typing import Any, Literal, NamedTuple, TypeAlias

from stream.adapters.vmmanager.replies import Odd
from stream.core.model import MAX_BYTES

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
QUARTER_MS = 15 * MINUTE_MS
"""Every zone in use is a multiple of it away from UTC."""
FARTHEST = 1 << 47
"""No stamp lies after this instant (year 6429)."""
OFFSETS = range(-12 * HOUR_MS, 14 * HOUR_MS + 1, QUARTER_MS)

Stamp: TypeAlias = Literal["start", "end"]


class Point(NamedTuple):
    at: int
    """Its stamp in ms."""
    bytes: float | None
    """None: not known (yet)."""


Series: TypeAlias = Sequence[Point]
"""Oldest first."""


def series(reply: Any) -> Series:
    """The points of a reply, nulls among them.  Raises Odd."""
    if not isinstance(reply, list) or len(reply) > 1:
        raise Odd("metrics are not a list of one series")
    if not reply:
        return []
    datapoints = reply[0].get("datapoints") if isinstance(reply[0], dict) else None
    if not isinstance(datapoints, list):
        raise Odd("a series without datapoints")
    try:
        return sorted((_point(value, stamp) for value, stamp in datapoints), key=lambda point: point.at)
    except (TypeError, ValueError, OverflowError) as error:
        raise Odd("a datapoint that is no pair of value and stamp") from error


def _point(value: Any, stamp_s: Any) -> Point:
    """Raises one of Python's own errors if it is none."""
    at = round(stamp_s * 1000)
    if not 0 <= at < FARTHEST or not (value is None or (type(value) in (int, float) and 0 <= value <= MAX_BYTES)):
        raise ValueError(value)
    return Point(at, value)


def known(points: Series) -> list[Point]:
    return [point for point in points if point.bytes is not None]


def spacing(stamps: Iterable[int]) -> int | None:
    """The widest grid on which all stamps lie; None if there are not three of them."""
    ordered = sorted(set(stamps))
    return reduce(gcd, (later - earlier for earlier, later in pairwise(ordered))) if len(ordered) > 2 else None


def clock_text(local: int) -> str:
    """As the platform wants `from` and `until`."""
    return f"{datetime.fromtimestamp(local / 1000, UTC):%H:%M_%Y%m%d}"


def offsets(start: int, end: int, points: Series) -> set[int]:
    """The distances from UTC at which a platform whose local clock reads `start` and `end` gives these points.

    The first and the last one lie within a step of them, whatever their stamps mean and wherever boundaries belong:

        from                                               until
          |                                                  |
        *    *    *    *    *    *    *    *    *    *    *     *
    """
    step = spacing(point.at for point in points)
    if step is None:
        return set()
    first, last = points[0].at, points[-1].at
    return {offset for offset in OFFSETS if abs(start - offset - first) <= step and abs(end - offset - last) <= step}


def stamp_of_buckets(fine: Series, coarse: Series, bucket_ms: int) -> Stamp | None:
    """What stamps mean, from which steps a bucket that was asked for puts together.  None: it cannot be told.

    fine stamps     12:00 12:05 ... 12:55 13:00
    bucket 12:00    \\_________ start ____/            its stamp is the first of its steps
    bucket 13:00          \\________ end _____/        its stamp is the last of them
    """
    begins, ends = (_sums(fine, coarse, bucket_ms, at_end=at_end) for at_end in (False, True))
    as_start = bool(begins) and all(_same(*pair) for pair in begins)
    as_end = bool(ends) and all(_same(*pair) for pair in ends)
    if as_start == as_end:
        return None
    return "start" if as_start else "end"


def _sums(fine: Series, coarse: Series, bucket_ms: int, *, at_end: bool) -> list[tuple[float, float]]:
    """(bucket, sum of the steps that it should hold), of the buckets that lie wholly within `fine`."""
    found = []
    step = spacing(point.at for point in fine)
    if step is None:
        return []
    first, last = fine[0].at, fine[-1].at
    for at, bytes_ in coarse:
        begin, finish = (at - bucket_ms + step, at) if at_end else (at, at + bucket_ms - step)
        inside = [point.bytes for point in fine if begin <= point.at <= finish]
        if bytes_ is not None and first <= begin and finish <= last and None not in inside:
            found.append((bytes_, sum(one for one in inside if one is not None)))
    return found


def _same(one: float, two: float) -> bool:
    return abs(one - two) <= max(0.5, 1e-9 * max(one, two))


class Lag(NamedTuple):
    """A point can be read so many ms after the end of its step: at least `low`, at most `high`."""

    low: int
    high: int


class Look(NamedTuple):
    """One look at a machine's newest point: asked and answered at (ms, our clock), its stamp and value."""

    asked: int
    answered: int
    newest: Point


def lag_of(looks: Sequence[Look], step_ms: int, stamp: Stamp) -> Lag:
    """What the looks at one machine say together: a point was there by an answer, the next one was not yet."""
    shift = step_ms if stamp == "start" else 0
    high = min(look.answered - look.newest.at - shift for look in looks)
    low = max(look.asked - look.newest.at - shift - step_ms for look in looks)
    return Lag(min(low, high), high)


def youngest_ms(looks: Iterable[Look]) -> int:
    """The least age of a newest point's stamp."""
    return min(look.answered - look.newest.at for look in looks)


def grows(looks: Sequence[Look]) -> bool:
    """Whether a newest point still changed: the platform shows steps that are not over."""
    return any(one.newest.at == two.newest.at and one.newest.bytes != two.newest.bytes for one, two in pairwise(looks))


def gaps(points: Series) -> list[int]:
    """The stamps of the points that are missing between known ones."""
    stamps = [point.at for point in known(points)]
    return [at for at, bytes_ in points if bytes_ is None and stamps and stamps[0] < at < stamps[-1]]
