"""The five topics on a cluster: making them, and what of them differs from what it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

from aiokafka import errors as kafka
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from stream.adapters.kafka.errors import answering, translated
from stream.adapters.kafka.reaching import Broker, reached
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Misconfigured, Unavailable
from stream.ports import COMPACTED, DELTAS, TOPICS

REPLICAS = 3
POLL_S = 0.1
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MIB = 1024 * 1024

Sense: TypeAlias = Literal["", "at least ", "at most "]


class Setting(NamedTuple):
    """One setting of a topic."""

    name: str
    value: str
    why: str
    sense: Sense = ""
    needed: bool = False
    """Nothing is counted without it."""

    def holds(self, present: str | None) -> bool:
        if present is None or not self.sense:
            return present == self.value
        has, wanted = float(present), float(self.value)
        return has >= wanted if self.sense == "at least " else has <= wanted


class Difference(NamedTuple):
    """Something of a topic that is not as it should be."""

    topic: str
    """Its name on the cluster."""
    what: str
    present: str | None
    """None: the topic is not there."""
    wanted: str
    why: str
    cure: str
    needed: bool

    def __str__(self) -> str:
        if self.present is None:
            return f"{self.topic}: there is no such topic; {self.cure}"
        return f"{self.topic}: {self.what} is {self.present}, and should be {self.wanted}: {self.why}; {self.cure}"


class Topic(NamedTuple):
    """A topic as the cluster has it."""

    partitions: int
    replicas: int
    """Of the partition that has the fewest."""
    settings: Mapping[str, str]


def wanted(topic: str, settings: KafkaSettings, replicas: int) -> Sequence[Setting]:
    """How a topic (by our name for it) should be set."""
    least = settings.min_insync_replicas or min(2, replicas)
    return (
        Setting("cleanup.policy", "compact" if topic in COMPACTED else "delete", _POLICY[topic in COMPACTED], "", True),
        Setting(
            "message.timestamp.type", "LogAppendTime",
            "traffic from the future is told by the time at which the broker got it", "", True,
        ),
        Setting("max.message.bytes", str(_MIB + 12), "larger records are refused in mid-stream", "at least ", True),
        Setting("min.insync.replicas", str(least), "what is acknowledged must survive the loss of a broker"),
        Setting("unclean.leader.election.enable", "false", "a broker that lags would throw acknowledged records away"),
        *(_compacted() if topic in COMPACTED else _kept(topic, settings.retention_ms[topic])),
    )  # fmt: skip


_POLICY = {
    True: "records that are never replaced must stay, however old they are",
    False: "each record is an event of its own, and old ones must go",
}


def _compacted() -> Iterator[Setting]:
    restores = "what is superseded makes every restore longer"
    yield Setting("segment.bytes", str(64 * _MIB), restores, "at most ")
    yield Setting("segment.ms", str(_HOUR_MS), restores, "at most ")
    yield Setting("min.cleanable.dirty.ratio", "0.1", restores, "at most ")
    yield Setting("max.compaction.lag.ms", str(_DAY_MS), restores, "at most ")
    yield Setting("delete.retention.ms", str(_DAY_MS), "a slow reader would miss that a key was removed", "at least ")


def _kept(topic: str, retention_ms: int) -> Iterator[Setting]:
    unread = topic == DELTAS
    if unread:
        unpacked = "a small record that unpacks to gigabytes would stop whoever reads it: only the broker can refuse it"
        yield Setting("compression.type", "uncompressed", unpacked)
    why = "traffic that was not counted yet would be deleted" if unread else "the configuration says so under retention"
    sense: Sense = "at least " if unread else ""
    yield Setting("retention.ms", str(retention_ms), why, sense, unread)
    yield Setting("retention.bytes", "-1", "the age alone decides what is deleted", "", unread)
    yield Setting(
        "segment.ms", str(_DAY_MS), "whole segments are deleted, so old records stay so much longer", "at most "
    )


# ---------------------------------------------------------------- looking


async def verify(settings: KafkaSettings) -> list[Difference]:
    """Everything that is not as it should be.  Raises Misconfigured, Unavailable."""
    async with reached(settings) as broker:
        return await _differences(settings, broker)


async def require_sound(settings: KafkaSettings) -> int:
    """What must hold before anything is counted; the number of partitions.

    Raises Misconfigured with a line for each difference, Unavailable.
    """
    async with reached(settings) as broker:
        found = [one for one in await _differences(settings, broker) if one.needed]
        if found:
            raise Misconfigured(*(f"kafka: {one}" for one in found))
        return next(iter((await _counts(settings, broker)).values()))


async def partition_counts(settings: KafkaSettings) -> dict[str, int]:
    """By the topics' names on the cluster, of those that are there.  Raises Misconfigured, Unavailable."""
    async with reached(settings) as broker:
        return await _counts(settings, broker)


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


async def _counts(settings: KafkaSettings, broker: Broker) -> dict[str, int]:
    described, _ = await _metadata(settings, broker)
    return {name: len(each["partitions"]) for name, each in described.items()}


async def _differences(settings: KafkaSettings, broker: Broker) -> list[Difference]:
    topics, brokers = await _topics(settings, broker)
    most = max((topic.partitions for topic in topics.values()), default=0)
    replicas = settings.replication or min(REPLICAS, brokers)
    found: list[Difference] = []
    for ours in TOPICS:
        name = settings.topic(ours)
        if name not in topics:
            made = "`quota-stream topics create` makes it"
            found.append(Difference(name, "topic", None, "there", "it is one of the five", made, True))
            continue
        found += _shape(settings, name, topics[name], most, replicas)
        for setting in wanted(ours, settings, replicas):
            present = topics[name].settings.get(setting.name)
            if not setting.holds(present):
                found.append(_difference(settings, name, setting, present))
    return found


def _tools(settings: KafkaSettings) -> str:
    """What Kafka's own tools need to reach the cluster."""
    reach = f"--bootstrap-server {settings.servers.split(',')[0]}"
    return reach if settings.security_protocol == "PLAINTEXT" else f"{reach} --command-config client.properties"


def _shape(settings: KafkaSettings, name: str, topic: Topic, most: int, replicas: int) -> Iterator[Difference]:
    tools = _tools(settings)
    if topic.partitions != most:
        yield Difference(
            name, "the number of partitions", str(topic.partitions), f"{most}, as another topic has it",
            "a service has the same partition in all of them",
            f"as long as nothing is counted: kafka-topics.sh {tools} --alter --topic {name} --partitions {most}; "
            "after that begin anew with another topic_prefix, or services are looked for where they are not",
            True,
        )  # fmt: skip
    elif topic.partitions != settings.partitions:
        yield Difference(
            name, "the number of partitions", str(topic.partitions), f"{settings.partitions}, as configured",
            "the number cannot be changed once something is counted", f"write `partitions: {topic.partitions}`", False,
        )  # fmt: skip
    if topic.replicas < replicas:
        yield Difference(
            name, "the replication factor", str(topic.replicas), f"at least {replicas}",
            "what is acknowledged must survive the loss of a broker",
            f"kafka-reassign-partitions.sh {tools} with a plan that names {replicas} brokers for each partition", False,
        )  # fmt: skip


def _difference(settings: KafkaSettings, name: str, setting: Setting, present: str | None) -> Difference:
    command = (
        f"kafka-configs.sh {_tools(settings)} --alter --entity-type topics --entity-name {name} "
        f"--add-config {setting.name}={setting.value}"
    )
    wanted_text = f"{setting.sense}{setting.value}"
    return Difference(name, setting.name, present or "unknown", wanted_text, setting.why, command, setting.needed)


async def _metadata(settings: KafkaSettings, broker: Broker) -> tuple[dict[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The topics that are there, by name and in our order; and all of the reply."""
    names = [settings.topic(topic) for topic in TOPICS]
    doing = "describe the topics"
    reply = await broker.ask(MetadataRequest(names, allow_auto_topic_creation=False), doing)
    there = {}
    for each in sorted(reply["topics"], key=lambda one: names.index(one["topic"])):
        error = kafka.for_code(each["error_code"])
        if error in (kafka.NoError, kafka.LeaderNotAvailableError):
            there[each["topic"]] = each
        elif error is not kafka.UnknownTopicOrPartitionError:
            raise translated(error(each["topic"]), doing)
    return there, reply


async def _topics(settings: KafkaSettings, broker: Broker) -> tuple[dict[str, Topic], int]:
    """Those of ours that are there, and how many brokers there are."""
    there, reply = await _metadata(settings, broker)
    doing = "see the settings of the topics"
    resources = [(ConfigResourceType.TOPIC, name, None) for name in there]
    described = await broker.ask(DescribeConfigsRequest(resources), doing) if there else {"resources": []}
    found = {}
    for each in described["resources"]:
        name, error = each["resource_name"], kafka.for_code(each["error_code"])
        if error is kafka.UnknownTopicOrPartitionError:  # deleted since
            continue
        if error is not kafka.NoError:
            raise translated(error(name), doing)
        partitions = there[name]["partitions"]
        replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
        entries = {entry["config_names"]: entry["config_value"] for entry in each["config_entries"]}
        found[name] = Topic(len(partitions), replicas, entries)
    return found, len(reply["brokers"])


# ---------------------------------------------------------------- making


class Made(NamedTuple):
    """What `create` has done."""

    topics: Sequence[str]
    """The new ones."""
    present: Sequence[str]
    """Those that were there, and are as they were."""
    partitions: int
    replicas: int
    brokers: int


async def create(settings: KafkaSettings) -> Made:
    """Make the topics that are not there.  Raises Misconfigured, Unavailable."""
    async with reached(settings) as broker:
        there, reply = await _metadata(settings, broker)
        counts = {len(each["partitions"]) for each in there.values()}
        partitions = max(counts, default=settings.partitions)
        brokers = len(reply["brokers"])
        replicas = settings.replication or min(REPLICAS, brokers)
        missing = [topic for topic in TOPICS if settings.topic(topic) not in there]
        controller = next((one for one in reply["brokers"] if one["node_id"] == reply["controller_id"]), None)
        if controller is None:
            raise Unavailable("kafka: the cluster has no controller now; try again")
    async with reached(settings, f"{controller['host']}:{controller['port']}") as broker:
        await _create(settings, broker, missing, partitions, replicas)
    for one in reply["brokers"]:
        await _until_known(settings, f"{one['host']}:{one['port']}")
    return Made([settings.topic(topic) for topic in missing], list(there), partitions, replicas, brokers)


async def _until_known(settings: KafkaSettings, server: str) -> None:
    """A broker learns a little later of what the controller has made."""
    with suppress(Unavailable):  # it has left meanwhile, or whoever asks next is told that they are not there
        async with reached(settings, server) as broker, answering("see the new topics", settings.request_s):
            while True:
                if len(await _counts(settings, broker)) == len(TOPICS):
                    return
                await asyncio.sleep(POLL_S)


async def _create(
    settings: KafkaSettings, broker: Broker, topics: Sequence[str], partitions: int, replicas: int
) -> None:
    if not topics:
        return
    doing = "make the topics"
    new: list[Any] = [
        (
            settings.topic(topic),
            partitions,
            replicas,
            [],
            [(one.name, one.value) for one in wanted(topic, settings, replicas)],
        )
        for topic in topics
    ]
    request = CreateTopicsRequest(new, timeout=round(1000 * settings.request_s), validate_only=False)
    reply = await broker.ask(request, doing)
    names = [settings.topic(topic) for topic in topics]
    for each in sorted(reply["topic_errors"], key=lambda one: names.index(one["topic"])):
        error = kafka.for_code(each["error_code"])
        told = f"{each['topic']}: {each.get('error_message') or error.__name__}"
        if error in (kafka.InvalidReplicationFactorError, kafka.InvalidConfigurationError, kafka.PolicyViolationError):
            raise Misconfigured(f"kafka: the cluster does not take topic {told}")
        if error not in (kafka.NoError, kafka.TopicAlreadyExistsError):
            raise translated(error(each["topic"]), doing)
