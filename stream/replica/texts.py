"""A column of texts that is kept in order: about 12 bytes a row besides the text, found by their beginnings.

Texts lie one after the other in one array of bytes.  `order` holds the rows by their folded texts; what has changed
since it was made is sorted in when it is next asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import grown, room_for

Rows = NDArray[np.int32]

MOST_BISECTED = 0.05
"""When more than this share of the rows is new, all are sorted anew."""


def folded(text: str) -> str:
    """The same for texts that differ in case only."""
    return text.casefold()


class Texts:
    """By row, which the caller gives; an empty text is none."""

    def __init__(self) -> None:
        self._starts = np.zeros(0, np.uint32)
        self._sizes = np.zeros(0, np.uint16)
        self._bytes = np.zeros(0, np.uint8)
        self._end = 0
        self._wasted = 0
        self._order: Rows = np.zeros(0, np.int32)
        self._gone: set[int] = set()  # rows in the order whose text is another one now, or none
        self._new: set[int] = set()  # rows with a text that are not in the order
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def text(self, row: int) -> str:
        """Empty if it has none."""
        if row >= len(self._sizes):
            return ""
        start = self._starts.item(row)
        return self._bytes[start : start + self._sizes.item(row)].tobytes().decode()

    def texts(self, first: int, end: int) -> list[str]:
        """Of the rows `[first, end)`."""
        return [self.text(row) for row in range(first, end)]

    def put(self, row: int, text: str) -> None:
        """Instead of what the row had; empty: it has none any more."""
        room = room_for(row + 1, len(self._sizes))
        if room > len(self._sizes):
            self._starts, self._sizes = grown(self._starts, room), grown(self._sizes, room)
        if size := self._sizes.item(row):
            self._wasted += size
            self.count -= 1
            if row in self._new:
                self._new.remove(row)
            else:
                self._gone.add(row)
        self._sizes[row] = 0
        if text:
            self._append(row, text.encode())
            self._new.add(row)
            self.count += 1

    def _append(self, row: int, encoded: bytes) -> None:
        end = self._end + len(encoded)
        if end > len(self._bytes):
            if 2 * self._wasted > self._end:
                self._squeeze()
                end = self._end + len(encoded)
            self._bytes = grown(self._bytes, room_for(end, len(self._bytes)))
        self._bytes[self._end : end] = np.frombuffer(encoded, np.uint8)
        self._starts[row], self._sizes[row] = self._end, len(encoded)
        self._end = end

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
        """All rows that have a text, by their folded texts; of equal ones by the texts themselves, then by row."""
        if self._gone:
            stays = np.ones(len(self._sizes), np.bool_)
            stays[list(self._gone)] = False
            self._order = self._order[stays[self._order]]
            self._gone.clear()
        if self._new:
            self._sort_in(sorted(self._new, key=self._key))
            self._new.clear()
        return self._order

    def _sort_in(self, new: Sequence[int]) -> None:
        if len(new) > MOST_BISECTED * len(self._order):
            rows = [*self._order.tolist(), *new]
            keys = {row: self._key(row) for row in rows}
            self._order = np.array(sorted(rows, key=keys.__getitem__), np.int32)
            return
        places = [bisect_left(self._order, self._key(row), key=self._key) for row in new]
        self._order = np.insert(self._order, places, np.array(new, np.int32))

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

    def sorted(self, rows: Iterable[int]) -> Rows:
        """These rows, which have texts, in the order of these."""
        return np.array(sorted(rows, key=self._key), np.int32)
