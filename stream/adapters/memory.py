"""A log in memory, behind the same port as the real ones: for tests, and for simulations.

Nothing here takes time, starts a thread or draws lots: the same program gives the same run.  A simulation that wants
a log at its worst overrides the three seams: `_delay` (before and after each effect: waiting, failing, crashing),
`_store` (what becomes of the records of one append or write) and `assignments` (who serves what).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from stream.adapters.admission import Stamps, check_messages, check_place
from stream.core.errors import Fenced, Truncated, Unavailable
from stream.ports import COMPACTED, DELTAS, RETENTION_MS, Clock, Fetch, Message, Record, Role

FETCH_BYTES = 4 * 1024 * 1024
TOMBSTONE_MS = 3_600_000
SWEEP_EVERY_MS = 600_000


class _Stream:
    """One partition of one topic."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        """Ascending by offset; of a compacted topic also what is not compacted away yet."""
        self.first = 0
        self.end = 0
        self.released = 0
        self.timestamp = 0
        self.compact_over = 1000
        """The number of records from which compacting is worth while."""
        self.arrival = asyncio.Event()
        """Set and replaced with every append."""

    def since(self, offset: int) -> Fetch:
        """From `offset` on, at most FETCH_BYTES (but at least one record)."""
        records: list[Record] = []
        size = 0
        for record in islice(self.records, bisect_left(self.records, (offset,)), None):
            if size >= FETCH_BYTES:
                return Fetch(records, records[-1].offset + 1)
            size += len(record.key or b"") + len(record.value or b"")
            records.append(record)
        return Fetch(records, self.end)

    def expire(self, until: int, before_offset: int) -> None:
        """Drop records up to an instant and before an offset."""
        count = 0
        for record in self.records:
            if record.offset >= before_offset or record.timestamp > until:
                break
            count += 1
        if count:
            del self.records[:count]
            self.first = min(before_offset, self.records[0].offset if self.records else self.end)

    def live(self) -> dict[bytes, Record]:
        """The latest record of each key, tombstones among them, ascending by offset."""
        latest: dict[bytes, Record] = {}
        for record in self.records:
            assert record.key is not None
            latest.pop(record.key, None)
            latest[record.key] = record
        return latest


class MemoryLog:
    """All topics of one log, shared by everybody in this process who holds it."""

    def __init__(self, clock: Clock, *, partitions: int = 1, retention_ms: Mapping[str, int] | None = None) -> None:
        self._clock = clock
        self._partitions = partitions
        self._retention_ms = {**RETENTION_MS, **(retention_ms or {})}
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._epochs: dict[tuple[Role, int], int] = {}
        self._stamps = Stamps()
        self._sweep_at = 0
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        stream = self._stream(topic, partition)
        check_messages(topic, messages)
        await self._delay()
        self._store(topic, partition, messages)
        end = stream.end
        await self._delay()
        return end

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        await self._delay()
        stream = self._stream(topic, partition)
        return stream.first, stream.end

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        while True:
            await self._delay()
            stream = self._stream(topic, partition)
            if not stream.first <= offset <= stream.end:
                raise Truncated(
                    f"{topic}/{partition}: {offset} is next to read, kept are {stream.first} to {stream.end}"
                )
            fetch = stream.since(offset)
            if fetch.next_offset == offset and await _set_within(stream.arrival, wait_s):
                continue
            offset = fetch.next_offset
            yield fetch

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        await self._delay()
        live = self._stream(topic, partition).live()
        return {key: record.value for key, record in live.items() if record.value is not None}

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[MemoryLease]:
        await self._delay()
        self._stream(DELTAS, partition)  # is there such a partition?
        epoch = self._epochs[role, partition] = self._epochs.get((role, partition), 0) + 1
        lease = MemoryLease(self, role, partition, epoch)
        try:
            await self._delay()
            yield lease
        finally:
            lease.ended = True

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        yield frozenset(range(self._partitions))
        await asyncio.Event().wait()

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        stream = self._stream(topic, partition)
        stream.released = max(stream.released, before_offset)

    async def close(self) -> None:
        self._closed = True
        for stream in self._streams.values():
            stream.arrival.set()

    def compact(self, topic: str, partition: int) -> None:
        """Of a compacted topic, drop what a later record of the same key replaces, and tombstones of over an hour."""
        stream = self._stream(topic, partition)
        oldest = self._clock.now() - TOMBSTONE_MS
        stream.records = [
            record for record in stream.live().values() if record.value is not None or record.timestamp > oldest
        ]
        stream.compact_over = 2 * len(stream.records) + 1000

    async def write(self, lease: MemoryLease, topic: str, messages: Sequence[Message]) -> None:
        """A write of the lease, which is still good when the records are stored; else Fenced."""
        check_messages(topic, messages)
        await self._delay()
        if lease.ended or self._epochs[lease.role, lease.partition] != lease.epoch:
            raise Fenced(f"{lease.role} of partition {lease.partition}: somebody else has taken over")
        self._store(topic, lease.partition, messages)
        await self._delay()

    async def _delay(self) -> None:
        """Before and after each effect.  Here: let others run."""
        await asyncio.sleep(0)

    def _store(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """The one place where records come into being."""
        stream = self._stream(topic, partition)
        now = self._clock.now()
        stream.timestamp = max(stream.timestamp, now)
        self._stamps.check(now, stream.timestamp)
        for message in messages:
            stream.records.append(Record(stream.end, stream.timestamp, *message))
            stream.end += 1
        if topic in COMPACTED and len(stream.records) > stream.compact_over:
            self.compact(topic, partition)
        self._sweep_if_due()
        stream.arrival.set()
        stream.arrival = asyncio.Event()

    def _sweep_if_due(self) -> None:
        """Now and then, drop the records that are too old; deltas only if they are released."""
        now = self._clock.now()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_EVERY_MS
        for (topic, _), stream in self._streams.items():
            if topic not in COMPACTED:
                stream.expire(now - self._retention_ms[topic], stream.released if topic == DELTAS else stream.end)

    def _stream(self, topic: str, partition: int) -> _Stream:
        if self._closed:
            raise Unavailable("the log is closed")
        check_place(topic, partition, self._partitions)
        return self._streams.setdefault((topic, partition), _Stream())


class MemoryLease:
    """Ownership of a partition of a MemoryLog, while its epoch is the latest."""

    def __init__(self, log: MemoryLog, role: Role, partition: int, epoch: int) -> None:
        self._log = log
        self.role = role
        self.partition = partition
        self.epoch = epoch
        self.ended = False

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        return await self._log.snapshot(topic, self.partition)

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        await self._log.write(self, topic, messages)


async def _set_within(event: asyncio.Event, wait_s: float) -> bool:
    try:
        async with asyncio.timeout(wait_s):
            return await event.wait()
    except TimeoutError:
        return False
