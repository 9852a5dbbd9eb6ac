"""Which services a query is about, in which order: over the columns, without looking at a page."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.speed import Speed
from stream.replica.columns import Columns
from stream.replica.model import Query
from stream.replica.texts import Rows

MOST_LIMIT = 1000
FASTEST = 1 << 62
"""Stands for `original` among speeds."""


def search(columns: Columns, query: Query) -> tuple[list[int], int]:
    """The rows that are asked for, in order, and how many there are in all."""
    rows = _matching(columns, query)
    chosen = _filters(columns, query)
    if chosen is not None:
        rows = rows[chosen.take(rows)]
    total = len(rows)
    first, end = max(0, query.offset), max(0, query.offset) + min(max(0, query.limit), MOST_LIMIT)
    if query.descending:
        first, end = total - end, total - first
    first, end = max(0, min(first, total)), max(0, min(end, total))
    rows = rows[first:end] if query.sort == "service" else _sorted(rows, _keys(columns, query).take(rows), first, end)
    return (rows[::-1] if query.descending else rows).tolist(), total


def _sorted(rows: Rows, keys: NDArray[Any], first: int, end: int) -> Rows:
    """What would stand at `[first, end)` if the rows were sorted by their keys, equal ones as they are."""
    if first >= end:
        return rows[:0]
    bounds = np.partition(keys, [first, end - 1])
    least, most = bounds[first], bounds[end - 1]
    near = np.flatnonzero((keys >= least) & (keys <= most))
    skipped = first - int(np.count_nonzero(keys < least))
    places = near[np.argsort(keys[near], kind="stable")[skipped : skipped + end - first]]
    return rows[places]


def _matching(columns: Columns, query: Query) -> Rows:
    """In the order of ids."""
    names, text = columns.names, query.text.strip()
    begin, end = (0, len(names.order)) if query.platform is None else names.range(f"{query.platform}/")
    if not text:
        return names.order[begin:end]
    found = [names.found(text, exact=query.exact)]
    found += [names.found(f"{platform}/{text}", exact=query.exact) for platform in platforms(columns)]
    for label, texts in columns.labels.items():
        found.append(texts.found(text, exact=query.exact))
        if label == "ip" and (address := _address(text)) not in ("", text):
            found.append(texts.found(address, exact=True))
    places = np.sort(names.rank[np.concatenate(found)])
    wanted = (places >= begin) & (places < end)
    wanted[1:] &= places[1:] != places[:-1]  # found in more than one way
    return names.order[places[wanted]]


def platforms(columns: Columns) -> list[str]:
    """What ids begin with, up to the first slash."""
    found, place, order = [], 0, columns.names.order
    while place < len(order):
        platform = columns.names.text(int(order[place])).partition("/")[0]
        found.append(platform)
        place = max(place + 1, columns.names.range(f"{platform}/")[1])
    return found


def _address(text: str) -> str:
    """An IP address as it is written in short; empty for what is none."""
    try:
        return ip_address(text).compressed
    except ValueError:
        return ""


def _filters(columns: Columns, query: Query) -> NDArray[np.bool_] | None:
    chosen: NDArray[np.bool_] | None = None
    if query.plan is not None or query.profile is not None:
        fits = [
            any(query.plan in (None, plan) and query.profile in (None, profile) for plan, profile in shape)
            for shape in columns.words.shapes.things
        ]
        chosen = np.array([*fits, False], np.bool_)[columns.shape]  # the last one is for -1: no service
    if query.slowed is not None:
        fit = columns.slowed == query.slowed
        chosen = fit if chosen is None else chosen & fit
    return chosen


def _keys(columns: Columns, query: Query) -> NDArray[Any]:
    if query.sort == "usage":
        return columns.usage
    if query.sort == "changed":
        return columns.changed
    if query.sort == "counted_to":
        return columns.counted_to
    ranks = {speed: rank for rank, speed in enumerate(sorted(columns.words.speeds.things, key=by_speed))}
    return np.array([*(ranks[speed] for speed in columns.words.speeds.things), -1], np.int32)[columns.speed]


def by_speed(speed: Speed) -> tuple[int, int]:
    """Slower ones are less: by the slower direction, then by the other one."""
    in_, out = (FASTEST if each is None else each for each in speed)
    return min(in_, out), max(in_, out)
