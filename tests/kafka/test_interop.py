"""Other programs: what Kafka's own producer and kcat write is counted, or told what to do; and they can read ours."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import pytest

from stream import wire
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.mapping import FieldMapping
from stream.core.plan import Plan
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, MAX_RECORD_BYTES, Message, Record
from stream.runtime import plans
from stream.runtime.checkpoint import load
from stream.runtime.partition import TrackerSettings, own
from tests.adapters.world import DEADLINE_S, PARTITIONS, START_MS, read_all
from tests.kafka.cluster import Cluster
from tests.kafka.world import KafkaWorld, worlds
from tests.runtime.history import MINUTE, ladder
from tests.runtime.lives import Punctual, Unseen

PLANS: Mapping[str, Plan] = {"hour": Plan.from_json("hour", ladder(10_000))}
NETFLOW = FieldMapping.from_json(
    "netflow",
    {
        "service": "vm1/{vm.id}",
        "start": {"field": "begin", "format": "rfc3339"},
        "duration": {"field": "seconds", "format": "s"},
        "in": {"field": "kilobits", "factor": 125},
        "out": {"field": "sent"},
    },
)
SERVICES = [f"vm1/{number}" for number in range(1, 13)]
CODECS = ("gzip", "snappy", "lz4", "zstd")
UNKNOWN = next(
    name
    for name in map("vm9/{}".format, range(99))
    if wire.partition_of(name, PARTITIONS) == wire.partition_of("vm1/1", PARTITIONS)
)
MURMUR2 = ("-X", "partitioner=murmur2_random")

Line: TypeAlias = tuple[str, str]
"""Key and value of a record."""


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """New topics, with plans and a mapping in force, and all services registered."""
    async with worlds(settings) as world:
        await plans.apply(world.log, PLANS, {"netflow": NETFLOW})
        for service in SERVICES:
            registration = wire.encode_registration(service, ["hour"], at=START_MS)
            await world.log.append(DELTAS, partition(service), [Message(*registration)])
        yield world


def partition(service: str) -> int:
    return wire.partition_of(service, PARTITIONS)


def delta(service: str, minute: int = 0, bytes_: int = 100) -> Line:
    start = START_MS + minute * MINUTE
    document = {"service": service, "start": start, "end": start + MINUTE, "in": bytes_, "out": 7}
    return service, json.dumps(document)


async def track(world: KafkaWorld) -> dict[str, tuple[int, int]]:
    """Let trackers work off what is there; what they accepted of each service."""
    accepted: dict[str, tuple[int, int]] = {}
    for number in range(PARTITIONS):
        _, end = await world.log.bounds(DELTAS, number)
        async with asyncio.timeout(DEADLINE_S):
            await own(
                world.log,
                number,
                settings=TrackerSettings(),
                clock=Punctual(),
                observer=Unseen(),
                stop=asyncio.Event(),
                until=end,
            )
        tracker = await load(world.log, number, partition)
        views = [view for view in map(tracker.service, tracker.names()) if view is not None]
        accepted |= {view.service: (view.accepted_in, view.accepted_out) for view in views}
    return accepted


async def letters(world: KafkaWorld) -> list[dict[str, Any]]:
    found: list[Record] = []
    for number in range(PARTITIONS):
        found += await read_all(world.log, DEAD_LETTERS, number)
    return [json.loads(record.value or b"") for record in found]


class Producers:
    """The two programs, on the topic of the deltas."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster, self._topic = cluster, topic

    async def kcat(self, lines: Sequence[Line], *words: str) -> str:
        stdin = "".join(f"{key}|{value}\n" for key, value in lines)
        return await self._cluster.kcat("-P", "-t", self._topic, "-K", "|", *words, stdin=stdin)

    async def java(self, lines: Sequence[Line], *words: str) -> str:
        stdin = "".join(f"{key}|{value}\n" for key, value in lines)
        keyed = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
        return await self._cluster.tool("console-producer", "--topic", self._topic, *keyed, *words, stdin=stdin)

    async def bare(self, value: str, *words: str, status: int = 0) -> str:
        """One record, by kcat, without a key."""
        return await self._cluster.kcat("-P", "-t", self._topic, *words, stdin=f"{value}\n", status=status)


@pytest.fixture
def producers(cluster: Cluster, settings: KafkaSettings) -> Producers:
    return Producers(cluster, settings.topic(DELTAS))


# ---------------------------------------------------------------- what is counted


@pytest.mark.parametrize("codec", CODECS)
async def test_single_deltas_by_both(producers: Producers, world: KafkaWorld, codec: str) -> None:
    """By kcat with murmur2 and by Kafka's console producer, compressed with each codec: each in the partition in which
    it counts, and none refused."""
    await producers.kcat([delta(service) for service in SERVICES], *MURMUR2, "-z", codec)
    await producers.java([delta(service, minute=1) for service in SERVICES], "--compression-codec", codec)
    assert await track(world) == dict.fromkeys(SERVICES, (200, 14))
    assert await letters(world) == []


async def test_foreign_json(producers: Producers, world: KafkaWorld) -> None:
    """What a mapping reads is counted exactly, beside records of our own format."""

    def flow(service: str, minute: int) -> Line:
        told = {"vm": {"id": int(service[4:])}, "begin": f"2025-12-01T0{minute}:00:00+01:00", "seconds": 0.5}
        return service, json.dumps(told | {"kilobits": 0.1, "sent": "3", "type": "flow"})

    await producers.kcat([flow(service, 1) for service in SERVICES], *MURMUR2)
    await producers.java([flow(service, 2) for service in SERVICES])
    await producers.kcat([delta(service, minute=999) for service in SERVICES], *MURMUR2)
    assert await track(world) == dict.fromkeys(SERVICES, (12 + 12 + 100, 3 + 3 + 7))
    assert await letters(world) == []


async def test_the_content_decides(producers: Producers, world: KafkaWorld) -> None:
    """In its service's partition a record counts whatever its key is, and with whatever headers."""
    service = SERVICES[0]
    place = ("-p", str(partition(service)))
    await producers.kcat([("another/key", delta(service, 0)[1])], *place)
    await producers.bare(delta(service, 1)[1], *place)
    await producers.bare(delta(service, 2)[1], *place, "-H", "ce_type=com.example.flow", "-H", "trace", "-H", "trace=é")
    assert (await track(world))[service] == (300, 21)
    assert await letters(world) == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("keyed", [True, False], ids=["another partitioner", "no key"])
async def test_astray(producers: Producers, world: KafkaWorld, keyed: bool) -> None:
    """librdkafka's own partitioner has other places, and without a key there is none: what happens to lie right counts,
    what does not is told the cure."""
    lines = [delta(service) for service in SERVICES]
    await (producers.kcat(lines) if keyed else producers.bare("\n".join(value for _, value in lines), *MURMUR2))
    accepted, refused = await track(world), await letters(world)
    astray = {letter["reason"].split()[2] for letter in refused}
    assert astray
    assert accepted == {service: (0, 0) if service in astray else (100, 7) for service in SERVICES}
    assert all(letter["reason"].startswith("wrong partition: ") for letter in refused)
    assert all("partitioner=murmur2_random" in letter["cure"] for letter in refused)


async def test_a_wrong_key(producers: Producers, world: KafkaWorld) -> None:
    """A key that is not the service sends a record where the key belongs; what is mapped is judged by its service."""
    service = SERVICES[0]
    key = next(other for other in SERVICES if partition(other) != partition(service))
    flow = {"vm": {"id": 1}, "begin": "2025-12-01T01:00:00Z", "seconds": 60, "kilobits": 1, "sent": 1}
    await producers.kcat([(key, delta(service)[1]), (key, json.dumps(flow))], *MURMUR2)
    assert (await track(world))[service] == (0, 0)
    one, two = await letters(world)
    assert one["reason"] == two["reason"]
    assert one["reason"] == f"wrong partition: {service} belongs to {partition(service)}, not {partition(key)}"
    assert "the record's key must be the service id" in one["cure"]


ODD = {"vm": {"id": 1}, "begin": "2025-12-01 01:00:00", "seconds": 1, "kilobits": 1, "sent": 1}
REFUSED: Sequence[tuple[Sequence[str], str, str, str]] = [
    (("-K", "|", "-Z"), "vm1/1|", "no value", "one JSON object in each record"),
    (("-K", "|"), "vm1/1|", "not JSON: ", "one JSON object (RFC 8259) in each record"),
    ((), "no JSON", "not JSON: ", "without NaN or comments"),
    ((), '{"service": "vm1/1", "start": NaN}', "not JSON: ", "without NaN or comments"),
    ((), "[1]", "not a JSON object", "one object in each record"),
    ((), '{"rx": 5}', "no mapping fits: netflow lacks vm.id, begin, seconds, kilobits, sent", "plans apply"),
    ((), json.dumps(ODD), "a mapped field has no time zone: begin is ", "with Z or an offset"),
    (
        (),
        json.dumps(ODD | {"begin": "2025-12-01T01:00:00Z", "sent": -1}),
        "a mapped field is negative: sent",
        "not below",
    ),
    ((), delta(UNKNOWN)[1], f"not registered: {UNKNOWN}", '"type":"registration"'),
    ((), "x" * (MAX_RECORD_BYTES + 1), f"record too large: {MAX_RECORD_BYTES + 1} bytes", f"within {MAX_RECORD_BYTES}"),
]
"""kcat's words, what it is given, and reason and cure of the dead letter."""


async def test_refusals(producers: Producers, world: KafkaWorld) -> None:
    """Each is a dead letter that says why, and whose cure helps; what comes after it is counted."""
    service = SERVICES[0]
    for words, line, _, _ in REFUSED:
        await producers.bare(line, "-p", str(partition(service)), *words)
    await producers.kcat([delta(service)], *MURMUR2)
    assert (await track(world))[service] == (100, 7)
    for letter, (_, _, reason, cure) in zip(await letters(world), REFUSED, strict=True):
        assert letter["reason"].startswith(reason)
        assert cure in letter["cure"]


async def test_larger_than_the_topic_takes(producers: Producers, world: KafkaWorld) -> None:
    """Whoever writes a record beyond `max.message.bytes` is told so by the broker, and nothing gets into the log."""
    words = ("-p", "0", "-X", "message.max.bytes=4000000")
    said = await producers.bare("x" * 2_000_000, *words, status=1)
    assert "Message size too large" in said


# ---------------------------------------------------------------- what others read


async def exceeded(producers: Producers, world: KafkaWorld) -> dict[str, list[dict[str, Any]]]:
    """All services are slowed; what quota.profile-changes holds, by key."""
    await producers.kcat([delta(service, bytes_=9_990) for service in SERVICES], *MURMUR2)
    await producers.kcat([delta(service, minute=1, bytes_=90_000) for service in SERVICES], *MURMUR2)
    await track(world)
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(PARTITIONS):
        for record in await read_all(world.log, CHANGES, number):
            found.setdefault((record.key or b"").decode(), []).append(json.loads(record.value or b""))
    return found


async def test_others_read_the_decisions(
    cluster: Cluster, settings: KafkaSettings, producers: Producers, world: KafkaWorld
) -> None:
    """kcat and the console consumer print each decision as one line of JSON, with the service as its key and the
    attributes of a CloudEvent in its headers."""
    expected = await exceeded(producers, world)
    assert {decisions[-1]["reason"] for decisions in expected.values()} == {"exceeded"}
    assert "warning" in {one.get("type") for one in expected[SERVICES[0]]}
    topic = settings.topic(CHANGES)
    by_kcat = await cluster.kcat("-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", "%k|%h|%s\n")
    total = str(sum(map(len, expected.values())))
    by_java = await cluster.tool(
        "console-consumer", "--topic", topic, "--from-beginning", "--max-messages", total,
        "--isolation-level", "read_committed",
        "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true",
        "--formatter-property", "key.separator=|", "--formatter-property", "headers.separator=,",
    )  # fmt: skip
    for told in (
        [line.split("|") for line in by_kcat.splitlines()],
        [[line.split("|")[place] for place in (1, 0, 2)] for line in by_java.splitlines() if line.count("|") == 2],
    ):
        read: dict[str, list[dict[str, Any]]] = {}
        for key, headers, value in told:
            read.setdefault(key, []).append(json.loads(value))
            _is_cloudevent(headers, read[key][-1])
        assert read == expected


def _is_cloudevent(headers: str, document: Mapping[str, Any]) -> None:
    attributes = dict(re.split("[=:]", header, maxsplit=1) for header in headers.split(","))
    assert attributes["ce_specversion"] == "1.0"
    assert attributes["ce_type"] == f"quota-stream.{'warning' if 'type' in document else 'profile-change'}"
    assert attributes["ce_source"] == f"quota-stream/tracker/{document['input']['partition']}"
    assert attributes["ce_subject"] == document["service"]
    assert attributes["ce_id"].startswith(f"{document['service']}/{document['incarnation']}/")
    assert datetime.fromisoformat(attributes["ce_time"]).timestamp() * 1000 == document["at"]
    assert attributes["content-type"] == "application/json"
