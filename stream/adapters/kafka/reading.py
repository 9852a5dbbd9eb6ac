"""Records out of Kafka: a consumer of its own for each reader, without a group, always read_committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher

from stream.adapters.kafka.ending import Run, ended
from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.records import Memory, Records
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from stream.ports import Fetch

log = structlog.get_logger()

FETCH_BYTES = 4 * 1024 * 1024
SNAPSHOT_BYTES = 16 * 1024 * 1024
"""What is fetched at a time where all is to be read: in half the time that it takes by FETCH_BYTES."""
HELD_S = 60.0
STEP_S = 0.25
"""How often a snapshot looks whether only markers were left to read."""

fetcher.MemoryRecords, fetcher.PartitionRecords = Memory, Records  # there is no other way in; all readers here are ours


@asynccontextmanager
async def started(
    settings: KafkaSettings, run: Run, place: TopicPartition | None = None, fetch_bytes: int = FETCH_BYTES
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that is ready, of one partition or of none."""
    consumer = AIOKafkaConsumer(
        **settings.client(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_bytes=fetch_bytes,
        max_partition_fetch_bytes=fetch_bytes,
    )
    starting = asyncio.create_task(consumer.start())
    try:
        async with answering("start a consumer", settings.request_s):
            await asyncio.shield(starting)
        if place is not None:
            consumer.assign([place])
        yield consumer
    finally:
        run(ended(starting, consumer.stop, consumer._client.close))


class Reader:
    """One partition, from an offset on."""

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, request_s: float) -> None:
        self._consumer = consumer
        self._place = place
        self._request_s = request_s
        self._answered: tuple[int | None, float] = (None, asyncio.get_running_loop().time())
        self._held_since: float | None = None
        self.next_offset = offset
        consumer.seek(place, offset)

    async def fetch(self, wait_s: float) -> Fetch:
        """What comes next, or nothing if nothing comes for so long.  Raises Truncated, Unavailable, Misconfigured."""
        place = self._place
        doing = f"read {place.topic}/{place.partition} from offset {self.next_offset}"
        async with answering(doing, wait_s + self._request_s):
            found = (await self._consumer.getmany(place, timeout_ms=round(1000 * wait_s))).get(place, [])
            self.next_offset = await self._consumer.position(place)
        if not found:
            self._is_answered(doing)
            self._is_held()
        return Fetch(found, self.next_offset)

    def _is_held(self) -> None:
        """Whoever writes in transactions and leaves one open keeps all readers from what comes after it."""
        now = asyncio.get_running_loop().time()
        written, seen = self._consumer.highwater(self._place), self._consumer.last_stable_offset(self._place)
        if written is None or seen is None or seen >= written or self.next_offset < seen:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = now
        elif now - self._held_since > HELD_S:
            self._held_since = now
            log.warning(
                "read.held", place=f"{self._place.topic}/{self._place.partition}", offset=seen, hidden=written - seen,
                cause="somebody's open transaction hides what was written after it",
                cure="kafka-transactions.sh find-hanging, then abort",
            )  # fmt: skip

    def _is_answered(self, doing: str) -> None:
        """An empty fetch means that there is nothing only if the broker has said so."""
        now = asyncio.get_running_loop().time()
        polled, since = self._consumer.last_poll_timestamp(self._place), self._answered[1]
        if polled is not None and polled != self._answered[0]:
            self._answered = (polled, now)
        elif now - since > self._request_s:
            raise Unavailable(f"kafka: no answer for {now - since:.0f} s to {doing}")


async def bounds(consumer: AIOKafkaConsumer, place: TopicPartition, request_s: float) -> tuple[int, int]:
    """(first offset kept, offset after the last committed record and its marker)."""
    async with answering(f"read the first offset of {place.topic}/{place.partition}", request_s):
        first: int = (await consumer.beginning_offsets([place]))[place]
    return first, await end(consumer, place, request_s)


async def end(consumer: AIOKafkaConsumer, place: TopicPartition, request_s: float) -> int:
    """The offset after the last committed record and its marker."""
    async with answering(f"read the end offset of {place.topic}/{place.partition}", request_s):
        offset: int = (await consumer.end_offsets([place]))[place]
    return offset


async def snapshot(settings: KafkaSettings, run: Run, place: TopicPartition, least: int = 0) -> Mapping[bytes, bytes]:
    """The latest value of each key, from what lies before the offset `least` and before the end as it is at first; each
    step is given `request_s`."""
    latest: dict[bytes, bytes] = {}
    loop = asyncio.get_running_loop()
    async with started(settings, run, place, SNAPSHOT_BYTES) as consumer:
        first, last = await bounds(consumer, place, settings.request_s)
        last = max(last, least)
        reader = Reader(consumer, place, first, settings.request_s)
        moved_at = loop.time()
        while reader.next_offset < last:
            before = reader.next_offset
            fetch = await reader.fetch(STEP_S)
            for record in fetch.records:
                if record.value is None:
                    latest.pop(record.key or b"", None)
                else:
                    latest[record.key or b""] = record.value
            if fetch.next_offset > before:
                moved_at = loop.time()
            elif loop.time() - moved_at > settings.request_s:
                raise Unavailable(f"kafka: {place.topic}/{place.partition} stands still at offset {before} of {last}")
    return latest
