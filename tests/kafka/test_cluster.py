"""The brokers that the other tests rely on do what those take for granted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from stream.adapters.kafka.settings import KafkaSettings
from tests.kafka.cluster import ADMIN, DEADLINE_S, WORKER, Cluster


async def produce(settings: KafkaSettings, topic: str, value: bytes) -> None:
    async with asyncio.timeout(DEADLINE_S), AIOKafkaProducer(**settings.client()) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def consume(settings: KafkaSettings, topic: str) -> bytes | None:
    """The first record."""
    words = {**settings.client(), "auto_offset_reset": "earliest"}
    async with asyncio.timeout(DEADLINE_S), AIOKafkaConsumer(**words) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        value: bytes | None = (await consumer.getone()).value
        return value


async def test_what_is_produced_is_consumed(cluster: Cluster, settings: KafkaSettings) -> None:
    """A record comes back as it went in."""
    topic = settings.topic("there-and-back")
    await cluster.create(topic, message_timestamp_type="LogAppendTime")
    await produce(settings, topic, b"value")
    assert await consume(settings, topic) == b"value"


async def test_a_killed_broker_comes_back_with_its_records(tmp_path: Path) -> None:
    """What was acknowledged before a SIGKILL is read after the restart."""
    async with Cluster(tmp_path) as cluster:
        await cluster.create("kept", message_timestamp_type="LogAppendTime")
        await produce(cluster.settings(), "kept", b"value")
        cluster.kill(1)
        await cluster.restart(1)
        assert await consume(cluster.settings(), "kept") == b"value"


@asynccontextmanager
async def connected(settings: KafkaSettings) -> AsyncIterator[None]:
    admin = AIOKafkaAdminClient(**settings.client())
    try:
        await admin.start()
        yield
    finally:
        await admin.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_login_over_tls(cluster: Cluster, mechanism: str) -> None:
    """Whoever knows the password gets in, and nobody else."""
    settings = cluster.settings(security_protocol="SASL_SSL", sasl_mechanism=mechanism)
    async with connected(settings):
        pass
    with pytest.raises(KafkaError):
        async with connected(replace(settings, sasl_password=lambda: "a guess")):
            pass


async def test_a_certificate(cluster: Cluster) -> None:
    """Whoever shows a certificate of the authority gets in, and nobody else."""
    settings = cluster.settings(security_protocol="SSL")
    async with connected(settings):
        pass
    with pytest.raises(KafkaError):
        async with connected(replace(settings, ssl_cert_file=None, ssl_key_file=None)):
            pass


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
async def test_rights(cluster: Cluster, prefix: str, protocol: str) -> None:
    """The worker may nothing at first, and what it is given from then on; the administrator may all."""
    topic = f"{prefix}guarded"
    settings = cluster.settings(security_protocol=protocol)
    await cluster.create(topic, message_timestamp_type="LogAppendTime")
    await produce(cluster.settings(security_protocol="SASL_SSL", sasl_username=ADMIN), topic, b"value")
    with pytest.raises(TopicAuthorizationFailedError):
        await produce(settings, topic, b"value")
    words = ("--allow-principal", f"User:{WORKER}", "--operation", "Write", "--topic", topic)
    await cluster.tool("acls", "--add", *words)
    await produce(settings, topic, b"value")


async def test_a_proxy(cluster: Cluster, prefix: str) -> None:
    """Whoever comes through the proxy stays on it: it waits while that is mute, and fails while it is cut."""
    topic = f"{prefix}proxied"
    settings = cluster.settings(servers=cluster.servers("PROXY"), request_s=2.0)
    await cluster.create(topic, message_timestamp_type="LogAppendTime")
    async with cluster.proxied() as proxies, AIOKafkaProducer(**settings.client()) as producer:
        await producer.send_and_wait(topic, b"first", partition=0)
        proxies[1].mute()
        sent = await producer.send(topic, b"second", partition=0)
        assert await cluster.kcat("-C", "-t", topic, "-e", "-q") == "first\n"
        assert not sent.done()
        proxies[1].unmute()
        await sent
        proxies[1].delay_s = 0.2
        await producer.send_and_wait(topic, b"third", partition=0)
        await proxies[1].cut()
        with pytest.raises(KafkaError):
            async with connected(settings):
                pass
        await proxies[1].mend()
        await producer.send_and_wait(topic, b"fourth", partition=0)
        assert await cluster.kcat("-C", "-t", topic, "-e", "-q") == "first\nsecond\nthird\nfourth\n"


async def test_three_nodes_stand_in_for_each_other(tmp_path: Path) -> None:
    """With one node killed and with one stopped, the others serve; when it is back they are complete again."""
    async with Cluster(tmp_path, nodes=3) as cluster:
        settings = cluster.settings()
        await cluster.create("kept", min_insync_replicas="2")
        async with AIOKafkaProducer(**settings.client(), enable_idempotence=True) as producer:
            cluster.kill(1)
            await producer.send_and_wait("kept", b"1", partition=0)
            await cluster.restart(1)
            await cluster.in_sync()
            cluster.pause(2)
            await producer.send_and_wait("kept", b"2", partition=0)
            cluster.resume(2)
            await cluster.in_sync()
            await cluster.stop(3)
            await producer.send_and_wait("kept", b"3", partition=0)
        assert await cluster.kcat("-C", "-t", "kept", "-e", "-q") == "1\n2\n3\n"


async def test_tools(cluster: Cluster, prefix: str) -> None:
    """Kafka's own commands and kcat work on it."""
    await cluster.tool("topics", "--create", "--topic", f"{prefix}tools")
    await cluster.kcat("-P", "-t", f"{prefix}tools", stdin="value\n")
    assert await cluster.kcat("-C", "-t", f"{prefix}tools", "-e", "-q") == "value\n"
