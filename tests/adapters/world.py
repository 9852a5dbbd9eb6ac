"""Two users of one log, and words for what the contract does with it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from stream.ports import DELTAS, Fetch, Log, Message, Record

PARTITIONS = 3
DEADLINE_S = 30.0
DAY_MS = 86_400_000
START_MS = 1_764_543_600_000


class SettableClock:
    """A clock that stands where it was put."""

    def __init__(self, at: int = START_MS) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


class World(ABC):
    """A log of PARTITIONS partitions, empty at first, as two of its users see it."""

    log: Log
    other: Log
    """The same log, reached as another process would."""

    @abstractmethod
    async def expire(self, topic: str, partition: int, before_offset: int) -> None:
        """Have the log drop what lies before the offset for its age."""


class EmbeddedWorld(World):
    """A log of one machine, whose clock can be set."""

    def __init__(self, log: Log, other: Log, clock: SettableClock) -> None:
        self.log, self.other, self.clock = log, other, clock

    async def expire(self, topic: str, partition: int, before_offset: int) -> None:
        self.log.release(topic, partition, before_offset)
        self.clock.at += 500 * DAY_MS
        async with asyncio.timeout(DEADLINE_S):
            while (await self.log.bounds(topic, partition))[0] < before_offset:
                await self.log.append(DELTAS, PARTITIONS - 1, messages("the log sweeps as it is written"))


def messages(*values: str, key: str | None = "vm1/1") -> list[Message]:
    return [Message(key.encode() if key else None, value.encode()) for value in values]


def values(records: Sequence[Record]) -> list[str]:
    return [record.value.decode() for record in records if record.value is not None]


async def read(log: Log, topic: str, partition: int, offset: int, count: int) -> list[Record]:
    """The next `count` records or more."""
    found: list[Record] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(log.read(topic, partition, offset, wait_s=5)) as fetches:
        while len(found) < count:
            found += (await anext(fetches)).records
    return found


async def read_all(log: Log, topic: str, partition: int) -> list[Record]:
    """Everything that is there now."""
    fetches = await read_to(log, topic, partition, *await log.bounds(topic, partition))
    return [record for fetch in fetches for record in fetch.records]


async def read_to(log: Log, topic: str, partition: int, offset: int, end: int) -> list[Fetch]:
    """The fetches from an offset on that it takes to reach the end."""
    found: list[Fetch] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(log.read(topic, partition, offset, wait_s=0.2)) as fetches:
        while offset < end:
            found.append(await anext(fetches))
            offset = found[-1].next_offset
    return found


@asynccontextmanager
async def waiting_for(log: Log, topic: str, partition: int, offset: int) -> AsyncIterator[asyncio.Task[Fetch]]:
    """A reader that waits for the next fetch, and has been given the time to fall asleep over it."""
    async with aclosing(log.read(topic, partition, offset, wait_s=10 * DEADLINE_S)) as fetches:

        async def next_fetch() -> Fetch:
            return await anext(fetches)

        task = asyncio.create_task(next_fetch())
        await log.bounds(topic, partition)  # goes the way of every read, behind the reader's
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})
