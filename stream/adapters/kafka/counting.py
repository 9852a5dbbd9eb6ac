"""How many partitions the topics have: who looks for a service must look in the partition it was counted in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient

from stream.adapters.kafka.errors import answering, translated
from stream.adapters.kafka.settings import KafkaSettings
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


async def count_partitions(settings: KafkaSettings) -> dict[str, int]:
    """By the topics' names on the cluster, of those that are there.  Raises Misconfigured if one may not be seen."""
    counts: dict[str, int] = {}
    async with administering(settings) as admin, answering("ask for the topics", settings.request_s):
        described = await admin.describe_topics([settings.topic(topic) for topic in TOPICS])
    for each in described:
        name, error = each["topic"], kafka.for_code(each["error_code"])
        if error is kafka.NoError:
            counts[name] = len(each["partitions"])
        elif error is not kafka.UnknownTopicOrPartitionError:
            raise translated(error(name), f"describe topic {name}")
    return counts


async def agreed_partitions(settings: KafkaSettings) -> int:
    """The number that all topics have.  Raises Misconfigured if one is missing or they differ."""
    counts = await count_partitions(settings)
    missing = [name for name in map(settings.topic, TOPICS) if name not in counts]
    if missing:
        raise Misconfigured(f"kafka: there is no topic {', '.join(missing)}; `quota-stream topics create` makes it")
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise Misconfigured(f"kafka: all topics must have the same number of partitions, and these differ: {told}")
    return next(iter(counts.values()))
