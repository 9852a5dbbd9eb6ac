"""An installation in small: trackers that count by hand, a log, and a replica that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from stream import wire
from stream.core.model import Record as Read
from stream.core.tracker import Tracker
from stream.core.view import ServiceView
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Log, Message
from stream.replica.replica import Replica
from stream.replica.settings import ReplicaSettings
from stream.runtime.checkpoint import State

NOW = 1_770_000_000_000


class Fixed:
    """A clock that stands where it is put."""

    def __init__(self, at: int = NOW) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


def names(partition: int, partitions: int, count: int, platform: str = "vm1") -> list[str]:
    """The first services of a platform that belong to a partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        name = f"{platform}/{number}"
        if wire.partition_of(name, partitions) == partition:
            found.append(name)
    return found


class Counting:
    """The tracker of one partition, each step by hand."""

    def __init__(self, log: Log, partition: int = 0) -> None:
        self.log, self.partition = log, partition

        def owner(service: str) -> int:
            return 1 << 20 if service.startswith("elsewhere/") else partition

        self.state = State(Tracker(partition, owner), log.partitions)
        self.decoder = wire.Decoder()
        self.outcomes: list[Message] = []
        self.letters: list[Message] = []
        self.offset = 0

    @property
    def tracker(self) -> Tracker:
        return self.state.tracker

    def count(self, values: Sequence[Any], at: int = NOW) -> None:
        """Records of traffic.deltas."""
        records = [
            Read(self.offset + place, at, None, value if isinstance(value, bytes) else orjson.dumps(value))
            for place, value in enumerate(values)
        ]
        self.take(records)

    def take(self, records: Sequence[Read]) -> None:
        if not records:
            return
        self.offset = records[-1].offset + 1
        self.tracker.apply(self.decoder.decode(records), self.offset)
        drained = self.tracker.drain()
        self.outcomes += [wire.encode_outcome(outcome) for outcome in drained.outcomes]
        self.letters += [wire.encode_dead_letter(DELTAS, self.partition, letter) for letter in drained.dead_letters]

    def staged(self) -> list[Message]:
        """The records of a checkpoint."""
        return list(self.state.stage(self.outcomes))

    async def checkpoint(self, *, few: int = 1000) -> None:
        """All of it, a few records at a time; then what it decided is shown."""
        if self.letters:
            await self.log.append(DEAD_LETTERS, self.partition, self.letters)
        records = self.staged()
        for first in range(0, len(records), few):
            await self.log.append(STATE, self.partition, records[first : first + few])
        self.state.staged_is_durable()
        if self.outcomes:
            await self.log.append(CHANGES, self.partition, self.outcomes)
            self.state.published(len(self.outcomes))
        self.outcomes, self.letters = [], []

    def views(self) -> dict[str, ServiceView]:
        return {name: view for name in self.tracker.names() if (view := self.tracker.service(name))}


@asynccontextmanager
async def following(
    log: Log, *, index: Path | None = None, clock: Any = None, settings: ReplicaSettings | None = None
) -> AsyncIterator[Replica]:
    """A replica that has caught up once."""
    replica = Replica(log, index=index, clock=clock or Fixed(), settings=settings or ReplicaSettings())
    stop = asyncio.Event()
    task = asyncio.create_task(replica.follow(stop))
    try:
        await caught_up(replica, task)
        yield replica
    finally:
        stop.set()
        await task


async def caught_up(replica: Replica, following: asyncio.Task[None] | None = None) -> None:
    """All of what is in the log now is read; whoever follows it must not fail meanwhile."""
    async with asyncio.timeout(20):
        reading = asyncio.create_task(replica.caught_up())
        await asyncio.wait({reading, *([following] if following else [])}, return_when=asyncio.FIRST_COMPLETED)
        if following is not None and following.done():
            reading.cancel()
            following.result()
        await reading


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None
