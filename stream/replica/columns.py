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

from stream.core.columns import Rows, as_numbers, as_rows, chosen, grown, room_for
from stream.core.services import PAGE_ROWS
from stream.replica.model import Row, RowPlan
from stream.replica.pages import Decoded
from stream.replica.staging import COLUMNS, Batch, Words
from stream.replica.texts import Texts, Written, written

LABELS: Final = ("name", "account", "ip")
"""Those that are searched."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a step has changed."""

    services: frozenset[str] | None
    """None: too many to name."""


NAME: Final = "service"
MOST_NAMED = 200
NO_LABELS = hash(b"[]")
LATEST: Final = (1 << 63) - 1


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
        self._by_shape = np.zeros(1, np.int64)  # how many services, by code and 1; at 0 the rows in no use
        self._by_source = np.zeros(1, np.int64)
        self._oldest: list[NDArray[np.int64]] = []  # by source and page: the least end up to which one is counted
        self._prints: dict[int, int] = {}  # of the labels on a page, by its first row
        self._other_labels: dict[int, Mapping[int, Mapping[str, str]]] = {}  # by first row and row of a page
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

    def stage(self, batch: Batch, page: Decoded | None, *, anew: bool) -> None:
        """The next page of a batch; None: it is there no more.  `anew`: perhaps of another log.  All that takes long is
        done here, page by page, and nothing of it is seen before `apply`."""
        first = self._place(batch.partition, batch.numbers[len(batch.firsts)]) * PAGE_ROWS
        if page is not None:
            batch.fill(page, self.words)
        incarnations = self.incarnation[first : first + PAGE_ROWS]
        if anew or not np.array_equal(incarnations, batch.columns["incarnation"][batch.here]):
            names = [] if page is None else page.names
            batch.texts[NAME].append(_others(self.names, first, [*names, *[""] * (PAGE_ROWS - len(names))]))
        self._stage_labels(batch, first, {} if page is None else page.services.labels)
        batch.firsts.append(first)

    def _stage_labels(self, batch: Batch, first: int, page: Mapping[int, Mapping[str, str]]) -> None:
        print_ = hash(orjson.dumps([[row, labels] for row, labels in sorted(page.items())]))
        if print_ == self._prints.get(first, NO_LABELS):
            return
        batch.prints[first] = print_
        for label, texts in self.labels.items():
            found = [page.get(row, {}).get(label, "") for row in range(PAGE_ROWS)]
            batch.texts[label].append(_others(texts, first, found))
        batch.other_labels[first] = {
            row: rest
            for row, labels in page.items()
            if (rest := {name: text for name, text in labels.items() if name not in self.labels})
        }

    def apply(self, batch: Batch) -> Changed:
        """All pages of a batch at once, instead of what they were."""
        if not batch.numbers:
            return Changed(frozenset())
        assert len(batch.firsts) == len(batch.numbers), "all are staged"
        rows = as_rows((np.array(batch.firsts, np.int64)[:, None] + np.arange(PAGE_ROWS)).reshape(-1))
        differs = self.incarnation[rows] != batch.columns["incarnation"]
        self._sum_up(rows, batch)
        self._store(rows, batch, differs)
        changed = self._named(rows, differs)
        self.names.put_all(batch.texts[NAME])
        for label, texts in self.labels.items():
            texts.put_all(batch.texts[label])
        self._prints |= batch.prints
        self._other_labels |= batch.other_labels
        if changed is not None:
            changed |= self._named(rows, differs) or set()
        return Changed(None if changed is None else frozenset(changed))

    def _store(self, rows: Rows, batch: Batch, differs: NDArray[np.bool_]) -> None:
        while len(self.used) < len(batch.used):
            self.used.append(np.zeros(self.room, np.int64))
            self.quotas.append(np.zeros(self.room, np.int64))
        pairs = [(getattr(self, name), values) for name, values in batch.columns.items()]
        pairs += [*zip(self.used, batch.used, strict=False), *zip(self.quotas, batch.quotas, strict=False)]
        for column, values in pairs:
            differs |= column[rows] != values
            column[rows] = values

    def _named(self, rows: Rows, differs: NDArray[np.bool_]) -> set[str] | None:
        """The services in these rows; None if there are too many of them."""
        if np.count_nonzero(differs) > MOST_NAMED:
            return None
        found = chosen(rows, np.flatnonzero(differs))
        return {self.names.text(row) for row in found.tolist()} - {""}

    def _sum_up(self, rows: Rows, batch: Batch) -> None:
        """Keep the sums over all services as they will be."""
        for counts, column, values in (
            ("_by_shape", self.shape, batch.columns["shape"]),
            ("_by_source", self.source, batch.columns["source"]),
        ):
            size = len(self.words.shapes.things) + len(self.words.sources.things) + 1
            more = np.bincount(values + 1, minlength=size) - np.bincount(column[rows] + 1, minlength=size)
            before = getattr(self, counts)
            more[: len(before)] += before
            setattr(self, counts, more)
        places = as_numbers(rows)[::PAGE_ROWS] // PAGE_ROWS
        shape, source, counted_to = (batch.columns[name] for name in ("shape", "source", "counted_to"))
        has_plans = np.array([*(bool(each) for each in self.words.shapes.things), False], np.bool_)[shape]
        counts_ = has_plans & (counted_to >= 0)  # without plans nothing is read any more: its end stays where it is
        while len(self._oldest) < len(self.words.sources.things):
            self._oldest.append(np.full(self.room // PAGE_ROWS, LATEST))
        for number, oldest in enumerate(self._oldest):
            ends = np.where(counts_ & (source == number), counted_to, LATEST)
            oldest[places] = ends.reshape(-1, PAGE_ROWS).min(axis=1)

    async def settle(self) -> None:
        """Sort what is new, before it is looked for."""
        for texts in (self.names, *self.labels.values()):
            await texts.settle()

    def line(self, row: int) -> Row:
        """A service as it stands in lists."""
        labels = {label: text for label, texts in self.labels.items() if (text := texts.text(row))}
        counted_to, changed_at = self.counted_to.item(row), self.changed.item(row)
        place = row % PAGE_ROWS
        others = self._other_labels.get(row - place, {}).get(place, {})
        shape = self.words.shapes.things[self.shape.item(row)]
        plans = []
        for place, (plan, profile) in enumerate(shape):
            quota = self.quotas[place].item(row)
            plans.append(RowPlan(plan, profile, self.used[place].item(row), None if quota < 0 else quota))
        return Row(
            service=self.names.text(row),
            labels={**labels, **others},
            speed=self.words.speeds.things[self.speed.item(row)],
            plans=tuple(plans),
            source=self.words.sources.things[self.source.item(row)],
            counted_to=None if counted_to < 0 else counted_to,
            changed_at=None if changed_at < 0 else changed_at,
        )

    def drop(self, partition: int, numbers: Sequence[int]) -> None:
        """Pages that are there no more."""
        gone = Batch(partition, numbers)
        for _ in numbers:
            self.stage(gone, None, anew=True)
        self.apply(gone)

    def _place(self, partition: int, number: int) -> int:
        place = self._places.get((partition, number))
        if place is None:
            place = self._places[partition, number] = len(self.pages)
            self.pages.append((partition, number))
            self._reserve(len(self.pages) * PAGE_ROWS)
        return place

    def _reserve(self, rows: int) -> None:
        room = -(-room_for(rows, self.room) // PAGE_ROWS) * PAGE_ROWS
        if room == self.room:
            return
        before, self.room = self.room, room
        for name in COLUMNS:
            column = grown(getattr(self, name), room)
            column[before:] = 0 if name == "slowed" else -1
            setattr(self, name, column)
        self.used = [grown(column, room) for column in self.used]
        self.quotas = [grown(column, room) for column in self.quotas]
        pages = room // PAGE_ROWS
        self._oldest = [np.append(each, np.full(pages - len(each), LATEST)) for each in self._oldest]

    # ------------------------------------------------------------ questions about all

    def population(self) -> dict[tuple[str, str], int]:
        """How many services are in which profile."""
        found: dict[tuple[str, str], int] = {}
        for shape, count in zip(self.words.shapes.things, self._by_shape[1:].tolist(), strict=False):
            for each in shape if count else ():
                found[each] = found.get(each, 0) + count
        return found

    def counted(self) -> Iterator[tuple[str, int, int | None]]:
        """(source, its services, up to where the one that is furthest behind is counted)."""
        for number, source in enumerate(self.words.sources.things):
            count = self._by_source[number + 1].item() if number + 1 < len(self._by_source) else 0
            oldest = int(self._oldest[number].min(initial=LATEST)) if number < len(self._oldest) else LATEST
            if count:
                yield source, count, None if oldest == LATEST else oldest


def _others(texts: Texts, first: int, new: Sequence[str]) -> Written:
    """Of the rows from `first` on, those that have other texts now."""
    former = texts.texts(first, first + len(new))
    rows = [row for row, (text, before) in enumerate(zip(new, former, strict=True)) if text != before]
    return written([first + row for row in rows], [new[row] for row in rows])
