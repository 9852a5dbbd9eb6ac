"""Traffic as publishers write it, and partitions that are ready to count it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream import wire
from stream.config.load import load
from stream.core.model import Message, Plans, Position, Record, Registration
from stream.core.plan import Plan
from stream.core.tracker import Tracker
from stream.core.window import HOUR_MS

Int64s: TypeAlias = NDArray[np.int64]

MIDNIGHT = 1_764_543_600_000
"""2025-12-01 in Berlin, and an edge of ten-minute slices."""
POLL_MS = 60_000
POLLS_A_SLICE = 10
OVER_BYTES = 1_200_000_000
"""More than the quota of any profile of the ladder."""
FETCH_BYTES = 4 * 1024 * 1024
"""The log hands records over in fetches of this size."""


def shipped(*names: str) -> dict[str, Plan]:
    """Plans of the shipped examples: `vpn`, `month`."""
    plans: dict[str, Plan] = {}
    for name in names:
        plans |= load(Path(str(files("stream").joinpath("examples", f"{name}.yaml")))).plans
    return {name: plans[name] for name in names}


def name_of(number: int) -> str:
    return f"vm1/{100_000 + number}"


def names_of(count: int) -> list[str]:
    return [name_of(number) for number in range(count)]


def registered(services: Iterable[str], plans: Mapping[str, Plan]) -> Tracker:
    """A partition in which these services stand in their first profiles and nothing is counted yet."""
    tracker = Tracker(0, lambda service: 0)
    tracker.apply([Plans(Position(0), 1, plans)], 1)
    for offset, service in enumerate(services, 1):
        tracker.apply([Registration(Position(offset), MIDNIGHT, service, "vm1", tuple(plans))], offset + 1)
        tracker.drain()
    return tracker


@dataclass(slots=True)
class Fleet:
    """Services whose totals grow from midnight on: about 2.5 MB a minute each, far below any quota."""

    services: Sequence[str]
    heavy: float = 0.0
    """The share of deltas that carry more than a whole quota."""
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    offset: int = 1_000_000
    now: int = MIDNIGHT
    in_: Int64s = field(init=False)
    out: Int64s = field(init=False)

    def __post_init__(self) -> None:
        self.in_, self.out = np.zeros((2, len(self.services)), np.int64)

    def poll(self) -> list[Record]:
        """What a collector publishes each minute: one interval, the same names in the same order."""
        self._grow()
        totals = self.in_.tolist(), self.out.tolist()
        return self.records(wire.encode_batches("vm1", MIDNIGHT, self.now, self.services, *totals))

    def scattered(self) -> list[Record]:
        """The same minute in the general case: each service has a start and an end of its own, one in twenty stands
        there twice, and the order is another one each time."""
        self._grow()
        count = len(self.services)
        starts = MIDNIGHT - np.arange(count) % 3_600_000
        ends = self.now - self.random.integers(0, POLL_MS // 2, count)
        twice = self.random.permutation(count)[: count // 20]
        order = self.random.permutation(count)
        places = np.concatenate([order, twice])
        ends_there = ends[places]
        ends_there[count:] = self.now
        names = [self.services[place] for place in places.tolist()]
        columns = (starts[places], ends_there, self.in_[places], self.out[places])
        first, last, in_, out = (column.tolist() for column in columns)
        return self.records(wire.encode_batches("vm1", first, last, names, in_, out))

    def singles(self) -> list[Record]:
        """The same minute as single deltas."""
        self._grow()
        rows = zip(self.services, self.in_.tolist(), self.out.tolist(), strict=True)
        return self.records([wire.encode_delta(name, MIDNIGHT, self.now, in_, out) for name, in_, out in rows])

    def records(self, messages: Sequence[Message]) -> list[Record]:
        first, self.offset = self.offset, self.offset + len(messages)
        return [Record(first + place, self.now, key, value) for place, (key, value, _) in enumerate(messages)]

    def _grow(self) -> None:
        self.now += POLL_MS
        count = len(self.services)
        self.in_ += self.random.integers(0, 4_000_000, count)
        self.out += self.random.integers(0, 1_000_000, count)
        if self.heavy:
            self.in_[self.random.random(count) < self.heavy] += OVER_BYTES


def fetches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records as the log hands them over."""
    fetch: list[Record] = []
    size = 0
    for record in records:
        fetch.append(record)
        size += len(record.value or b"")
        if size >= FETCH_BYTES:
            yield fetch
            fetch, size = [], 0
    if fetch:
        yield fetch


assert MIDNIGHT % HOUR_MS == 0
