"""A log as one owner reaches it: each of its calls can be counted, killed, refused, left unanswered or torn.

point        2k         2k+1
call      ---|--effect--|--->        before its effect, and after it: done, but nobody has been told
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from stream.adapters.memory import MemoryLog
from stream.core.errors import Unavailable
from stream.ports import STATE, Clock, Fetch, Lease, Log, Message, Role

Kind: TypeAlias = Literal["killed", "refused", "unanswered", "frozen"]


@dataclass(frozen=True)
class Trouble:
    """At this point the owner is killed, is refused everything from then on, waits for an answer for ever, or stands
    still until `WatchedLog.thaw`."""

    kind: Kind
    at: int


@dataclass(frozen=True)
class Torn:
    """Of the checkpoint with this number (from 0) only so many records are written, then the owner is killed."""

    checkpoint: int
    records: int


RELEASED = "released"


class Entry(NamedTuple):
    """What one append or write stored; or, under RELEASED, one message whose key is the offset that was released."""

    at: int
    topic: str
    messages: tuple[Message, ...]


class JournalledLog(MemoryLog):
    """A memory log that remembers what was stored when and where, over all topics, in order."""

    def __init__(self, clock: Clock, *, partitions: int = 1) -> None:
        super().__init__(clock, partitions=partitions)
        self.journal: list[Entry] = []

    def _store(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        super()._store(topic, partition, messages)
        self.journal.append(Entry(self._clock.now(), topic, tuple(messages)))

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        super().release(topic, partition, before_offset)
        self.journal.append(Entry(self._clock.now(), RELEASED, (Message(b"%d" % before_offset, None),)))


class WatchedLog:
    """The log of one owner.  `points` is how many points it has passed, `checkpoints` how many it has begun."""

    def __init__(self, log: Log, trouble: Trouble | Torn | None = None) -> None:
        self.points = 0
        self.checkpoints = 0
        self.halted = asyncio.Event()
        """The process is to die now, or stands still."""
        self.thaw = asyncio.Event()
        self._log, self._trouble = log, trouble
        self.gone = False

    @property
    def partitions(self) -> int:
        return self._log.partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        await self.point()
        end = await self._log.append(topic, partition, messages)
        await self.point()
        return end

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        await self.point()
        return await self._log.bounds(topic, partition)

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(self._log.read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for fetch in fetches:
                await self.point()
                yield fetch

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        await self.point()
        return await self._log.snapshot(topic, partition)

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[Lease]:
        await self.point()
        async with self._log.take_over(role, partition) as lease:
            await self.point()
            yield WatchedLease(self, lease)

    def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        return self._log.assignments(role)

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        self._log.release(topic, partition, before_offset)

    async def close(self) -> None:
        """It is the others' as well."""

    async def point(self) -> None:
        """What is to happen here happens."""
        if self.gone:
            raise Unavailable("the log does not accept anything")
        number, self.points = self.points, self.points + 1
        if isinstance(self._trouble, Trouble) and self._trouble.at == number:
            match self._trouble.kind:
                case "killed":
                    await self.die()
                case "refused":
                    self.gone = True
                    raise Unavailable("the log does not accept anything")
                case "unanswered":
                    await asyncio.Event().wait()
                case "frozen":
                    self.halted.set()
                    await self.thaw.wait()

    async def die(self) -> None:
        """Nothing of this owner reaches the log any more."""
        self.gone = True
        self.halted.set()
        await asyncio.Event().wait()

    def torn(self, topic: str, messages: Sequence[Message]) -> Sequence[Message] | None:
        """The part of a write that is to survive, or None: all of it."""
        if topic != STATE:
            return None
        number, self.checkpoints = self.checkpoints, self.checkpoints + 1
        match self._trouble:
            case Torn(checkpoint, records) if checkpoint == number:
                return messages[:records]
        return None


class WatchedLease:
    def __init__(self, log: WatchedLog, lease: Lease) -> None:
        self._log, self._lease = log, lease

    @property
    def partition(self) -> int:
        return self._lease.partition

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        await self._log.point()
        return await self._lease.snapshot(topic)

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        await self._log.point()
        left = self._log.torn(topic, messages)
        if left is not None:
            await self._lease.write(topic, left)
            await self._log.die()
        await self._lease.write(topic, messages)
        await self._log.point()
