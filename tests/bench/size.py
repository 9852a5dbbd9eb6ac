"""As partitions grow: resident memory a service (name and look-up included), and CPU per delta, which must stay flat.

All of it happens in one fresh process, and no names or numbers are kept there beside the partition's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from stream import wire
from stream.core.model import Record
from stream.core.tracker import Tracker
from stream.wire import Decoder
from tests.bench.engine import count
from tests.bench.measuring import Result, Stopwatch, alone, resident_bytes
from tests.bench.traffic import MIDNIGHT, POLL_MS, name_of, registered, shipped

SIZES = (10_000, 100_000, 1_000_000)
BATCH = wire.MAX_BATCH_SERVICES
FETCH = 2 * BATCH
WARM_UP = 2
"""Polls in which names are met for the first time, and the first slice begins."""
ROUNDS = 6
"""In each of them every partition is polled, the smaller ones several times."""
MOST_POLLS = 10


def run() -> Iterator[Result]:
    yield from alone(measure, SIZES)


class Partition:
    """Services that are polled every minute; the records are made anew each time, a few at a time."""

    def __init__(self, services: int) -> None:
        self.services = services
        self.polls = 0
        self.tracker: Tracker = registered(map(name_of, range(services)), shipped("vpn"))
        self.decoder = Decoder()

    def poll(self) -> float:
        """CPU seconds per delta."""
        self.polls += 1
        counting = Stopwatch()
        for first in range(0, self.services, FETCH):
            records = list(self._records(first, min(first + FETCH, self.services)))
            with counting.running():
                count(self.decoder, self.tracker, records)
        return counting.cpu_s / self.services

    def _records(self, first: int, end: int) -> Iterator[Record]:
        now = MIDNIGHT + self.polls * POLL_MS
        for start in range(first, end, BATCH):
            places = range(start, min(start + BATCH, end))
            totals = (self.polls * (1_000_000 + np.arange(places.start, places.stop) % 999_983)).tolist()
            offset = self.polls * self.services + start
            for message in wire.encode_batches("vm1", MIDNIGHT, now, list(map(name_of, places)), totals, totals):
                yield Record(offset, now, message.key, message.value)


def measure(sizes: tuple[int, ...]) -> list[Result]:
    warm_up(Partition(2 * BATCH))
    before, registering = resident_bytes(), Stopwatch()
    with registering.running():
        largest = Partition(max(sizes))
    warm_up(largest)
    bytes_each = (resident_bytes() - before) / largest.services
    partitions = [largest if size == largest.services else Partition(size) for size in sizes]
    for partition in partitions[:-1]:
        warm_up(partition)
    costs = each_cost(partitions)
    return [
        Result("size", f"memory, vpn, {largest.services:,} services", bytes_each, "bytes a service", target="<= 300"),
        Result("size", "registration", registering.cpu_s / largest.services * 1e6, "us a service"),
        *(
            Result("size", f"flatness, vpn, {partition.services:,} services", cost * 1e9, "ns a delta", *beside)
            for partition, cost, beside in zip(partitions, costs, _beside(costs), strict=True)
        ),
    ]


def warm_up(partition: Partition) -> None:
    for _ in range(WARM_UP):
        partition.poll()


def each_cost(partitions: Sequence[Partition]) -> list[float]:
    """CPU seconds per delta, partition by partition: the median of polls, side by side."""
    costs: list[list[float]] = [[] for _ in partitions]
    for _ in range(ROUNDS):
        for partition, found in zip(partitions, costs, strict=True):
            polls = min(MOST_POLLS, max(each.services for each in partitions) // partition.services)
            found += [partition.poll() for _ in range(polls)]
    return [median(found) for found in costs]


def _beside(costs: list[float]) -> Iterator[tuple[float | None, float | None, str]]:
    """Against the smallest partition."""
    for place, cost in enumerate(costs):
        yield (costs[0] * 1e9, cost / costs[0], "0.8 to 1.2") if place else (None, None, "")
