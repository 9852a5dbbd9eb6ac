"""The table of one plan (and one anchor day): a row for each service that has it, column by column.

What few rows have (credits, rests, late numbers) lies beside the columns, by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import FreeList, grown, room_for
from stream.core.ladder import LONG_AGO, MOST_IN_WINDOW, NEVER, NO_HEAD, Credit, Ladder, Pin
from stream.core.plan import Plan
from stream.core.window import Flags, Int64s

COLUMNS: Final = {
    "ring": np.int64,
    "total": np.int64,
    "head": np.int64,
    "entered_at": np.int64,
    "next_due": np.int64,
    "harmless": np.int64,
    "clip": np.int64,
    "service": np.int32,
    "profile": np.int8,
    "entered_as_of_before": np.bool_,
    "warned": np.bool_,
}

_CELLS: Final = ("head", "entered_at", "next_due", "clip", "profile", "entered_as_of_before", "warned")
_STORED: Final = (*_CELLS, "total", "harmless")


@dataclass(slots=True)
class Rare:
    """What few ladders have."""

    since: int | None = None
    credits: list[Credit] = field(default_factory=list)
    exempt_until: int | None = None
    pin: Pin | None = None
    late: int = 0
    clipped: int = 0
    base: int = 0
    next_up: int | None = None
    """Kept here only where next_due may be something else: with credits or at rest."""

    @property
    def adjusted(self) -> bool:
        """Has credits, or is at rest."""
        return bool(self.credits) or self.pin is not None or self.exempt_until is not None

    def to_json(self) -> list[Any]:
        """Amounts as text: they know no bounds."""
        amounts = [str(self.late), str(self.clipped), str(self.base)]
        held, pin = [list(credit) for credit in self.credits], self.pin and list(self.pin)
        return [self.since, held, self.exempt_until, pin, *amounts, self.next_up]

    @classmethod
    def from_json(cls, value: list[Any]) -> Rare:
        since, credits_, exempt_until, pin, late, clipped, base, next_up = value
        held = [Credit(*credit) for credit in credits_]
        return cls(since, held, exempt_until, pin and Pin(*pin), int(late), int(clipped), int(base), next_up)


class Entry(NamedTuple):
    """What becomes of a row that enters a profile at an instant, or as of the millisecond before it."""

    row: int
    profile: int
    at: int
    as_of_before: bool
    next_due: int
    harmless: int


class LadderTable:
    """`total` is the ring's sum, `next_due` the next instant at which a row must be judged (NEVER: none), and up to the
    sum `harmless` a delta's end changes nothing: what the vector path looks at."""

    def __init__(self, plan: Plan, anchor_day: int | None) -> None:
        self.plan = plan
        self.anchor_day = anchor_day
        self.slicer = plan.slicer(anchor_day)
        self.rows = FreeList()
        self.rare: dict[int, Rare] = {}
        self._room = 0
        self.ring: Int64s = np.zeros((plan.slices, 0), np.int64)
        """Slice-major: the sum of the slice with ordinal o is in ring[o % N]."""
        for name, dtype in COLUMNS.items():
            if name != "ring":
                setattr(self, name, np.zeros(0, dtype))

    total: Int64s
    head: Int64s
    entered_at: Int64s
    next_due: Int64s
    harmless: Int64s
    clip: Int64s
    service: NDArray[np.int32]
    profile: NDArray[np.int8]
    entered_as_of_before: NDArray[np.bool_]
    warned: NDArray[np.bool_]

    def __len__(self) -> int:
        return self.rows.count - len(self.rows.free)

    def reserve(self, count: int) -> None:
        """Room for `count` rows."""
        room = room_for(count, self._room)
        if room > self._room:
            self._room = room
            for name in COLUMNS:
                setattr(self, name, grown(getattr(self, name), room))

    def add(self, service: int, ladder: Ladder) -> int:
        row = self.rows.take()
        self.reserve(row + 1)
        self.service[row] = service
        self.store(row, ladder)
        return row

    def remove(self, row: int) -> None:
        self.service[row] = -1
        self.next_due[row] = NEVER
        self.rare.pop(row, None)
        self.rows.give_back(row)

    def load(self, row: int, quota: int | None) -> Ladder:
        head, entered_at, next_due, clip, profile, entered_as_of_before, warned = (
            getattr(self, name).item(row) for name in _CELLS
        )
        ladder = Ladder(
            self.plan, self.slicer, quota, entered_at, profile, entered_as_of_before, None, clip,
            self.ring[:, row].tolist(), head, warned, None if next_due == NEVER else next_due,
        )  # fmt: skip
        rare = self.rare.get(row)
        if rare is not None:
            ladder.since, ladder.credits = rare.since, list(rare.credits)
            ladder.exempt_until, ladder.pin = rare.exempt_until, rare.pin
            ladder.late, ladder.clipped, ladder.base = rare.late, rare.clipped, rare.base
            if ladder.adjusted:
                ladder.next_up = rare.next_up
        return ladder

    def store(self, row: int, ladder: Ladder) -> None:
        self.ring[:, row] = ladder.slices
        for name, cell in zip(_STORED, _cells(ladder), strict=True):
            getattr(self, name)[row] = cell
        self._store_rare(row, ladder)

    def enter(self, entries: Sequence[Entry]) -> None:
        """Profiles that are entered with an emptied window, by rows without credits and rests."""
        if not entries:
            return
        rows, profile, at, as_of_before, next_due, harmless = np.array(entries, np.int64).T
        self.profile[rows], self.entered_at[rows], self.entered_as_of_before[rows] = profile, at, as_of_before
        self.next_due[rows], self.harmless[rows], self.warned[rows] = next_due, harmless, False
        self.ring[:, rows], self.total[rows], self.clip[rows] = 0, 0, at

    def adjusted(self, rows: Int64s) -> Flags:
        """Which of them have credits, or are at rest."""
        found = np.zeros(len(rows), np.bool_)
        if self.rare:
            found[:] = [row in self.rare and self.rare[row].adjusted for row in rows.tolist()]
        return found

    def _store_rare(self, row: int, ladder: Ladder) -> None:
        if ladder.since is None and not (ladder.adjusted or ladder.late or ladder.clipped or ladder.base):
            self.rare.pop(row, None)
            return
        self.rare[row] = Rare(
            ladder.since, ladder.credits, ladder.exempt_until, ladder.pin, ladder.late, ladder.clipped, ladder.base,
            ladder.next_up if ladder.adjusted else None,
        )  # fmt: skip

    def in_use(self) -> Int64s:
        """Rows that belong to a service."""
        return np.flatnonzero(self.service[: self.rows.count] >= 0)


def _cells(ladder: Ladder) -> tuple[int, ...]:
    """What _STORED holds of it."""
    return (
        ladder.head, ladder.entered_at, ladder.next_due(), ladder.clip, ladder.profile, ladder.entered_as_of_before,
        ladder.warned, sum(ladder.slices), ladder.harmless_below(),
    )  # fmt: skip


assert LONG_AGO == NO_HEAD
assert MOST_IN_WINDOW < 1 << 62, "a sum and one more amount fit into 64 bits"
