"""The job and its input, made from a fixed seed, and a tiny model that says which changes it must cause.

10,000 services; each round is a minute of event time with one delta of each.  A service that is over its quota in an
hour of six slices becomes slow, with an emptied window, and ten minutes later it is at full speed again, with an
emptied window.  One service in 14 has a quota of 10 to 40 average rounds, one in 28 of 50 to 70, where the sliding of
the window matters; the others are never over.  So about 0.45 % of the deltas cause a change: of 10,000 services polled
every minute each changes six or seven times a day.  Of a calm fleet a tenth as many do, and still there are a dozen
changes or more in a fetch of 4 MiB.  One delta in a thousand is sent twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from stream import wire
from stream.core.model import Message, Speed
from stream.core.plan import Plan, Profile, SlidingWindow, Up

Int64s: TypeAlias = NDArray[np.int64]
Change: TypeAlias = tuple[str, int]
"""(service, instant)."""

ROUND_MS = 60_000
SLICE_MS, SLICES = 600_000, 6
STAY_MS = 600_000
T0 = 1_764_547_200_000
"""An edge of slices, long ago: nothing is ahead of its append time."""
MEAN_BYTES = 60_000
TWICE = 0.001
PLAN = "bench"
BUSY, CALM = 14, 140


def plans() -> dict[str, Plan]:
    fast, slow = Speed(100_000_000, 100_000_000), Speed(10_000_000, 10_000_000)
    profiles = (
        Profile("full", fast, quota="service", down=1),
        Profile("slow", slow, stay=STAY_MS, up=Up((), 0)),
    )
    return {PLAN: Plan(PLAN, SlidingWindow(SLICE_MS, SLICES), profiles)}


class Round(NamedTuple):
    """One delta of each service over `[start, end)`; `twice` are the numbers of those that are repeated."""

    start: int
    end: int
    in_: Int64s
    out: Int64s
    twice: Int64s


@dataclass(frozen=True)
class Fleet:
    """Services by number, and what they do."""

    partitions: int
    services: int = 10_000
    often_over: int = BUSY
    """One service in so many is over its quota again and again, and half as many at times."""

    def names(self) -> list[str]:
        return [f"vm{number % 8 + 1}/{number}" for number in range(self.services)]

    def groups(self) -> list[list[int]]:
        """The numbers of the services of each partition."""
        groups: list[list[int]] = [[] for _ in range(self.partitions)]
        for number, name in enumerate(self.names()):
            groups[wire.partition_of(name, self.partitions)].append(number)
        return groups

    def quotas(self) -> Int64s:
        """In bytes."""
        random = np.random.default_rng(7)
        average_rounds = np.full(self.services, 500.0)
        some = random.permutation(self.services)
        heavy, edge = self.services // self.often_over, self.services // (2 * self.often_over)
        average_rounds[some[:heavy]] = random.uniform(10, 40, heavy)
        average_rounds[some[heavy : heavy + edge]] = random.uniform(50, 70, edge)
        return (average_rounds * MEAN_BYTES).astype(np.int64)

    def rounds(self, count: int) -> Iterator[Round]:
        random = np.random.default_rng(11)
        for number in range(count):
            in_ = random.integers(0, 2 * MEAN_BYTES * 3 // 4, self.services)
            out = random.integers(0, 2 * MEAN_BYTES // 4, self.services)
            twice = random.choice(self.services, int(self.services * TWICE), replace=False)
            yield Round(T0 + number * ROUND_MS, T0 + (number + 1) * ROUND_MS, in_, out, twice)

    def singles(self, rounds: int) -> int:
        """How many deltas there are as records of their own."""
        return rounds * (self.services + int(self.services * TWICE))

    def changes(self, rounds: int) -> Counter[Change]:
        """All that these rounds must cause: (service, instant)."""
        names, quotas = self.names(), self.quotas()
        ring = np.zeros((SLICES, self.services), np.int64)
        slow_until = np.zeros(self.services, np.int64)
        newest, found = 0, Counter[Change]()
        for _, end, in_, out, _ in self.rounds(rounds):
            number = (end - 1) // SLICE_MS
            for passed in range(max(newest + 1, number - SLICES + 1), number + 1):
                ring[passed % SLICES] = 0
            newest = number
            ring[number % SLICES] += in_ + out
            fast = slow_until == 0
            down = np.flatnonzero(fast & (ring.sum(0) > quotas))
            up = np.flatnonzero(~fast & (slow_until <= end))
            found.update((names[each], end) for each in down.tolist())
            found.update((names[each], int(slow_until[each])) for each in up.tolist())
            ring[:, down] = ring[:, up] = 0
            slow_until[down], slow_until[up] = end + STAY_MS, 0
        return found


# ---------------------------------------------------------------- as records


Placed: TypeAlias = tuple[int, Message]
"""(partition, record)."""


def introductions(fleet: Fleet) -> Iterator[Placed]:
    """What our tracker wants to know before the deltas: plans and registrations.  The peers pass over them."""
    for partition in range(fleet.partitions):
        yield partition, wire.encode_plans(1, plans())
    names, quotas = fleet.names(), fleet.quotas().tolist()
    for partition, group in enumerate(fleet.groups()):
        for number in group:
            yield partition, wire.encode_registration(names[number], [PLAN], quota=quotas[number], at=T0)


def as_singles(fleet: Fleet, rounds: int) -> Iterator[Placed]:
    """Records of other publishers: a key, a value, no headers."""
    names = fleet.names()
    keys = [name.encode() for name in names]
    partitions = [wire.partition_of(name, fleet.partitions) for name in names]
    for start, end, in_, out, twice in fleet.rounds(rounds):
        bytes_in, bytes_out = in_.tolist(), out.tolist()
        for number in [*range(fleet.services), *twice.tolist()]:
            value = {
                "service": names[number],
                "start": start,
                "end": end,
                "in": bytes_in[number],
                "out": bytes_out[number],
            }
            yield partitions[number], Message(keys[number], orjson.dumps(value))


def as_batches(fleet: Fleet, rounds: int) -> Iterator[Placed]:
    """Records of our collectors: one for each partition and round."""
    names = fleet.names()
    groups = [(np.array(group), [names[number] for number in group]) for group in fleet.groups()]
    for start, end, in_, out, _ in fleet.rounds(rounds):
        for partition, (numbers, own) in enumerate(groups):
            for message in wire.encode_batches("vm1", start, end, own, in_[numbers].tolist(), out[numbers].tolist()):
                yield partition, message


def quotas_by_name(fleet: Fleet) -> Mapping[str, int]:
    names: Sequence[str] = fleet.names()
    return dict(zip(names, fleet.quotas().tolist(), strict=True))
