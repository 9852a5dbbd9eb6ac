"""The `metrics` function: what a Graphite-like renderer makes of a VM's steps, by the knobs.

traffic      |--- step k ---|-- step k+1 --|        a point exists once its step is over, `lag_ms` later
stamp        ^start         ^end                    of a point, and of a bucket, as the knob says
buckets   |........ interval, a multiple of it since the epoch ........|   so one begins before `from`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.core.errors import Rejected
from stream.simulator.habits import Direction, Int64s, noise
from stream.simulator.knobs import DAY_MS, HOUR_MS, MINUTE_MS, Knobs
from stream.simulator.machine import Machine

UNITS_MS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1000),
    **dict.fromkeys(("min", "minute", "minutes"), MINUTE_MS),
    **dict.fromkeys(("h", "hour", "hours"), HOUR_MS),
    **dict.fromkeys(("d", "day", "days"), DAY_MS),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY_MS),
    **dict.fromkeys(("mon", "month", "months"), 30 * DAY_MS),
    **dict.fromkeys(("y", "year", "years"), 365 * DAY_MS),
}
"""A month is thirty days and a year 365, whatever the calendar says."""
LONGEST_MS = 10_000 * UNITS_MS["year"]

Hidden: TypeAlias = Callable[[Machine, Int64s], NDArray[np.bool_]]
"""(VM, begins of steps in ms) -> which of these points cannot be seen now."""

Point: TypeAlias = tuple[float | None, int]


class Query(NamedTuple):
    direction: Direction
    start: int
    end: int
    interval_ms: int | None


def parse_interval(text: str) -> int:
    """`5min`, `1month`, ... -> ms; raises Rejected."""
    match = re.fullmatch(r"([0-9]{1,12})([a-z]+)", text)
    length_ms = int(match[1]) * UNITS_MS.get(match[2], 0) if match else 0
    if not 0 < length_ms <= LONGEST_MS:
        raise Rejected(f"not an interval: {text}")
    return length_ms


def parse_instant(text: str, now: int, knobs: Knobs) -> int:
    """`now`, `-1d`, seconds since the epoch, `HH:MM_YYYYMMDD` in the server's zone -> ms; raises Rejected."""
    if text == "now":
        return now // 1000 * 1000
    if text.startswith("-"):
        return now // 1000 * 1000 - parse_interval(text[1:])
    if re.fullmatch(r"\d{9,11}", text) and knobs.epoch_seconds:
        return int(text) * 1000
    try:
        if len(text) != len("HH:MM_YYYYMMDD"):
            raise ValueError
        local = datetime.strptime(text, "%H:%M_%Y%m%d")
    except ValueError:
        raise Rejected(f"not an instant: {text}") from None
    fold = 1 if knobs.ambiguous == "second" else 0
    return int(local.replace(tzinfo=knobs.zone, fold=fold).timestamp()) * 1000


def parse(target: str, start: str, end: str, interval: str | None, now: int, knobs: Knobs) -> Query:
    """Raises Rejected, with what is wrong."""
    if target not in ("net_rx_summary", "net_tx_summary"):
        raise Rejected(f"not a target: {target}")
    received: Direction = "in" if knobs.view == "vm" else "out"
    sent: Direction = "out" if knobs.view == "vm" else "in"
    return Query(
        direction=received if target == "net_rx_summary" else sent,
        start=parse_instant(start, now, knobs),
        end=parse_instant(end, now, knobs),
        interval_ms=parse_interval(interval) if interval else None,
    )


def render(lives: Sequence[Machine], query: Query, now: int, knobs: Knobs, hidden: Hidden) -> list[Point] | None:
    """The datapoints, oldest first: (bytes, stamp in seconds), None for what is unknown.  None if there is no data.

    `lives` are the machines that share the series (of one VM).  Raises Rejected if there would be too many points.
    """
    step_ms = lives[-1].step_ms
    first, last = _range(query, step_ms, knobs)
    if knobs.retention_ms is not None:
        first = max(first, (now - knobs.retention_ms) // step_ms)
    if first >= last:
        return None
    interval_ms = max(query.interval_ms or step_ms, step_ms)
    first_bucket, last_bucket = first * step_ms // interval_ms, (last - 1) * step_ms // interval_ms + 1
    if last_bucket - first_bucket > knobs.most_points:
        raise Rejected(f"too many points: {last_bucket - first_bucket}", "ask for a longer interval")
    begun = max(first, min(lives[0].created // step_ms, last))  # before the first of them was made there is nothing
    over = min(last, max(begun, (now - knobs.lag_ms) // step_ms))
    values, seen = _known(lives, query.direction, begun, over, now, knobs, hidden)
    if not seen.any():
        return None
    buckets = np.arange(begun, over) * step_ms // interval_ms - first_bucket
    sums = np.zeros(last_bucket - first_bucket, np.int64)
    np.add.at(sums, buckets[seen], values[seen])
    filled = np.zeros(len(sums), np.bool_)
    filled[buckets[seen]] = True
    shift = 0 if knobs.stamp == "start" else 1
    stamps = ((np.arange(first_bucket, last_bucket) + shift) * interval_ms // 1000).tolist()
    columns = zip(sums.tolist(), filled.tolist(), stamps, strict=True)
    return [(float(value) if known else None, stamp) for value, known, stamp in columns]


def _range(query: Query, step_ms: int, knobs: Knobs) -> tuple[int, int]:
    """The steps whose points' own stamps lie between `from` and `until`, by the boundary knobs."""
    shift = 0 if knobs.stamp == "start" else step_ms
    start, end = query.start - shift, query.end - shift
    first = -(-start // step_ms) if knobs.from_included else start // step_ms + 1
    last = end // step_ms + 1 if knobs.until_included else -(-end // step_ms)
    return first, last


def _known(
    lives: Sequence[Machine], direction: Direction, first: int, last: int, now: int, knobs: Knobs, hidden: Hidden
) -> tuple[Int64s, NDArray[np.bool_]]:
    """Bytes of each of the steps `[first, last)`, and which of them can be seen now."""
    starts_ms = np.arange(first, last, dtype=np.int64) * lives[-1].step_ms
    values = np.zeros_like(starts_ms)
    seen = np.zeros(len(starts_ms), np.bool_)
    for machine in lives:
        visible = machine.recorded(first, last, stopped_too=knobs.stopped == "zero") & ~hidden(machine, starts_ms)
        if knobs.late_percent:
            late = noise(machine.key ^ 5, starts_ms) % 100 < knobs.late_percent
            visible &= ~late | (starts_ms + machine.step_ms + knobs.lag_ms + knobs.late_ms <= now)
        values += np.where(visible, machine.steps(direction, first, last), 0)
        seen |= visible
    return values, seen
