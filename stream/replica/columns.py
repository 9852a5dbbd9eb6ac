"""Of every service what lists are filtered and sorted by, column by column, over all partitions.

Pages get places in the order in which they are first seen; the services of a page have the 256 rows of its place:

    row = place * 256 + row in the page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import grown, room_for
from stream.core.services import PAGE_ROWS
from stream.core.speed import ORIGINAL, Speed
from stream.core.view import ServiceView
from stream.replica.pages import Decoded
from stream.replica.texts import Texts

LABELS: Final = ("name", "account", "ip")
"""Those that are searched."""

COLUMNS: Final[Mapping[str, Any]] = {
    "shape": np.int32,
    "source": np.int32,
    "speed": np.int32,
    "slowed": np.bool_,
    "usage": np.float32,
    "changed": np.int64,
    "counted_to": np.int64,
    "incarnation": np.int64,
    "revision": np.int32,
}
"""Codes of what is told of in words; instants, -1 for none; the share of the quota that is used, -1 without one."""

Shape: TypeAlias = tuple[tuple[str, str], ...]
"""Plans and profiles of a service."""

T = TypeVar("T")


class Codes(Generic[T]):
    """Numbers for things that many have in common."""

    def __init__(self) -> None:
        self.things: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, thing: T) -> int:
        number = self._numbers.get(thing)
        if number is None:
            number = self._numbers[thing] = len(self.things)
            self.things.append(thing)
        return number


class Facts(NamedTuple):
    """What the columns hold of one service."""

    shape: Shape
    source: str
    speed: Speed
    slowed: bool
    usage: float
    changed: int
    counted_to: int


def facts_of(view: ServiceView, first_speeds: Mapping[str, Speed]) -> Facts:
    """`first_speeds`: of each plan's first profile."""
    first, shares = ORIGINAL, [-1.0]
    for each in view.plans:
        first = first.least(first_speeds[each.plan])
        if each.quota_bytes is not None:
            shares.append(each.usage_bytes / each.quota_bytes if each.quota_bytes else float(each.usage_bytes > 0))
    return Facts(
        tuple((each.plan, each.profile) for each in view.plans),
        view.source,
        view.speed,
        view.speed.least(first) != first,
        max(shares),
        max((each.entered_at for each in view.plans), default=-1),
        -1 if view.current is None else view.current.end,
    )


class Staged(NamedTuple):
    """A page of services as it is to be in the columns."""

    number: int
    names: Sequence[str]
    """Empty for a row in no use."""
    labels: Mapping[int, Mapping[str, str]]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a step has changed."""

    services: frozenset[str] | None
    """None: too many to name."""


MOST_NAMED = 200


class Columns:
    """Nothing in here waits: whoever looks between two calls sees whole checkpoints only."""

    def __init__(self) -> None:
        self.shapes: Codes[Shape] = Codes()
        self.sources: Codes[str] = Codes()
        self.speeds: Codes[Speed] = Codes()
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
        columns = {name: np.full(PAGE_ROWS, -1, dtype) for name, dtype in COLUMNS.items()}
        columns["slowed"][:] = False
        services = decoded.services
        for row, name in enumerate(decoded.names):
            if not name:
                continue
            tables = services.combinations[services.combination[row]]
            first_speeds = {table.plan.name: table.plan.profiles[0].speed for table in tables}
            view = decoded.view(row)
            facts = facts_of(view, first_speeds)
            columns["shape"][row] = self.shapes.number(facts.shape)
            columns["source"][row] = self.sources.number(facts.source)
            columns["speed"][row] = self.speeds.number(facts.speed)
            columns["slowed"][row] = facts.slowed
            columns["usage"][row] = facts.usage
            columns["changed"][row] = facts.changed
            columns["counted_to"][row] = facts.counted_to
            columns["incarnation"][row] = view.incarnation
            columns["revision"][row] = view.revision
        return Staged(decoded.number, decoded.names, dict(services.labels), columns)

    def apply(self, partition: int, staged: Sequence[Staged]) -> Changed:
        """Pages of a partition, instead of what they were."""
        changed: set[str] = set()
        moved: list[tuple[int, str]] = []
        for page in staged:
            first = self._place(partition, page.number) * PAGE_ROWS
            differs = np.zeros(PAGE_ROWS, np.bool_)
            for name, values in page.columns.items():
                column = getattr(self, name)
                differs |= column[first : first + PAGE_ROWS] != values
                column[first : first + PAGE_ROWS] = values
            former = self.names.texts(first, first + PAGE_ROWS)
            names = [*page.names, *[""] * (PAGE_ROWS - len(page.names))]
            for row in np.flatnonzero(differs).tolist() if len(changed) <= MOST_NAMED else ():
                changed.add(names[row] or former[row])
            for row, (before, name) in enumerate(zip(former, names, strict=True)):
                if before != name:
                    self.names.put(first + row, "")
                    moved.append((first + row, name))
                    changed |= {before, name}
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
        self.apply(partition, [Staged(number, (), {}, empty) for number in numbers])

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
        counts = np.bincount(self.shape[self.in_use()], minlength=len(self.shapes.things)).tolist()
        found: dict[tuple[str, str], int] = {}
        for shape, count in zip(self.shapes.things, counts, strict=True):
            for each in shape if count else ():
                found[each] = found.get(each, 0) + count
        return found

    def counted(self) -> Iterator[tuple[str, int, int | None]]:
        """(source, its services, up to where the one that is furthest behind is counted)."""
        rows = self.in_use()
        sources, ends = self.source[rows], self.counted_to[rows]
        has_plans = np.array([bool(shape) for shape in self.shapes.things], np.bool_)[self.shape[rows]]
        counts = (ends >= 0) & has_plans  # without plans nothing is read any more: its end stays where it is
        for number in np.unique(sources).tolist():
            own = sources == number
            reached = ends[own & counts]
            yield self.sources.things[number], int(own.sum()), int(reached.min()) if len(reached) else None
