"""Columns of deltas: the same rules for one element as for thousands at once.

A delta is sound when its service is a service id, its numbers are integers (no booleans, no floats, no strings),
0 <= in, out <= MAX_BYTES, 0 <= start < end <= MAX_INSTANT, it is at most MAX_DELTA_MS long, and its end is not after
`latest` (append time plus max_ahead).  `sound` says so of whole columns; `Elements` says which elements are not, and
why.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson

from stream.core.errors import Rejected
from stream.core.model import MAX_BYTES, MAX_DELTA_MS, MAX_INSTANT, Int64s
from stream.wire.fields import are_services, integer, not_ahead, service_id

_NO_INTEGERS = (b".", b"e", b"E", b'"')
"""A column's JSON text without these has no float, string, true or false in it."""


def integers(text: bytes) -> Int64s | None:
    """The numbers of a JSON array; None if it is not one of 64-bit integers only."""
    numbers = _plain(text)
    if numbers is not None:
        return numbers
    if any(mark in text for mark in _NO_INTEGERS):
        return None
    try:
        values = orjson.loads(text)
        return np.fromiter(values, np.int64, len(values))
    except (ValueError, TypeError, OverflowError):
        return None


def _plain(text: bytes) -> Int64s | None:
    """The numbers, if this is how they are written without a blank: whatever else it may be is written otherwise."""
    try:
        numbers = np.fromstring(text[1:-1], np.int64, sep=",")
    except ValueError:
        return None
    return numbers if orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY) == text else None


def sound(start: int | Int64s, end: int | Int64s, in_: Int64s, out: Int64s, latest: int | Int64s) -> bool:
    """Whether all numbers of these columns (N > 0) keep their bounds."""
    return _greatest(in_) <= MAX_BYTES and _greatest(out) <= MAX_BYTES and _in_order(start, end, latest)


def _greatest(column: Int64s) -> int:
    """As unsigned numbers, of which the negative ones are the greatest."""
    return int(np.maximum.reduce(column.view(np.uint64)))


def _in_order(start: int | Int64s, end: int | Int64s, latest: int | Int64s) -> bool:
    if isinstance(start, int) and isinstance(end, int) and isinstance(latest, int):  # one interval for all
        return 0 <= start < end <= min(latest, MAX_INSTANT, start + MAX_DELTA_MS)
    last = np.minimum(np.minimum(latest, MAX_INSTANT), np.add(start, MAX_DELTA_MS))
    return bool(np.all(np.less_equal(0, start)) and np.all(np.less(start, end)) and np.all(np.less_equal(end, last)))


Numbers: TypeAlias = tuple[Int64s, Int64s, Int64s, Int64s]


class Elements(NamedTuple):
    """Unchecked deltas, column by column: N of whatever JSON holds."""

    services: Sequence[Any]
    start: Sequence[Any]
    end: Sequence[Any]
    in_: Sequence[Any]
    out: Sequence[Any]
    latest: Sequence[int]

    def refusals(self) -> dict[int, Rejected]:
        """Why which elements are not sound."""
        if not self.services or self.numbers() is not None:
            return {}
        found = {index: _refusal(*element) for index, element in enumerate(zip(*self, strict=True))}
        return {index: refusal for index, refusal in found.items() if refusal is not None}

    def numbers(self) -> Numbers | None:
        """Start, end, in and out, if all elements are sound."""
        columns = (self.start, self.end, self.in_, self.out)
        if not are_services(self.services) or set(map(type, chain(*columns))) != {int}:
            return None
        try:
            start, end, in_, out = map(array, columns)
        except OverflowError:
            return None
        return (start, end, in_, out) if sound(start, end, in_, out, array(self.latest)) else None

    def only(self, kept: Sequence[int]) -> Elements:
        """These elements alone."""
        return Elements(*([column[index] for index in kept] for column in self))


def array(values: Sequence[int]) -> Int64s:
    return np.fromiter(values, np.int64, len(values))


def _refusal(service: Any, start: Any, end: Any, in_: Any, out: Any, latest: int) -> Rejected | None:
    try:
        service_id(service)
        integer(start, "start", 0, MAX_INSTANT)
        integer(end, "end", 0, MAX_INSTANT)
        integer(in_, "in", 0, MAX_BYTES)
        integer(out, "out", 0, MAX_BYTES)
        if start >= end:
            raise Rejected(
                f"end is not after start: {start} to {end}",
                "give the interval as [start, end) with start before end, in milliseconds since 1970 (UTC)",
            )
        if end - start > MAX_DELTA_MS:
            raise Rejected(
                f"interval is too long: {start} to {end}",
                f"publish it in parts of at most {MAX_DELTA_MS} ms (400 days)",
            )
        not_ahead(end, "end", latest)
    except Rejected as refusal:
        return refusal.with_traceback(None)  # whose frames would hold much memory for many
    return None
