"""The contract's world on a cluster: topics of its own for each test, seen by two logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import partition_counts
from stream.ports import COMPACTED, TOPICS
from tests.adapters.world import DEADLINE_S, PARTITIONS, World
from tests.kafka.cluster import administering


class KafkaWorld(World):
    """Two logs, as two processes would have them."""

    log: KafkaLog
    other: KafkaLog

    def __init__(self, log: KafkaLog, other: KafkaLog, settings: KafkaSettings) -> None:
        self.log, self.other, self.settings = log, other, settings

    async def expire(self, topic: str, partition: int, before_offset: int) -> None:
        async with administering(self.settings) as admin:
            place = TopicPartition(self.settings.topic(topic), partition)
            await admin.delete_records({place: RecordsToDelete(before_offset=before_offset)})


async def make_topics(settings: KafkaSettings, **configs: str) -> None:
    """The five topics, with what of their settings a test can see; `configs` come on top, with `_` for `.`."""
    also = {name.replace("_", "."): value for name, value in configs.items()}
    async with administering(settings) as admin:
        new = [
            NewTopic(
                settings.topic(topic), PARTITIONS, 1,
                topic_configs={
                    "cleanup.policy": "compact" if topic in COMPACTED else "delete",
                    "message.timestamp.type": "LogAppendTime",
                    **also,
                },
            )
            for topic in TOPICS
        ]  # fmt: skip
        await admin.create_topics(new)
    async with asyncio.timeout(DEADLINE_S):
        while len(await partition_counts(settings)) < len(TOPICS):  # the broker learns of them a little later
            pass


@asynccontextmanager
async def worlds(settings: KafkaSettings, **configs: str) -> AsyncIterator[KafkaWorld]:
    """Its topics are made, and stay."""
    await make_topics(settings, **configs)
    log, other = await KafkaLog.open(settings), await KafkaLog.open(settings)
    try:
        yield KafkaWorld(log, other, settings)
    finally:
        await log.close()
        await other.close()
