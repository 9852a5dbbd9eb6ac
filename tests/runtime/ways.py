"""One log, worked off in different ways: by how many processes, in which pieces, with what trouble."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import groupby, islice, zip_longest
from random import Random
from typing import NamedTuple

from stream import wire
from stream.cli.base import json_line
from stream.cli.reading import plain, services_of
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Clock, Fetch, Log, Message, Role
from stream.runtime.checkpoint import load, load_plans
from stream.runtime.partition import TrackerSettings, own
from stream.runtime.worker import work
from tests.adapters.world import read_all
from tests.runtime.drawn import Entry
from tests.runtime.lives import Punctual, Unseen
from tests.runtime.watched import Kind, Torn, Trouble, WatchedLog

KINDS: Sequence[Kind] = ("killed", "refused", "unanswered", "frozen")
PAUSE_S = 2.0
"""The longest time between two pieces of a fetch, and between two acts upon the processes."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a log is worked off."""

    settings: TrackerSettings = field(default_factory=TrackerSettings)
    most: int | None = None
    """Records in a fetch, which comes at a time of its own; None: as the log gives them, all at once."""
    workers: int = 1
    """With more than one, partitions move among them all the time."""
    interrupted: bool = False
    """Every process comes to grief soon, one way or another."""


# ---------------------------------------------------------------- the log


class Replay:
    """A clock that can be set, and then goes on from there."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._ahead_ms = clock, 0

    def now(self) -> int:
        return self._clock.now() + self._ahead_ms

    def set(self, at_ms: int) -> None:
        self._ahead_ms = at_ms - self._clock.now()


async def fill(log: Log, clock: Replay, history: Sequence[Sequence[Entry]]) -> None:
    """The same records at the same offsets, appended at the same times."""
    for partition, entries in enumerate(history):
        for at_ms, together in groupby(entries, key=lambda entry: entry.at_ms):
            clock.set(at_ms)
            await log.append(DELTAS, partition, [entry.message for entry in together])


# ---------------------------------------------------------------- processes


class Process(WatchedLog):
    """One process: a worker, and the log as it reaches it, in pieces, until its trouble comes."""

    def __init__(self, log: Log, way: Way, random: Random, trouble: Trouble | Torn | None, served: set[int]) -> None:
        super().__init__(log, trouble)
        self.trouble, self.served = trouble, served
        self._way, self._random = way, random
        self._told: asyncio.Queue[frozenset[int]] = asyncio.Queue()
        self._stop = asyncio.Event()
        self.tell()

    def tell(self) -> None:
        """Which partitions it is to serve has changed."""
        self._told.put_nowait(frozenset(self.served))

    def end(self) -> None:
        """In order; one that stood still wakes up for it, and may find that others have taken over."""
        self._stop.set()
        self.thaw.set()

    async def run(self, ends: Mapping[int, int]) -> None:
        async def serve(partition: int, ended: asyncio.Event) -> None:
            end = ends[partition]
            await own(
                self, partition, settings=self._way.settings, clock=Punctual(), observer=Unseen(), stop=ended, until=end
            )
            await ended.wait()  # more may come to it

        await work("tracker", self, serve, self._stop, self._random)

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        while True:
            yield await self._told.get()

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(super().read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for rest, next_offset in fetches:
                while self._way.most is not None and len(rest) > 1:
                    await asyncio.sleep(self._random.uniform(0, PAUSE_S))
                    await self.point()
                    count = self._random.randint(1, self._way.most)
                    piece, rest = rest[:count], rest[count:]
                    yield Fetch(piece, piece[-1].offset + 1)
                yield Fetch(rest, next_offset)

    async def point(self) -> None:
        if self.halted.is_set() and not self.gone:
            await self.thaw.wait()  # all of it stands still, not only the call that met the trouble
        await super().point()

    @property
    def fate(self) -> str | None:
        """What has happened to it."""
        match self.trouble:
            case Trouble(kind, at) if at < self.points:
                return kind
            case Torn(checkpoint, _) if checkpoint < self.checkpoints:
                return "torn"
        return None

    @property
    def recovered(self) -> bool:
        """It got no answer, and has gone on for a while since."""
        return isinstance(self.trouble, Trouble) and self.points > self.trouble.at + 40


class Run:
    """Processes that share the partitions until all that the log holds is worked off."""

    def __init__(self, log: Log, way: Way, random: Random) -> None:
        self._log, self._way, self._random = log, way, random
        self._processes: list[Process] = []
        self._frozen: list[Process] = []
        self._tasks: dict[Process, asyncio.Task[None]] = {}
        self._moves = 0

    async def __call__(self) -> None:
        self._ends = {number: (await self._log.bounds(DELTAS, number))[1] for number in range(self._log.partitions)}
        served = self._shared_out()
        self._processes = [self._begin(some) for some in served]
        while await self._behind():
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))
            self._processes = [self._replaced(process) for process in self._processes]
            self._wake()
            if self._way.workers > 1 and self._random.random() < 0.3:
                self._move()
        await self._end()

    @property
    def happened(self) -> Counter[str]:
        """What became of processes, and moves of partitions."""
        return Counter(process.fate for process in self._tasks if process.fate) + Counter(moved=self._moves)

    def _shared_out(self) -> list[set[int]]:
        shares: list[set[int]] = [set() for _ in range(self._way.workers)]
        for partition in self._ends:
            self._random.choice(shares).add(partition)
        return shares

    async def _behind(self) -> bool:
        return any([(await load_plans(self._log, number)).next_offset < end for number, end in self._ends.items()])

    def _begin(self, served: set[int]) -> Process:
        process = Process(self._log, self._way, self._random, self._trouble(), served)
        self._tasks[process] = asyncio.create_task(process.run(self._ends))
        return process

    def _trouble(self) -> Trouble | Torn | None:
        if not self._way.interrupted:
            return None
        if self._random.random() < 0.3:
            return Torn(self._random.randrange(6), self._random.randrange(8))
        return Trouble(self._random.choice(KINDS), self._random.randrange(40))

    def _replaced(self, process: Process) -> Process:
        """Itself, or, if it is dead, stands still or had its trouble long ago, the next one in its place."""
        if self._tasks[process].done():
            self._tasks[process].result()  # it cannot go on: that is what is wrong
        if process.gone or process.recovered:
            process.gone = True
            self._tasks[process].cancel()
        elif process.halted.is_set():
            self._frozen.append(process)
        else:
            return process
        return self._begin(process.served)

    def _wake(self) -> None:
        """One that stood still while others did its work."""
        if self._frozen and self._random.random() < 0.3:
            self._frozen.pop(self._random.randrange(len(self._frozen))).end()

    def _move(self) -> None:
        """One partition, to another worker, which does not wait for the former to end."""
        giver = self._random.choice([process for process in self._processes if process.served])
        taker = self._random.choice([process for process in self._processes if process is not giver])
        partition = self._random.choice(sorted(giver.served))
        giver.served.remove(partition)
        taker.served.add(partition)
        giver.tell()
        taker.tell()
        self._moves += 1

    async def _end(self) -> None:
        """A last owner shows what is durable and was not shown by those who died."""
        for process in self._tasks:
            process.end()
        for result in await asyncio.gather(*self._tasks.values(), return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), repr(result)
        for partition, end in self._ends.items():
            settings = self._way.settings
            await own(
                self._log,
                partition,
                settings=settings,
                clock=Punctual(),
                observer=Unseen(),
                stop=asyncio.Event(),
                until=end,
            )


# ---------------------------------------------------------------- what came of it


class Result(NamedTuple):
    """All that can be told of a log that was worked off, in words that do not depend on how it was stored.

    Not in it: pages, slots, rows and checkpoint numbers, which are how it was stored.  An incarnation is in it: it is
    an offset, and the same for the same log.
    """

    changes: list[list[Message]]
    """By partition, in order: each decision and warning as it was first shown."""
    dead_letters: list[list[Message]]
    services: list[str]
    """As `service list --json` prints them."""
    rest: list[object]
    """By partition: offset, plans and watermarks."""


def differing(one: Result, other: Result) -> Iterator[tuple[str, int, object, object]]:
    """Where they are not the same: (what, partition, the first of one, the first of the other)."""
    for what in ("changes", "dead_letters"):
        for partition, both in enumerate(zip(getattr(one, what), getattr(other, what), strict=True)):
            yield from _first(what, partition, *both)
    yield from _first("services", 0, one.services, other.services)
    yield from _first("rest", 0, one.rest, other.rest)


def _first(
    what: str, partition: int, one: Sequence[object], other: Sequence[object]
) -> Iterator[tuple[str, int, object, object]]:
    pairs = zip_longest(one, other)
    yield from islice(((what, partition, *pair) for pair in pairs if pair[0] != pair[1]), 1)


async def result_of(log: Log) -> Result:
    def partition_of(service: str) -> int:
        return wire.partition_of(service, log.partitions)

    trackers = [await load(log, number, partition_of) for number in range(log.partitions)]
    rest: list[object] = [
        (each.next_offset, each.plans_version, {name: plan.to_json() for name, plan in each.plans.items()}, each.marks)
        for each in trackers
    ]
    changes = [await _said(log, CHANGES, number) for number in range(log.partitions)]
    letters = [await _said(log, DEAD_LETTERS, number) for number in range(log.partitions)]
    views = sorted([view async for view, _ in services_of(log)], key=lambda view: view.service)
    return Result(changes, letters, [json_line(plain(view)) for view in views], rest)


async def _said(log: Log, topic: str, partition: int) -> list[Message]:
    """What a crash made say twice is here once, at its first place."""
    return list(dict.fromkeys(Message(*record[2:]) for record in await read_all(log, topic, partition)))
