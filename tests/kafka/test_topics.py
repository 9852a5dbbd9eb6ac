"""The topics on a real cluster: made as they should be, and every difference told with what mends it."""

from __future__ import annotations

import asyncio
import shlex
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import Difference, create, partition_counts, require_sound, verify, wanted
from stream.core.errors import Misconfigured
from stream.ports import CHANGES, COMPACTED, DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, TOPICS
from tests.kafka.cluster import Cluster, until

DAY_MS = 86_400_000


async def configure(cluster: Cluster, settings: KafkaSettings, topic: str, **own: str | None) -> None:
    """Give a topic these settings, with `_` for `.`, beside those that it should have; None: the broker's own."""
    values = {setting.name: setting.value for setting in wanted(topic, settings, 1)}
    values |= {name.replace("_", "."): value for name, value in own.items() if value is not None}
    for name in (name.replace("_", ".") for name, value in own.items() if value is None):
        del values[name]
    async with cluster.admin() as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic(topic), values)
        [reply] = await admin.alter_configs([resource])
    assert [each["error_code"] for each in reply.to_object()["resources"]] == [0]


async def told(settings: KafkaSettings) -> list[tuple[str, str, str | None, str]]:
    return [(one.topic, one.what, one.present, one.wanted) for one in await verify(settings)]


async def differing(settings: KafkaSettings, count: int) -> list[Difference]:
    """What differs, once it is so much: a broker learns a little later of what was changed."""

    async def so() -> bool:
        return len(await verify(settings)) == count

    await until(so, 10.0)
    return await verify(settings)


# ---------------------------------------------------------------- making


async def test_made_as_they_should_be(cluster: Cluster, settings: KafkaSettings) -> None:
    """All five, with the number of partitions and the retention that are configured; nothing differs then."""
    settings = replace(settings, partitions=7, retention_ms={**settings.retention_ms, DELTAS: 50 * DAY_MS})
    made = await create(settings)
    assert (list(made.topics), made.present) == ([settings.topic(topic) for topic in TOPICS], [])
    assert (made.partitions, made.replicas, made.brokers) == (7, 1, 1)
    assert await verify(settings) == []
    assert await require_sound(settings) == 7
    assert await partition_counts(settings) == dict.fromkeys(map(settings.topic, TOPICS), 7)
    said = await cluster.tool("topics", "--describe", "--topic", f"{settings.topic_prefix}.*")
    heads = {head.split("\t")[0]: head.split(",") for head in said.split("Topic: ") if "Configs: " in head}
    kept = {DELTAS: 50, CHANGES: 400, DEAD_LETTERS: 30}
    for topic in TOPICS:
        configured = heads[settings.topic(topic)]
        assert f"cleanup.policy={'compact' if topic in COMPACTED else 'delete'}" in str(configured)
        assert "message.timestamp.type=LogAppendTime" in str(configured)
        assert (f"retention.ms={kept.get(topic, 0) * DAY_MS}" in configured) == (topic in kept)


async def test_what_is_there_is_left(settings: KafkaSettings, cluster: Cluster) -> None:
    """Only what is missing is made, as large as the rest; repeating it does nothing."""
    await cluster.create(settings.topic(CHANGES), partitions=3)
    made = await create(replace(settings, partitions=8))
    assert made.present == [settings.topic(CHANGES)]
    assert set(made.topics) == {settings.topic(topic) for topic in TOPICS if topic != CHANGES}
    assert set((await partition_counts(settings)).values()) == {3}
    assert {one.topic for one in await verify(replace(settings, partitions=3))} == {settings.topic(CHANGES)}
    assert (await create(settings)).topics == []


async def test_more_replicas_than_brokers(settings: KafkaSettings) -> None:
    """What the cluster cannot do is said, and nothing is made."""
    with pytest.raises(Misconfigured, match=r"does not take topic .*traffic.deltas: .*[Rr]eplication"):
        await create(replace(settings, replication=3))
    assert await partition_counts(settings) == {}


async def test_three_brokers(tmp_path: Path) -> None:
    """Where there are three, there are three replicas, of which two have each record; fewer are a difference."""
    async with Cluster(tmp_path, nodes=3) as cluster:
        settings = cluster.settings()
        made = await create(settings)
        assert (made.replicas, made.brokers) == (3, 3)
        assert await verify(settings) == []
        single = replace(settings, topic_prefix="single.", replication=1)
        await create(single)
        found = await told(replace(single, replication=None))
        assert [(what, present, wanted) for topic, what, present, wanted in found if topic == "single.quota.state"] == [
            ("the replication factor", "1", "at least 3"),
            ("min.insync.replicas", "1", "2"),
        ]
        assert await require_sound(replace(single, replication=None)) == 4


async def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    """Where brokers make every topic that they are asked for, ours are made by `topics create` alone."""
    async with Cluster(tmp_path, auto_create_topics_enable="true") as cluster:
        settings = cluster.settings()
        assert [one.present for one in await verify(settings)] == [None] * 5
        with pytest.raises(Misconfigured):
            await require_sound(settings)
        assert (await cluster.tool("topics", "--list")).split() == []


# ---------------------------------------------------------------- differences


async def test_missing_topics(settings: KafkaSettings, cluster: Cluster) -> None:
    """Each is named, with the command that makes it, and nothing is counted without it."""
    with pytest.raises(Misconfigured) as caught:
        await require_sound(settings)
    made = "`quota-stream topics create` makes it"
    assert caught.value.problems == tuple(
        f"kafka: {settings.topic(topic)}: there is no such topic; {made}" for topic in TOPICS
    )
    await create(settings)
    async with cluster.admin() as admin:
        await admin.delete_topics([settings.topic(STATE)])
    [one] = await differing(settings, 1)
    assert (one.topic, one.present, one.needed) == (settings.topic(STATE), None, True)


NEEDED = [
    (STATE, {"cleanup_policy": "delete"}, "cleanup.policy", "delete", "compact"),
    (ENFORCEMENTS, {"cleanup_policy": "compact,delete"}, "cleanup.policy", "compact,delete", "compact"),
    (DELTAS, {"cleanup_policy": "compact"}, "cleanup.policy", "compact", "delete"),
    (DELTAS, {"message_timestamp_type": "CreateTime"}, "message.timestamp.type", "CreateTime", "LogAppendTime"),
    (DELTAS, {"retention_ms": "604800000"}, "retention.ms", "604800000", "at least 3456000000"),
    (DELTAS, {"retention_bytes": "1000000"}, "retention.bytes", "1000000", "-1"),
    (CHANGES, {"max_message_bytes": "65536"}, "max.message.bytes", "65536", "at least 1048588"),
]


@pytest.mark.parametrize(("topic", "own", "what", "present", "should_be"), NEEDED)
async def test_what_must_hold_before_anything_is_counted(
    cluster: Cluster, settings: KafkaSettings, topic: str, own: dict[str, str], what: str, present: str, should_be: str
) -> None:
    """Each is one line: what it is, what it should be, why, and the command that mends it."""
    await create(settings)
    await configure(cluster, settings, topic, **own)
    [one] = await differing(settings, 1)
    assert (one.topic, one.what, one.present, one.wanted, one.needed) == (
        settings.topic(topic), what, present, should_be, True,
    )  # fmt: skip
    with pytest.raises(Misconfigured) as caught:
        await require_sound(settings)
    [problem] = caught.value.problems
    assert problem == f"kafka: {one}"
    assert f"{what} is {present}, and should be {should_be}: " in problem
    assert f"--entity-name {settings.topic(topic)} --add-config {what}={should_be.removeprefix('at least ')}" in problem


async def test_what_is_worse_than_it_could_be(cluster: Cluster, settings: KafkaSettings) -> None:
    """The brokers' own values where ours are better: each is told, none of it stops anybody; the cures mend all."""
    await create(settings)
    own = dict.fromkeys(
        ("segment_bytes", "segment_ms", "min_cleanable_dirty_ratio", "max_compaction_lag_ms"), None
    )  # fmt: skip
    await configure(cluster, settings, STATE, **own, unclean_leader_election_enable="true")
    found = await differing(settings, 5)
    assert {(one.topic, one.what) for one in found} == {
        (settings.topic(STATE), name)
        for name in (
            "segment.bytes", "segment.ms", "min.cleanable.dirty.ratio", "max.compaction.lag.ms",
            "unclean.leader.election.enable",
        )
    }  # fmt: skip
    assert await require_sound(settings) == 4
    commands = [shlex.split(one.cure) for one in found]
    assert {tuple(command[:-1]) for command in commands} == {tuple(commands[0][:-1])}
    assert commands[0][0] == "kafka-configs.sh"
    await cluster.tool("configs", *commands[0][1:])
    await differing(settings, 4)
    await cluster.tool("configs", *commands[0][1:-1], ",".join(command[-1] for command in commands[1:]))
    assert await differing(settings, 0) == []


@pytest.mark.parametrize(
    ("topic", "own"),
    [
        (DELTAS, {"retention_ms": "-1"}),
        (DELTAS, {"retention_ms": str(90 * DAY_MS)}),
        (STATE, {"segment_ms": "60000", "min_cleanable_dirty_ratio": "0.01"}),
        (CHANGES, {"max_message_bytes": "9000000"}),
    ],
)
async def test_better_is_no_difference(
    cluster: Cluster, settings: KafkaSettings, topic: str, own: dict[str, str]
) -> None:
    """What keeps more, or tidies up sooner, is left alone."""
    await create(settings)
    await configure(cluster, settings, topic, **own)
    assert await differing(settings, 0) == []


async def test_numbers_of_partitions(cluster: Cluster, settings: KafkaSettings) -> None:
    """Where they differ nothing is counted; another number than the configuration's is told and is no harm."""
    await create(settings)
    async with cluster.admin() as admin:
        await admin.create_partitions({settings.topic(DELTAS): NewPartitions(6)})
    found = await differing(settings, 5)
    assert {(one.what, one.present) for one in found} == {
        ("the number of partitions", "4"), ("the number of partitions", "6"),
    }  # fmt: skip
    with pytest.raises(Misconfigured) as caught:
        await require_sound(settings)
    problems = caught.value.problems
    assert len(problems) == 4
    cure = (
        f"kafka-topics.sh --bootstrap-server {cluster.servers()} --alter --topic {settings.topic(STATE)} --partitions 6"
    )
    assert cure in problems[0]
    async with cluster.admin() as admin:
        rest = {settings.topic(topic): NewPartitions(6) for topic in TOPICS if topic != DELTAS}
        await admin.create_partitions(rest)

    async def agreed() -> bool:
        return set((await partition_counts(settings)).values()) == {6}

    await until(agreed, 10.0)
    assert await require_sound(settings) == 6
    assert {one.cure for one in await verify(settings)} == {"write `partitions: 6`"}
    assert await verify(replace(settings, partitions=6)) == []


# ---------------------------------------------------------------- old brokers


@asynccontextmanager
async def old_broker(*known: tuple[int, int, int]) -> AsyncIterator[str]:
    """Answers the question for its versions, as every broker does: (API key, least, most)."""

    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(4):
            request = await reader.readexactly(struct.unpack(">i", head)[0])
            apis = b"".join(struct.pack(">hhh", *one) for one in known)
            reply = request[4:8] + struct.pack(">hi", 0, len(known)) + apis
            writer.write(struct.pack(">i", len(reply)) + reply)
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await ended.wait()


KAFKA_1_0 = ((0, 0, 5), (1, 0, 6), (3, 0, 5), (11, 0, 2), (18, 0, 1), (22, 0, 0), (32, 0, 0))
KAFKA_2_4 = ((0, 0, 8), (1, 0, 11), (3, 0, 9), (11, 0, 6), (18, 0, 3), (22, 0, 2), (32, 0, 2))


@pytest.mark.parametrize(
    ("known", "lacks"), [(KAFKA_1_0, "version 7 of Produce"), (KAFKA_2_4, "version 3 of InitProducerId")]
)
async def test_a_broker_too_old(known: tuple[tuple[int, int, int], ...], lacks: str) -> None:
    """It is refused before anything is asked of it, with what it lacks and what is needed."""
    async with old_broker(*known) as servers:
        with pytest.raises(Misconfigured) as caught:
            await require_sound(KafkaSettings(servers=servers))
    assert str(caught.value) == (
        f"kafka: {servers} is too old, as it does not know {lacks}; Kafka 2.5 or newer is needed"
    )


async def test_a_record_that_unpacks_to_much_is_refused(settings: KafkaSettings) -> None:
    """Zeros by the megabyte are a few kB on the way: the broker unpacks them, and tells the publisher."""
    await create(settings)
    producer = AIOKafkaProducer(**settings.client(), compression_type="zstd", max_request_size=1 << 26)
    await producer.start()
    try:
        sent = await producer.send(settings.topic(DELTAS), bytes(30 << 20), partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await sent
    finally:
        await producer.stop()
