"""Service names and their rows: about 30 bytes a name instead of Python's 135, found by the thousand.

Names lie one after the other in one array of bytes, a line each, so none holds a newline.  A table of row numbers (open
addressing, linear probing) is entered by a name's hash; a hit is compared byte by byte, so two names with one hash are
two names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from stream.core.columns import grown, room_for
from stream.core.window import Int64s

_EMPTY: Final = -1
_REMOVED: Final = -2
_LEAST_SLOTS: Final = 1024
_HASH_BITS: Final = 0xFFFF_FFFF
_NEWLINE: Final = 10


class NameIndex:
    """Rows are given by the caller, each to one name at a time."""

    def __init__(self) -> None:
        self._slots = np.full(_LEAST_SLOTS, _EMPTY, np.int32)
        self._used = 0  # slots that are not empty
        self._entered = True  # whether all names have slots
        self._hashes = np.zeros(0, np.uint32)
        self._starts = np.zeros(0, np.uint32)
        self._sizes = np.zeros(0, np.int16)  # 0: a row without a name
        self._bytes = np.zeros(0, np.uint8)
        self._end = 0
        self._wasted = 0
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        """In order of rows."""
        for row in np.flatnonzero(self._sizes).tolist():
            yield self.name(row)

    def name(self, row: int) -> str:
        """Of a row; empty for one that has none."""
        return self._name_bytes(row).decode()

    def lines(self, first: int, end: int) -> str:
        """Of the rows `[first, end)`, one after the other, each with a newline; an empty line for one that has none."""
        self._reserve(end, 0)
        starts = self._starts[first:end].astype(np.int64)
        after = starts + self._sizes[first:end] + 1
        if len(starts) and self._sizes[first:end].all() and (starts[1:] == after[:-1]).all():  # as they mostly are
            return self._bytes[starts[0] : after[-1]].tobytes().decode()
        return "".join(self.name(row) + "\n" for row in range(first, end))

    def row(self, name: str) -> int:
        """-1 for an unknown name."""
        self._enter_all()
        wanted, encoded = hash(name) & _HASH_BITS, name.encode()
        mask = len(self._slots) - 1
        slot = wanted & mask
        while (row := int(self._slots[slot])) != _EMPTY:
            if row >= 0 and int(self._hashes[row]) == wanted and self._name_bytes(row) == encoded:
                return row
            slot = (slot + 1) & mask
        return -1

    def rows(self, names: Sequence[str]) -> Int64s:
        """-1 for each unknown name."""
        self._enter_all()
        found = np.full(len(names), -1, np.int64)
        if not self.count:
            return found
        wanted = _hashes(names)
        mask = len(self._slots) - 1
        slot, places = wanted & mask, np.arange(len(names))
        while len(places):
            row = self._slots[slot]
            hit = (row >= 0) & (self._hashes[row] == wanted[places])
            found[places[hit]] = row[hit]
            on = ~hit & (row != _EMPTY)
            places, slot = places[on], (slot[on] + 1) & mask
        self._verify(names, found)
        return found

    def put(self, name: str, row: int) -> None:
        """A name that is not here yet."""
        self._enter_all()
        line = name.encode() + b"\n"
        assert line.index(b"\n") == len(line) - 1, "a name is a line"
        self._reserve(row + 1, len(line))
        self._bytes[self._end : self._end + len(line)] = np.frombuffer(line, np.uint8)
        self._starts[row], self._sizes[row] = self._end, len(line) - 1
        self._hashes[row] = hash(name) & _HASH_BITS
        self._end += len(line)
        self.count += 1
        if not self._make_room(1):
            self._enter_one(row)

    def put_lines(self, lines: str, first: int, end: int) -> Int64s:
        """Names that are not here yet, each only once, of the rows `[first, end)`, as `lines` gives them; returns the
        rows that have none.  They are entered when the first is looked for, all at once.  Raises ValueError."""
        data = np.frombuffer(lines.encode(), np.uint8)
        after = np.flatnonzero(data == _NEWLINE) + 1
        if len(after) != end - first or (lines and not lines.endswith("\n")):
            raise ValueError(f"{len(after)} lines of names for {end - first} rows")
        starts = np.zeros(end - first, np.int64)
        starts[1:] = after[:-1]
        sizes = after - starts - 1
        self._reserve(end, len(data))
        self._bytes[self._end : self._end + len(data)] = data
        self._starts[first:end] = starts + self._end
        self._sizes[first:end] = sizes
        self._hashes[first:end] = _hashes(lines.split("\n")[:-1])
        self._end += len(data)
        nameless = np.flatnonzero(sizes == 0)
        self.count += end - first - len(nameless)
        self._entered = False
        return first + nameless

    def remove(self, row: int) -> None:
        """Of a row that has a name."""
        self._enter_all()
        mask = len(self._slots) - 1
        slot = int(self._hashes[row]) & mask
        while int(self._slots[slot]) != row:
            slot = (slot + 1) & mask
        self._slots[slot] = _REMOVED
        self._wasted += int(self._sizes[row]) + 1
        self._sizes[row] = 0
        self.count -= 1

    # ------------------------------------------------------------ comparing

    def _name_bytes(self, row: int) -> bytes:
        start = self._starts.item(row)
        return self._bytes[start : start + self._sizes.item(row)].tobytes()

    def _verify(self, names: Sequence[str], found: Int64s) -> None:
        """Looks again, one by one, at each name whose hash fits but whose bytes differ."""
        known = np.flatnonzero(found >= 0)
        if not len(known):
            return
        sizes, data = _encoded(names if len(known) == len(names) else [names[place] for place in known.tolist()])
        rows = found[known]
        same_size = self._sizes[rows] == sizes
        if not same_size.all():
            self._look_again(names, found, known[~same_size])
            self._verify(names, found)
            return
        ends = np.cumsum(sizes)
        shifts = self._starts[rows].astype(np.int64) - ends + sizes
        held = self._bytes[np.repeat(shifts, sizes) + np.arange(len(data))]
        differs = held != np.frombuffer(data, np.uint8)
        if differs.any():
            self._look_again(names, found, known[np.unique(np.searchsorted(ends, np.flatnonzero(differs), "right"))])

    def _look_again(self, names: Sequence[str], found: Int64s, places: Int64s) -> None:
        for place in places.tolist():
            found[place] = self.row(names[place])

    # ------------------------------------------------------------ room

    def reserve(self, rows: int) -> None:
        """Room for so many."""
        self._reserve(rows, 0)

    def _reserve(self, rows: int, more_bytes: int) -> None:
        room = room_for(rows, len(self._hashes))
        if room > len(self._hashes):
            self._hashes, self._starts = grown(self._hashes, room), grown(self._starts, room)
            self._sizes = grown(self._sizes, room)
        if self._end + more_bytes > len(self._bytes):
            if 2 * self._wasted > self._end:
                self._squeeze()
            self._bytes = grown(self._bytes, room_for(self._end + more_bytes, len(self._bytes)))

    def _squeeze(self) -> None:
        """Drops the bytes of names that are gone."""
        rows = np.flatnonzero(self._sizes)
        kept = b"".join(self._name_bytes(row) + b"\n" for row in rows.tolist())
        sizes = self._sizes[rows].astype(np.int64) + 1
        self._starts[rows] = np.cumsum(sizes) - sizes
        self._bytes = np.frombuffer(kept, np.uint8).copy()
        self._end, self._wasted = len(kept), 0

    def _make_room(self, more: int) -> bool:
        """Keeps at least two fifths of the slots empty.  True if it has built the table anew, with every name in it."""
        if 5 * (self._used + more) <= 3 * len(self._slots):
            return False
        self._enter_anew()
        return True

    def _enter_all(self) -> None:
        if not self._entered:
            self._entered = True
            self._enter_anew()

    def _enter_anew(self) -> None:
        size = _LEAST_SLOTS
        while 5 * self.count > 2 * size:
            size *= 2
        self._slots = np.full(size, _EMPTY, np.int32)
        self._used = 0
        self._enter(np.flatnonzero(self._sizes))

    def _enter_one(self, row: int) -> None:
        mask = len(self._slots) - 1
        slot = int(self._hashes[row]) & mask
        while int(self._slots[slot]) != _EMPTY:
            slot = (slot + 1) & mask
        self._slots[slot] = row
        self._used += 1

    def _enter(self, rows: Int64s) -> None:
        mask = len(self._slots) - 1
        slot = self._hashes[rows].astype(np.int64) & mask
        self._used += len(rows)
        while len(rows):
            free = self._slots[slot] == _EMPTY
            self._slots[slot[free]] = rows[free]  # of several that want one slot, one gets it
            waits = self._slots[slot] != rows
            rows, slot = rows[waits], (slot[waits] + 1) & mask


def _hashes(names: Sequence[str]) -> Int64s:
    return np.fromiter(map(hash, names), np.int64, len(names)) & _HASH_BITS


def _encoded(names: Sequence[str]) -> tuple[Int64s, bytes]:
    """Sizes in bytes, and the names one after the other."""
    joined = "".join(names)
    parts: Sequence[str | bytes] = names if joined.isascii() else [name.encode() for name in names]
    return np.fromiter(map(len, parts), np.int64, len(names)), joined.encode()
