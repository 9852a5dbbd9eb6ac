"""Of every service what lists are filtered and sorted by, column by column, over all partitions.

Pages get places in the order in which they are first seen; the services of a page have the 256 rows of its place:

    row = place * 256 + row in the page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.core.columns import grown, room_for
from stream.core.services import PAGE_ROWS
from stream.replica.model import Row, RowPlan
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
NO_LABELS = hash(b"[]")


class Columns:
    """Nothing in here waits: whoever looks between two calls sees whole checkpoints only."""

    def __init__(self) -> None:
        self.words = Words()
        self.names = Texts()
        self.labels = {label: Texts() for label in LABELS}
        self.pages: list[tuple[int, int]] = []
        """By place: (partition, number of the page)."""
        self.used: list[NDArray[np.int64]] = []
        """By place of a plan in the service's set: bytes in its window."""
        self.quotas: list[NDArray[np.int64]] = []
        """The same of its quotas, credit included; -1 for none."""
        self._prints: dict[int, int] = {}  # of the labels on a page, by its first row
        self._other_labels: dict[int, Mapping[str, str]] = {}
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
        rows: list[int] = []
        texts: list[str] = []
        for page in staged:
            first = self._place(partition, page.number) * PAGE_ROWS
            here = slice(first, first + PAGE_ROWS)
            renamed = anew or bool((self.incarnation[here] != page.columns["incarnation"]).any())
            differs = self._store(here, page)
            names = [*page.names, *[""] * (PAGE_ROWS - len(page.names))]
            former = self.names.texts(first, first + PAGE_ROWS) if renamed and first < self.names.room else names
            for row in np.flatnonzero(differs).tolist() if len(changed) <= MOST_NAMED else ():
                changed |= {names[row], former[row]}
            if renamed:
                other = [row for row, name in enumerate(names) if name != former[row] or former is names]
                rows += [first + row for row in other]
                texts += [names[row] for row in other]
            self._label(first, page)
        self.names.put_all(rows, texts)  # all at once: a service may have moved from page to page
        changed.discard("")
        return Changed(frozenset(changed) if len(changed) <= MOST_NAMED else None)

    def _store(self, here: slice, page: Staged) -> NDArray[np.bool_]:
        """Which rows are others than before."""
        differs = np.zeros(PAGE_ROWS, np.bool_)
        for name in COLUMNS:
            column, values = getattr(self, name), page.columns[name]
            differs |= column[here] != values
            column[here] = values
        while len(self.used) < len(page.amounts):
            self.used.append(np.zeros(self.room, np.int64))
            self.quotas.append(np.zeros(self.room, np.int64))
        for place, (used, quotas) in enumerate(page.amounts):
            differs |= self.used[place][here] != used
            self.used[place][here], self.quotas[place][here] = used, quotas
        return differs

    def _label(self, first: int, page: Staged) -> None:
        print_ = hash(orjson.dumps([[row, labels] for row, labels in sorted(page.labels.items())]))
        if print_ == self._prints.get(first, NO_LABELS):
            return
        self._prints[first] = print_
        for label, texts in self.labels.items():
            found = [page.labels.get(row, {}).get(label, "") for row in range(PAGE_ROWS)]
            other = [row for row, text in enumerate(found) if text != texts.text(first + row)]
            texts.put_all([first + row for row in other], [found[row] for row in other])
        for row in range(PAGE_ROWS):
            rest = {name: text for name, text in page.labels.get(row, {}).items() if name not in self.labels}
            if rest:
                self._other_labels[first + row] = rest
            else:
                self._other_labels.pop(first + row, None)

    async def settle(self) -> None:
        """Sort what is new, before it is looked for."""
        for texts in (self.names, *self.labels.values()):
            await texts.settle()

    def line(self, row: int) -> Row:
        """A service as it stands in lists."""
        labels = {label: text for label, texts in self.labels.items() if (text := texts.text(row))}
        counted_to, changed_at = self.counted_to.item(row), self.changed.item(row)
        shape = self.words.shapes.things[self.shape.item(row)]
        plans = []
        for place, (plan, profile) in enumerate(shape):
            quota = self.quotas[place].item(row)
            plans.append(RowPlan(plan, profile, self.used[place].item(row), None if quota < 0 else quota))
        return Row(
            service=self.names.text(row),
            labels={**labels, **self._other_labels.get(row, {})},
            speed=self.words.speeds.things[self.speed.item(row)],
            plans=tuple(plans),
            source=self.words.sources.things[self.source.item(row)],
            counted_to=None if counted_to < 0 else counted_to,
            changed_at=None if changed_at < 0 else changed_at,
        )

    def drop(self, partition: int, numbers: Sequence[int]) -> None:
        """Pages that are there no more."""
        empty = {name: np.full(PAGE_ROWS, -1, dtype) for name, dtype in COLUMNS.items()}
        self.apply(partition, [Staged(number, [], {}, empty, ()) for number in numbers], anew=True)

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
        self.used = [grown(column, room) for column in self.used]
        self.quotas = [grown(column, room) for column in self.quotas]

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
