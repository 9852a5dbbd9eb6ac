"""A column of texts that is kept in order: about 11 bytes a row besides the text, found by their beginnings.

Texts lie one after the other in one array of bytes.  `order` holds the rows by their folded texts; what has changed
since it was made is sorted in when it is next asked for, or by `settle`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import as_rows, grown, room_for
from stream.core.window import Int64s

Rows = NDArray[np.int32]

FEW = 500
"""So many new texts are sorted in one by one."""
WIDTH = 24
"""Bytes of a folded text that are compared at first."""
AT_ONCE = 20_000
"""Texts that are folded at one go."""


def folded(text: str) -> str:
    """The same for texts that differ in case only."""
    return text.casefold()


class Written(NamedTuple):
    """Texts to be put, one after the other, each row once."""

    rows: Rows
    sizes: NDArray[np.uint16]
    data: bytes


def written(rows: Sequence[int], texts: Sequence[str]) -> Written:
    encoded = [text.encode() for text in texts]
    sizes = np.fromiter(map(len, encoded), np.uint16, len(encoded))
    return Written(np.array(rows, np.int32), sizes, b"".join(encoded))


class Texts:
    """By row, which the caller gives; an empty text is none."""

    def __init__(self) -> None:
        self._starts = np.zeros(0, np.uint32)
        self._sizes = np.zeros(0, np.uint16)
        self._in_order = np.zeros(0, np.bool_)
        """Whether a row stands in the order with the text that it has."""
        self._bytes = np.zeros(0, np.uint8)
        self._end = 0
        self._wasted = 0
        self._order: Rows = np.zeros(0, np.int32)
        self._ranked, self._rank = self._order, np.zeros(0, np.int32)
        self._is_settled = True
        self._settling = asyncio.Lock()
        self.count = 0

    def __len__(self) -> int:
        return self.count

    @property
    def room(self) -> int:
        """Rows from here on never had a text."""
        return len(self._sizes)

    def text(self, row: int) -> str:
        """Empty if it has none."""
        if row >= len(self._sizes):
            return ""
        start = self._starts.item(row)
        return self._bytes[start : start + self._sizes.item(row)].tobytes().decode()

    def texts(self, first: int, end: int) -> list[str]:
        """Of the rows `[first, end)`."""
        if not self._sizes[first:end].any():
            return [""] * (end - first)
        return [self.text(row) for row in range(first, end)]

    def put(self, row: int, text: str) -> None:
        """Instead of what the row had; empty: it has none any more."""
        self.put_all([written([row], [text])])

    def put_all(self, parts: Sequence[Written]) -> None:
        """The same for many."""
        if not parts:
            return
        numbers = np.concatenate([part.rows for part in parts]).astype(np.int64)
        sizes = np.concatenate([part.sizes for part in parts])
        if not len(numbers):
            return
        rows, room = as_rows(numbers), room_for(int(numbers.max()) + 1, len(self._sizes))
        if room > len(self._sizes):
            self._starts, self._sizes = grown(self._starts, room), grown(self._sizes, room)
            self._in_order = grown(self._in_order, room)
        former = self._sizes[rows]
        self._wasted += int(former.sum())
        self.count += int(np.count_nonzero(sizes)) - int(np.count_nonzero(former))
        self._sizes[rows], self._in_order[rows] = 0, False
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        self._starts[rows] = self._append(b"".join(part.data for part in parts)) + starts
        self._sizes[rows] = sizes
        self._is_settled = False

    def _append(self, data: bytes) -> int:
        """Where they are."""
        if self._end + len(data) > len(self._bytes):
            if 2 * self._wasted > self._end:
                self._squeeze()
            self._bytes = grown(self._bytes, room_for(self._end + len(data), len(self._bytes)))
        start, self._end = self._end, self._end + len(data)
        self._bytes[start : self._end] = np.frombuffer(data, np.uint8)
        return start

    def _squeeze(self) -> None:
        """Drops the bytes of texts that are gone."""
        rows = np.flatnonzero(self._sizes)
        kept = b"".join(self.text(row).encode() for row in rows.tolist())
        sizes = self._sizes[rows].astype(np.int64)
        self._starts[rows] = np.cumsum(sizes) - sizes
        self._bytes = np.frombuffer(kept, np.uint8).copy()
        self._end, self._wasted = len(kept), 0

    # ------------------------------------------------------------ order

    @property
    def order(self) -> Rows:
        """All rows that have a text, by their folded texts; of equal ones by the texts themselves, then by row.
        Without those that `settle` is sorting in."""
        if not self._is_settled:
            self._drop_changed()
            if not self._settling.locked():
                self._sort_in(self._new())
        return self._order

    @property
    def rank(self) -> Rows:
        """By row: its place in the order; -1 for one that is not there."""
        order = self.order
        if self._ranked is not order or len(self._rank) < len(self._sizes):
            self._ranked, self._rank = order, np.full(len(self._sizes), -1, np.int32)
            self._rank[order] = np.arange(len(order), dtype=np.int32)
        return self._rank

    async def settle(self) -> None:
        """Sort in what has changed, without keeping others from their work for long."""
        async with self._settling:
            while len(self._new()) > FEW:
                self._drop_changed()
                rows = np.flatnonzero(self._sizes)
                self._in_order[rows] = True  # those that change meanwhile say so
                order = await asyncio.to_thread(sorted_rows, rows, self._starts[rows], self._sizes[rows], self._bytes)
                self._order = order
                self._drop_changed()
        _ = self.order

    def _new(self) -> Int64s:
        return np.flatnonzero((self._sizes > 0) & ~self._in_order)

    def _drop_changed(self) -> None:
        stays = self._in_order[self._order]
        if not stays.all():
            self._order = self._order[stays]

    def _sort_in(self, new: Int64s) -> None:
        """Rows that are not in the order."""
        self._in_order[new], self._is_settled = True, True
        if len(new) > FEW:
            rows = np.flatnonzero(self._sizes)
            self._order = sorted_rows(rows, self._starts[rows], self._sizes[rows], self._bytes)
        elif len(new):
            new = sorted_rows(new, self._starts[new], self._sizes[new], self._bytes).astype(np.int64)
            places = [bisect_left(self._order, self._key(row), key=self._key) for row in new.tolist()]
            self._order = np.insert(self._order, places, new).astype(np.int32)

    def _key(self, row: int) -> tuple[str, str, int]:
        text = self.text(row)
        return folded(text), text, int(row)

    def row(self, text: str) -> int:
        """The first row that has exactly this text; -1 if none has."""
        order = self.order
        place = bisect_left(order, (folded(text), text, -1), key=self._key)
        if place < len(order) and self.text(int(order[place])) == text:
            return int(order[place])
        return -1

    def range(self, beginning: str, *, exact: bool = False) -> tuple[int, int]:
        """The part of `order` whose texts begin so (or, `exact`, are that), whatever their case."""
        wanted = folded(beginning)
        size = None if exact else len(wanted)

        def key(row: int) -> str:
            return folded(self.text(row))[:size]

        order = self.order
        return bisect_left(order, wanted, key=key), bisect_right(order, wanted, key=key)

    def found(self, beginning: str, *, exact: bool = False) -> Rows:
        """The rows whose texts begin so (or are that), in order."""
        first, end = self.range(beginning, exact=exact)
        return self.order[first:end]


def sorted_rows(rows: Int64s, starts: NDArray[np.uint32], sizes: NDArray[np.uint16], data: NDArray[np.uint8]) -> Rows:
    """Rows (ascending) by their texts: first by the beginnings of these, then what is alike there one by one."""

    def key(place: int) -> tuple[str, str, int]:
        start = starts.item(place)
        text = data[start : start + sizes.item(place)].tobytes().decode()
        return folded(text), text, place

    if len(rows) <= FEW:
        return rows[sorted(range(len(rows)), key=key)].astype(np.int32)
    beginnings = np.zeros(len(rows), f"S{WIDTH}")
    for first in range(0, len(rows), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        beginnings[some] = _beginnings(starts[some], sizes[some], data)
    order = np.argsort(beginnings, kind="stable")
    ordered = beginnings[order]
    alike = np.flatnonzero(ordered[1:] == ordered[:-1])
    for run in np.split(alike, np.flatnonzero(np.diff(alike) > 1) + 1) if len(alike) else ():
        first, end = int(run[0]), int(run[-1]) + 2
        order[first:end] = sorted(order[first:end].tolist(), key=key)
    return rows[order].astype(np.int32)


def _beginnings(starts: NDArray[np.uint32], sizes: NDArray[np.uint16], data: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """The first WIDTH bytes of the folded texts."""
    within = np.arange(WIDTH)
    places = np.minimum(starts.astype(np.int64)[:, None] + within, max(0, len(data) - 1))
    found = np.where(within < sizes[:, None], data[places], 0).astype(np.uint8)
    found[(found >= ord("A")) & (found <= ord("Z"))] += 32
    beginnings = found.view(f"S{WIDTH}").reshape(-1)
    foreign = np.flatnonzero(_has_others(starts, sizes, data))
    for place in foreign.tolist():
        start = starts.item(place)
        text = data[start : start + sizes.item(place)].tobytes().decode()
        beginnings[place] = folded(text).encode()[:WIDTH]
    return beginnings


def _has_others(starts: NDArray[np.uint32], sizes: NDArray[np.uint16], data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether texts have characters beyond ASCII."""
    if not len(starts):
        return np.zeros(0, np.bool_)
    first, end = int(starts.min()), int((starts.astype(np.int64) + sizes).max())
    others = first + np.flatnonzero(data[first:end] >= 128)
    return np.searchsorted(others, starts) < np.searchsorted(others, starts.astype(np.int64) + sizes)
