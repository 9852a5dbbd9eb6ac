"""Which rows the names of a batch are, in rounds of groups that can be counted in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream.core.columns import Rows, as_rows, chosen
from stream.core.ladders import LadderTable
from stream.core.model import Names
from stream.core.services import Services
from stream.core.window import Int64s


class Part(NamedTuple):
    """Rows of one plan's table."""

    table: LadderTable
    rows: Rows


@dataclass(frozen=True, slots=True)
class Group:
    """Elements of a batch whose services differ and have the same plans."""

    places: Rows
    """In the batch."""
    rows: Rows
    parts: tuple[Part, ...]
    """In the order of the services' plans."""

    def __len__(self) -> int:
        return self.rows.stop - self.rows.start if isinstance(self.rows, slice) else len(self.rows)

    def only(self, places: Int64s) -> Group:
        """Those that stand at `places` of this group."""
        parts = tuple(Part(table, as_rows(chosen(rows, places))) for table, rows in self.parts)
        return Group(as_rows(chosen(self.places, places)), as_rows(chosen(self.rows, places)), parts)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the names of a batch mean, as long as the tables are of this epoch."""

    epoch: object
    unknown: Int64s
    """Places of names that have no row."""
    rounds: tuple[tuple[Group, ...], ...]
    """Each round has a service at most once; rounds act in order."""


def resolve(services: Services, names: Names | Sequence[str]) -> Resolved:
    """Remembered on `Names`, so that a poll's names are looked up once."""
    if not isinstance(names, Names):
        return _resolve(services, names)
    if not isinstance(names.resolved, Resolved) or names.resolved.epoch is not services.epoch:
        names.resolved = _resolve(services, names.strings())
    return names.resolved


def _resolve(services: Services, names: Sequence[str]) -> Resolved:
    rows = services.names.rows(names)
    unknown = np.flatnonzero(rows < 0)
    known = np.flatnonzero(rows >= 0) if len(unknown) else np.arange(len(rows))
    rounds = tuple(_groups(services, places, rows[places]) for places in _rounds(rows, known))
    return Resolved(services.epoch, unknown, rounds)


def _rounds(rows: Int64s, places: Int64s) -> list[Int64s]:
    """Places, so divided that no row stands twice in one division, and the first of a row in the first."""
    order = np.argsort(rows[places], kind="stable")
    ordered = rows[places][order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    turn = np.arange(len(ordered)) - np.repeat(first, np.diff(first, append=len(ordered)))
    turns = np.empty(len(ordered), np.int64)
    turns[order] = turn
    if not len(turns) or not turns.any():
        return [places] if len(places) else []
    by_turn = np.argsort(turns, kind="stable")
    return [places[each] for each in np.split(by_turn, np.flatnonzero(np.diff(turns[by_turn])) + 1)]


def _groups(services: Services, places: Int64s, rows: Int64s) -> tuple[Group, ...]:
    combinations = services.combination[rows]
    numbers = [int(combinations[0])] if (combinations == combinations[0]).all() else np.unique(combinations).tolist()
    groups = []
    for number in numbers:
        chosen_ones = slice(None) if len(numbers) == 1 else np.flatnonzero(combinations == number)
        own = rows[chosen_ones]
        tables = services.combinations[number]
        parts = (Part(table, _ladder_rows(services, place, own)) for place, table in enumerate(tables))
        groups.append(Group(as_rows(places[chosen_ones]), as_rows(own), tuple(parts)))
    return tuple(groups)


def _ladder_rows(services: Services, place: int, rows: Int64s) -> Rows:
    return as_rows(services.ladder_rows[place][rows].astype(np.int64))
