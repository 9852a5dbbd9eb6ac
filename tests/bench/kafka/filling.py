"""Topics made and filled, fast and in order, and read back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import COMPACTED, TOPICS
from tests.bench.kafka.workload import Change, Placed

BATCH_BYTES = 256 * 1024
"""As publishers with some linger write them."""
MOST_PENDING = 64
MOVES = ("exceeded", "stay_over")
"""Reasons of decisions that peers make as well."""


@asynccontextmanager
async def administering(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_topics(settings: KafkaSettings, partitions: int) -> None:
    """Ours, empty."""
    for topic in TOPICS:
        policy = "compact" if topic in COMPACTED else "delete"
        await make_topic(settings.servers, settings.topic(topic), partitions, policy)


async def make_topic(servers: str, name: str, partitions: int, policy: str = "delete") -> None:
    configs = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": policy}
    async with administering(servers) as admin, asyncio.timeout(60):
        while True:
            told = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
            if all(error == 0 for _, error, *_ in told.topic_errors):
                break
            if any(error != TopicAlreadyExistsError.errno for _, error, *_ in told.topic_errors):
                raise KafkaError(f"{name}: {told}")
            await asyncio.sleep(0.1)  # one of that name is being deleted
        while any(each["error_code"] for each in await admin.describe_topics([name])):
            await asyncio.sleep(0.1)


async def drop_topics(servers: str, *names: str) -> None:
    async with administering(servers) as admin, asyncio.timeout(60):
        await admin.delete_topics(list(names))
        gone = UnknownTopicOrPartitionError.errno
        while any(each["error_code"] != gone for each in await admin.describe_topics(list(names))):
            await asyncio.sleep(0.1)


async def fill(settings: KafkaSettings, topic: str, records: Iterable[Placed], *, at_once: str = "") -> int:
    """Appends all; returns how many.  `at_once`: as one transaction of that name, so that they are seen together."""
    words = {"transactional_id": at_once, "transaction_timeout_ms": 900_000} if at_once else {}
    producer = AIOKafkaProducer(
        **settings.client(), acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, **words
    )
    async with producer:
        if not at_once:
            return await _send(producer, settings.topic(topic), records)
        async with producer.transaction():
            return await _send(producer, settings.topic(topic), records)


async def _send(producer: AIOKafkaProducer, topic: str, records: Iterable[Placed]) -> int:
    builders: dict[int, BatchBuilder] = {}
    pending: list[asyncio.Future[object]] = []
    count = 0
    for count, (partition, (key, value, headers)) in enumerate(records, 1):
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
