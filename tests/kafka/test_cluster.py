"""The brokers that the other tests rely on do what those take for granted."""

from __future__ import annotations

from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.adapters.kafka.settings import KafkaSettings
from tests.kafka.cluster import Cluster


async def produce(settings: KafkaSettings, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(**settings.client(), enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def consume(settings: KafkaSettings, topic: str) -> bytes | None:
    """The first record."""
    async with AIOKafkaConsumer(**settings.client(), auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        value: bytes | None = (await consumer.getone()).value
        return value


async def test_what_is_produced_is_consumed(cluster: Cluster, settings: KafkaSettings) -> None:
    """A record comes back as it went in."""
    topic = settings.topic("there-and-back")
    await cluster.create(topic)
    await produce(settings, topic, b"value")
    assert await consume(settings, topic) == b"value"


async def test_a_killed_broker_comes_back_with_its_records(tmp_path: Path) -> None:
    """What was acknowledged before a SIGKILL is read after the restart."""
    async with Cluster(tmp_path) as cluster:
        await cluster.create("kept")
        await produce(cluster.settings(), "kept", b"value")
        cluster.kill(1)
        await cluster.restart(1)
        assert await consume(cluster.settings(), "kept") == b"value"


async def test_tools(cluster: Cluster, prefix: str) -> None:
    """Kafka's own commands and kcat work on it."""
    await cluster.tool("topics", "--create", "--topic", f"{prefix}tools")
    await cluster.kcat("-P", "-t", f"{prefix}tools", stdin="value\n")
    assert await cluster.kcat("-C", "-t", f"{prefix}tools", "-e", "-q") == "value\n"
