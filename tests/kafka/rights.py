"""ACLs on a test cluster: granting and taking back what a role needs, one right at a time."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from stream.adapters.kafka.reaching import Broker, reached
from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, TOPICS, Role
from tests.kafka.cluster import WORKER, Cluster, until

Kind: TypeAlias = Literal["topic", "group", "transactional id"]
Operation: TypeAlias = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]

_KINDS: dict[Kind, int] = {"topic": 2, "group": 3, "transactional id": 5}
_OPERATIONS: dict[Operation, int] = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3


class Right(NamedTuple):
    operation: Operation
    kind: Kind
    name: str
    """Of topics and groups the whole name, of transactional ids its beginning."""


Worker: TypeAlias = Role | Literal["serve"]

_READ: dict[Worker, tuple[str, ...]] = {
    "tracker": (DELTAS, STATE),
    "collector": (STATE,),
    "enforcer": (CHANGES, STATE, ENFORCEMENTS),
    "notifier": (CHANGES, STATE),
    "serve": tuple(TOPICS),
}
_WRITTEN: dict[Worker, tuple[str, ...]] = {
    "tracker": (STATE, CHANGES, DEAD_LETTERS),
    "collector": (DELTAS, STATE),
    "enforcer": (ENFORCEMENTS,),
    "notifier": (STATE,),
    "serve": (DELTAS, CHANGES, STATE),
}
_FENCED: tuple[Role, ...] = ("tracker", "enforcer", "notifier")


def rights_of(role: Worker, settings: KafkaSettings) -> list[Right]:
    """All that a role needs, as the README lists it; of `serve`, what its operators do included."""
    name = settings.topic
    rights = [
        *(Right("Describe", "topic", name(topic)) for topic in TOPICS),
        *(Right("DescribeConfigs", "topic", name(topic)) for topic in TOPICS),
        *(Right("Read", "topic", name(topic)) for topic in _READ[role]),
        *(Right("Write", "topic", name(topic)) for topic in _WRITTEN[role]),
    ]
    if role != "serve":
        rights.append(Right("Read", "group", settings.group(role)))
        if role in _FENCED:
            rights.append(Right("Write", "transactional id", f"{settings.group(role)}."))
    return rights


async def grant(cluster: Cluster, *rights: Right, user: str = WORKER) -> None:
    """Returns when the broker goes by them."""
    async with reached(cluster.settings()) as broker:
        for right in rights:
            await broker.ask(CreateAclsRequest(*_words(right, user)), "grant a right")
        for right in rights:
            await _until_listed(broker, right, user, times=1)


async def take_back(cluster: Cluster, right: Right, user: str = WORKER) -> None:
    """Returns when the broker goes by it."""
    async with reached(cluster.settings()) as broker:
        await broker.ask(DeleteAclsRequest(*_words(right, user)), "take a right back")
        await _until_listed(broker, right, user, times=0)


def _words(right: Right, user: str) -> tuple[int, str, int, str, str, int, int]:
    pattern = _PREFIXED if right.kind == "transactional id" else _LITERAL
    return _KINDS[right.kind], right.name, pattern, f"User:{user}", "*", _OPERATIONS[right.operation], _ALLOW


async def _until_listed(broker: Broker, right: Right, user: str, *, times: int) -> None:
    async def so() -> bool:
        reply = await broker.ask(DescribeAclsRequest(*_words(right, user)), "see the rights")
        return len(reply["resources"]) == times

    await until(so, 10.0)
