"""Columns that grow together.  Untouched room costs no resident memory."""

from __future__ import annotations

import math
import mmap
from heapq import heappop, heappush
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.core.window import Int64s

Rows: TypeAlias = slice | Int64s
"""Row numbers: a slice (step 1) where they follow each other."""

_LEAST_ROOM: Final = 256
_OWN_MEMORY_BYTES: Final = 1 << 16
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_SMALL_PAGES: Final[int | None] = getattr(mmap, "MADV_NOHUGEPAGE", None)  # Linux
_Scalar = TypeVar("_Scalar", bound=np.generic)


def room_for(count: int, room: int) -> int:
    """How many rows to have when `count` are needed and there is room for `room`."""
    return room if count <= room else max(_LEAST_ROOM, count, room + room // 2)


def grown(old: NDArray[_Scalar], room: int) -> NDArray[_Scalar]:
    """A copy with room for more rows (the last axis), zeros.

    Large ones get memory of their own from the system: from the heap, a column that grows would leave holes behind, and
    its unused room would be resident.
    """
    shape = (*old.shape[:-1], room)
    size = math.prod(shape) * old.itemsize
    memory = _from_system(size) if size >= _OWN_MEMORY_BYTES else bytearray(size)
    new = np.frombuffer(memory, old.dtype).reshape(shape)
    new[..., : old.shape[-1]] = old
    return new


def _from_system(size: int) -> mmap.mmap:
    """Private memory, since shared memory takes twice as long to be had; in small pages, wherever the system would give
    large ones by itself: of those a single byte takes 2 MiB."""
    memory = mmap.mmap(-1, size, flags=_PRIVATE)
    if _SMALL_PAGES is not None:
        memory.madvise(_SMALL_PAGES)
    return memory


def as_rows(numbers: Int64s) -> Rows:
    """The same rows, as a slice where they follow each other."""
    count = len(numbers)
    if count and int(numbers[-1]) - int(numbers[0]) == count - 1 and bool((np.diff(numbers) == 1).all()):
        return slice(int(numbers[0]), int(numbers[0]) + count)
    return numbers


def as_numbers(rows: Rows) -> Int64s:
    return np.arange(rows.start, rows.stop, dtype=np.int64) if isinstance(rows, slice) else rows


def chosen(rows: Rows, places: Int64s) -> Int64s:
    """Those of `rows` that stand at `places`."""
    return places + rows.start if isinstance(rows, slice) else rows[places]


class FreeList:
    """Row numbers: those given back are used again, the least first."""

    def __init__(self) -> None:
        self.count = 0
        """Rows ever used."""
        self.free: list[int] = []
        """A heap."""

    def take(self) -> int:
        if self.free:
            return heappop(self.free)
        self.count += 1
        return self.count - 1

    def give_back(self, row: int) -> None:
        heappush(self.free, row)
