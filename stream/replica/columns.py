"""Of every service what lists are filtered and sorted by, column by column, over all partitions.

Pages get places in the order in which they are first seen; the services of a page have the 256 rows of its place:

    row = place * 256 + row in the page
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import grown, room_for
from stream.core.services import PAGE_ROWS
from stream.replica.pages import Decoded
from stream.replica.staging import COLUMNS, Staged, Words, stage
from stream.replica.texts import Texts

LABELS: Final = ("name", "account", "ip")
"""Those that are searched."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a step has changed."""

    services: frozenset[str] | None
    """None: too many to name."""


MOST_NAMED = 200


class Columns:
    """Nothing in here waits: whoever looks between two calls sees whole checkpoints only."""

    def __init__(self) -> None:
        self.words = Words()
        self.names = Texts()
        self.labels = {label: Texts() for label in LABELS}
        self.pages: list[tuple[int, int]] = []
        """By place: (partition, number of the page)."""
        self._places: dict[tuple[int, int], int] = {}
        self.room = 0
        for name, dtype in COLUMNS.items():
            setattr(self, name, np.zeros(0, dtype))

    shape: NDArray[np.int32]
    source: NDArray[np.int32]
    speed: NDArray[np.int32]
    slowed: NDArray[np.bool_]
    usage: NDArray[np.float32]
    changed: NDArray[np.int64]
    counted_to: NDArray[np.int64]
    incarnation: NDArray[np.int64]
    revision: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    def stage(self, decoded: Decoded) -> Staged:
        """What a page says; nothing changes but that codes are given."""
        return stage(decoded, self.words)

    def apply(self, partition: int, staged: Sequence[Staged], *, anew: bool) -> Changed:
        """Pages of a partition, instead of what they were; `anew`: perhaps of another log."""
        changed: set[str] = set()
        moved: list[tuple[int, str]] = []
        for page in staged:
            first = self._place(partition, page.number) * PAGE_ROWS
            differs = np.zeros(PAGE_ROWS, np.bool_)
            renamed = anew or bool((self.incarnation[first : first + PAGE_ROWS] != page.columns["incarnation"]).any())
            for name, values in page.columns.items():
                column = getattr(self, name)
                differs |= column[first : first + PAGE_ROWS] != values
                column[first : first + PAGE_ROWS] = values
            names = [*page.names, *[""] * (PAGE_ROWS - len(page.names))]
            former = self.names.texts(first, first + PAGE_ROWS) if renamed else names
            for row in np.flatnonzero(differs).tolist() if len(changed) <= MOST_NAMED else ():
                changed |= {names[row], former[row]}
            for row, (before, name) in enumerate(zip(former, names, strict=True)) if renamed else ():
                if before != name:
                    self.names.put(first + row, "")
                    moved.append((first + row, name))
            self._label(first, page, names)
        for row, name in moved:  # after all removals: a service may have moved from page to page
            self.names.put(row, name)
        changed.discard("")
        return Changed(frozenset(changed) if len(changed) <= MOST_NAMED else None)

    def _label(self, first: int, page: Staged, names: Sequence[str]) -> None:
        for label, texts in self.labels.items():
            if not texts and not page.labels:
                continue
            for row in range(len(names)):
                text = page.labels.get(row, {}).get(label, "")
                if texts.text(first + row) != text:
                    texts.put(first + row, text)

    def drop(self, partition: int, numbers: Sequence[int]) -> None:
        """Pages that are there no more."""
        empty = {name: np.full(PAGE_ROWS, -1, dtype) for name, dtype in COLUMNS.items()}
        self.apply(partition, [Staged(number, [], {}, empty) for number in numbers], anew=True)

    def of(self, partition: int) -> list[int]:
        """Numbers of the pages of a partition."""
        return [number for owner, number in self.pages if owner == partition]

    def _place(self, partition: int, number: int) -> int:
        place = self._places.get((partition, number))
        if place is None:
            place = self._places[partition, number] = len(self.pages)
            self.pages.append((partition, number))
            self._reserve(len(self.pages) * PAGE_ROWS)
        return place

    def _reserve(self, rows: int) -> None:
        room = room_for(rows, self.room)
        if room == self.room:
            return
        before, self.room = self.room, room
        for name in COLUMNS:
            column = grown(getattr(self, name), room)
            column[before:] = 0 if name == "slowed" else -1
            setattr(self, name, column)

    # ------------------------------------------------------------ questions about all

    def in_use(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.shape >= 0)

    def population(self) -> dict[tuple[str, str], int]:
        """How many services are in which profile."""
        counts = np.bincount(self.shape[self.in_use()], minlength=len(self.words.shapes.things)).tolist()
        found: dict[tuple[str, str], int] = {}
        for shape, count in zip(self.words.shapes.things, counts, strict=True):
            for each in shape if count else ():
                found[each] = found.get(each, 0) + count
        return found

    def counted(self) -> Iterator[tuple[str, int, int | None]]:
        """(source, its services, up to where the one that is furthest behind is counted)."""
        rows = self.in_use()
        sources, ends = self.source[rows], self.counted_to[rows]
        has_plans = np.array([bool(shape) for shape in self.words.shapes.things], np.bool_)[self.shape[rows]]
        counts = (ends >= 0) & has_plans  # without plans nothing is read any more: its end stays where it is
        for number in np.unique(sources).tolist():
            own = sources == number
            reached = ends[own & counts]
            yield self.words.sources.things[number], int(own.sum()), int(reached.min()) if len(reached) else None
