"""One VM: what it is called, which limits it had when, and exactly which bytes it sent and received.

A VM's bytes are never stored.  They follow from its key (or from what a test scripted), cut down by the limits that
were in force, so months of thousands of VMs cost nothing until somebody asks:

    step       |---------- k ----------|-------- k+1 ---------|
    eras       |  100 Mbit/s    |   10 Mbit/s                 ...
    segments   |----- a --------|- b --|---------- c ---------|     each: min(wanted pro rata, limit x length)
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.simulator.habits import HABITS, Direction, Int64s

State: TypeAlias = Literal["creating", "active", "stopped"]
Rate: TypeAlias = Callable[[int], tuple[int, int]]
"""Begin of a step in ms -> bit/s wanted in it, in and out."""

BYTES_PER_MS_AND_MBITPS = 125


class Change(NamedTuple):
    """A change of limits or state; what it does not name stays as it was.  A limit of None is "no limit"."""

    at: int
    values: Mapping[str, int | str | None]
    """Any of net_in_mbitps, net_out_mbitps, state."""
    by: str


class Era(NamedTuple):
    """What holds from `since` on, up to the next one.  Mbit/s; None is "no limit"."""

    since: int
    state: str
    in_mbitps: int | None
    out_mbitps: int | None


class Segment(NamedTuple):
    """Bytes of one direction in `[start, end)`, evenly spread; lies in one step and one era."""

    start: int
    end: int
    bytes: int


def share(bytes_: int, length: int, begin: int, end: int) -> int:
    """The part of `bytes_`, spread over `[0, length)`, that lies in `[begin, end)`: parts add up exactly."""
    return bytes_ * end // length - bytes_ * begin // length


@dataclass(slots=True, eq=False)
class Machine:
    """A VM's whole life.  Two lives under the same id are two machines with different serials."""

    id: int
    serial: int
    key: int
    step_ms: int
    created: int
    name: str
    habit: str
    account: str
    node: str
    cluster: str
    tags: tuple[str, ...] = ()
    comment: str = ""
    disabled: bool = False
    deleted: int | None = None
    changes: list[Change] = field(default_factory=list)
    scripted: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Step -> bytes wanted, in and out, instead of the habit's."""
    rate: Rate | None = None
    """Wanted instead of the habit's, where nothing is scripted."""
    _eras: list[Era] = field(default_factory=list)

    # ------------------------------------------------------------ limits and state

    def change(self, change: Change) -> None:
        insort(self.changes, change, key=lambda one: one.at)
        self._eras = []

    @property
    def eras(self) -> list[Era]:
        """In order of time, the first from the creation on."""
        if not self._eras:
            values: dict[str, int | str | None] = {"state": "creating", "net_in_mbitps": None, "net_out_mbitps": None}
            for change in self.changes:
                values |= change.values
                limits = values["net_in_mbitps"], values["net_out_mbitps"]
                self._eras.append(Era(change.at, str(values["state"]), *(_whole(limit) for limit in limits)))
        return self._eras

    def era(self, at: int) -> Era:
        """What held at that instant (before the creation: what held first)."""
        return self.eras[max(0, self._era_index(at))]

    def _era_index(self, at: int) -> int:
        eras = self.eras
        return len(eras) - 1 if eras[-1].since <= at else bisect_right(eras, at, key=lambda era: era.since) - 1

    def _lived(self, start: int, end: int) -> Iterator[tuple[int, int, Era]]:
        """The parts of `[start, end)` in which the VM existed, era by era."""
        start = max(start, self.created)
        end = end if self.deleted is None else min(end, self.deleted)
        eras = self.eras
        for index in range(max(0, self._era_index(start)), len(eras)):
            begin = max(start, eras[index].since)
            until = end if index + 1 == len(eras) else min(end, eras[index + 1].since)
            if begin >= end:
                return
            if begin < until:
                yield begin, until, eras[index]

    # ------------------------------------------------------------ traffic

    def _wanted(self, direction: Direction, first: int, last: int) -> Int64s:
        side = 0 if direction == "in" else 1
        rate = self.rate
        if rate is None:
            wanted = HABITS[self.habit].wanted_bytes(self.key, direction, first, last, self.step_ms)
        else:
            steps = range(first, last)
            bytes_ = (rate(step * self.step_ms)[side] * self.step_ms // 8000 for step in steps)
            wanted = np.fromiter(bytes_, np.int64, max(0, last - first))
        if self.scripted:
            for step in range(first, last) if last - first < len(self.scripted) else list(self.scripted):
                if first <= step < last and step in self.scripted:
                    wanted[step - first] = self.scripted[step][side]
        return wanted

    def segments(self, direction: Direction, step: int, wanted: int | None = None) -> list[Segment]:
        """The bytes of one step, cut where the limits or the state changed; nothing while it was not active."""
        begin = step * self.step_ms
        if wanted is None:
            wanted = int(self._wanted(direction, step, step + 1)[0])
        found = []
        for start, end, era in self._lived(begin, begin + self.step_ms):
            if era.state == "active":
                bytes_ = share(wanted, self.step_ms, start - begin, end - begin)
                limit = era.in_mbitps if direction == "in" else era.out_mbitps
                if limit is not None:
                    bytes_ = min(bytes_, limit * BYTES_PER_MS_AND_MBITPS * (end - start))
                found.append(Segment(start, end, bytes_))
        return found

    def steps(self, direction: Direction, first: int, last: int) -> Int64s:
        """Bytes in each of the steps `[first, last)`."""
        wanted = self._wanted(direction, first, last)
        done = np.zeros_like(wanted)
        cut: set[int] = set()
        for start, end, era in self._lived(first * self.step_ms, last * self.step_ms):
            whole_from, whole_to = -(-start // self.step_ms), end // self.step_ms
            cut |= {edge // self.step_ms for edge in (start, end) if edge % self.step_ms}
            if era.state == "active" and whole_from < whole_to:
                part = slice(whole_from - first, whole_to - first)
                limit = era.in_mbitps if direction == "in" else era.out_mbitps
                cap = np.iinfo(np.int64).max if limit is None else limit * BYTES_PER_MS_AND_MBITPS * self.step_ms
                np.minimum(wanted[part], cap, out=done[part])
        for step in cut:
            done[step - first] = sum(one.bytes for one in self.segments(direction, step, int(wanted[step - first])))
        return done

    def recorded(self, first: int, last: int, *, stopped_too: bool) -> NDArray[np.bool_]:
        """Which of the steps `[first, last)` the platform has a point for: those with a moment of activity."""
        marks = np.zeros(max(0, last - first), np.bool_)
        for start, end, era in self._lived(first * self.step_ms, last * self.step_ms):
            if era.state == "active" or (stopped_too and era.state == "stopped"):
                marks[start // self.step_ms - first : -(-end // self.step_ms) - first] = True
        return marks

    def bytes_between(self, direction: Direction, start: int, end: int) -> int:
        """Ground truth: the bytes in `[start, end)`, for any two instants; parts add up exactly."""
        if start >= end:
            return 0
        whole_from, whole_to = -(-start // self.step_ms), end // self.step_ms
        total = int(self.steps(direction, whole_from, whole_to).sum()) if whole_from < whole_to else 0
        for step in {edge // self.step_ms for edge in (start, end) if edge % self.step_ms}:
            for one in self.segments(direction, step):
                begin, until = max(start, one.start), min(end, one.end)
                if begin < until:
                    total += share(one.bytes, one.end - one.start, begin - one.start, until - one.start)
        return total


def _whole(value: int | str | None) -> int | None:
    return None if value is None else int(value)
