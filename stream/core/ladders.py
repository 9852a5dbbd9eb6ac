"""The table of one plan (and one anchor day): a row for each service that has it, column by column.

What few rows have (credits, rests, late numbers) lies beside the columns, by row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import FreeList, grown, room_for
from stream.core.ladder import LONG_AGO, MOST_IN_WINDOW, NEVER, NO_HEAD, Credit, Ladder, Pin
from stream.core.plan import Plan
from stream.core.window import Int64s

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
        rare = self.rare.get(row)
        ladder = Ladder(
            self.plan,
            self.slicer,
            quota,
            self.entered_at.item(row),
            self.profile.item(row),
            self.entered_as_of_before.item(row),
            clip=self.clip.item(row),
            slices=self.ring[:, row].tolist(),
            head=self.head.item(row),
            warned=self.warned.item(row),
        )
        next_due = self.next_due.item(row)
        ladder.next_up = None if next_due == NEVER else next_due
        if rare is not None:
            ladder.since, ladder.credits = rare.since, list(rare.credits)
            ladder.exempt_until, ladder.pin = rare.exempt_until, rare.pin
            ladder.late, ladder.clipped, ladder.base = rare.late, rare.clipped, rare.base
            if ladder.adjusted:
                ladder.next_up = rare.next_up
        return ladder

    def store(self, row: int, ladder: Ladder) -> None:
        due = ladder.next_due()
        self.ring[:, row] = ladder.slices
        self.total[row] = sum(ladder.slices)
        self.head[row] = ladder.head
        self.entered_at[row] = ladder.entered_at
        self.next_due[row] = NEVER if due is None else due
        self.harmless[row] = ladder.harmless_below()
        self.clip[row] = ladder.clip
        self.profile[row] = ladder.profile
        self.entered_as_of_before[row] = ladder.entered_as_of_before
        self.warned[row] = ladder.warned
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


assert LONG_AGO == NO_HEAD
assert MOST_IN_WINDOW < 1 << 62, "a sum and one more amount fit into 64 bits"
