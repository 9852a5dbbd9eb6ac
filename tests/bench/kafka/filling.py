"""Topics made and filled, fast and in order, and read back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.adapters.kafka.settings import KafkaSettings
from tests.bench.kafka.workload import Change, Placed
from tests.kafka.cluster import administering, until

BATCH_BYTES = 256 * 1024
"""As publishers with some linger write them."""
MOST_PENDING = 64
PRODUCER: Mapping[str, Any] = {"acks": "all", "enable_idempotence": True, "max_batch_size": BATCH_BYTES}
MOVES = ("exceeded", "stay_over")
"""Reasons of decisions that peers make as well."""


async def make_topic(servers: str, name: str, partitions: int) -> None:
    """A new one, for the changes of a peer."""
    async with administering(KafkaSettings(servers=servers)) as admin:
        configs = {"message.timestamp.type": "LogAppendTime"}  # our readers in this process want it
        told = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        if any(error for _, error, *_ in told.topic_errors):
            raise KafkaError(f"{name}: {told}")

        async def is_there() -> bool:
            return not any(each["error_code"] for each in await admin.describe_topics([name]))

        await until(is_there)


async def drop_topics(servers: str, *names: str) -> None:
    async with administering(KafkaSettings(servers=servers)) as admin:
        await admin.delete_topics(list(names))

        async def are_gone() -> bool:
            gone = UnknownTopicOrPartitionError.errno
            return all(each["error_code"] == gone for each in await admin.describe_topics(list(names)))

        await until(are_gone)


async def fill(settings: KafkaSettings, topic: str, records: Iterable[Placed]) -> int:
    """Appends all; returns how many."""
    async with AIOKafkaProducer(**settings.client(), **PRODUCER) as producer:
        return await _send(producer, settings.topic(topic), records)


@asynccontextmanager
async def appearing(settings: KafkaSettings, topic: str, records: Iterable[Placed]) -> AsyncIterator[None]:
    """All have been sent when it is entered, and are seen at once when it is left."""
    words = {"transactional_id": f"{settings.application}.bench", "transaction_timeout_ms": 900_000}
    async with AIOKafkaProducer(**settings.client(), **PRODUCER, **words) as producer, producer.transaction():
        await _send(producer, settings.topic(topic), records)
        yield


async def _send(producer: AIOKafkaProducer, topic: str, records: Iterable[Placed]) -> int:
    builders: dict[int, BatchBuilder] = {}
    pending: list[asyncio.Future[object]] = []
    count = 0
    for partition, (key, value, headers) in records:
        count += 1
        builder = builders.get(partition) or producer.create_batch()
        if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            pending.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            builder.append(timestamp=None, key=key, value=value, headers=list(headers))
        builders[partition] = builder
        if len(pending) >= MOST_PENDING:
            await asyncio.gather(*pending)
            pending.clear()
    for partition, builder in builders.items():
        pending.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*pending)
    return count


async def changes(servers: str, topic: str, partitions: int) -> Counter[Change]:
    """All moves in a topic of ours or of a peer, as far as they are committed: (service, instant)."""
    found: Counter[Change] = Counter()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    told = orjson.loads(record.value)
                    if told.get("reason", MOVES[0]) in MOVES:
                        found[told["service"], told["at"]] += 1
    finally:
        await consumer.stop()
    return found
