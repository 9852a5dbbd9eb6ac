"""How many partitions the topics have: who looks for a service must look in the partition it was counted in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiokafka.admin import AIOKafkaAdminClient

from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import partition_counts
from stream.core.errors import Misconfigured
from stream.ports import TOPICS


@asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for looking at the cluster and for changing it."""
    admin = AIOKafkaAdminClient(**settings.client())
    try:
        async with answering(f"reach {settings.servers}", settings.request_s):
            await admin.start()
        yield admin
    finally:
        with suppress(Exception):
            await admin.close()


async def agreed_partitions(settings: KafkaSettings) -> int:
    """The number that all topics have.  Raises Misconfigured if one is missing or they differ."""
    counts = await partition_counts(settings)
    missing = [name for name in map(settings.topic, TOPICS) if name not in counts]
    if missing:
        raise Misconfigured(f"kafka: there is no topic {', '.join(missing)}; `quota-stream topics create` makes it")
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise Misconfigured(f"kafka: all topics must have the same number of partitions, and these differ: {told}")
    return next(iter(counts.values()))
