"""What is done to the brokers, and to the lines to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest

from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import TOPICS, Role
from tests.kafka.cluster import Cluster, NotStarted
from tests.kafka.proxy import Proxy
from tests.torture_kafka.faults import Fault
from tests.torture_kafka.scene import BROKERS, PARTITIONS

SLOW_S = 0.25
"""In each direction, so half a second an exchange."""
REASSIGN_MS = 20_000


class Brokers:
    """One trouble at a time."""

    def __init__(self, cluster: Cluster, proxies: Mapping[int, Proxy], settings: KafkaSettings) -> None:
        self._cluster, self._proxies, self._settings = cluster, proxies, settings
        self._one_at_a_time = asyncio.Lock()

    @property
    def are_well(self) -> bool:
        return not self._one_at_a_time.locked()

    async def suffer(self, fault: Fault, rng: random.Random) -> None:
        """All of the fault, to its end; waits for the end of a former one first."""
        async with self._one_at_a_time:
            match fault.kind:
                case "kill broker":
                    await self._kill(int(fault.whom[0]), lasts_s=fault.lasts_s)
                case "stop broker":
                    await self._stop(int(fault.whom[0]), fault.lasts_s)
                case "mute broker":
                    await self._mute(int(fault.whom[0]), fault.lasts_s)
                case "rolling restart":
                    await self._roll(rng)
                case "move partitions":
                    await self._move(rng)
                case "no broker":
                    await self._kill(*BROKERS, lasts_s=fault.lasts_s)
                case "slow coordinator":
                    await self._slow(fault, rng)

    async def _kill(self, *nodes: int, lasts_s: float) -> None:
        for node in nodes:
            self._cluster.kill(node)
        await asyncio.sleep(lasts_s)
        await self._restart(*nodes)

    async def _restart(self, *nodes: int) -> None:
        with suppress(NotStarted):  # the machine has much to do
            await self._cluster.restart(*nodes)
        await self._cluster.answers()

    async def _stop(self, node: int, lasts_s: float) -> None:
        self._cluster.pause(node)
        await asyncio.sleep(lasts_s)
        self._cluster.resume(node)
        await self._cluster.answers()

    async def _mute(self, node: int, lasts_s: float) -> None:
        """The others see it well: only our lines to it are dead."""
        self._proxies[node].mute()
        await asyncio.sleep(lasts_s)
        self._proxies[node].unmute()

    async def _roll(self, rng: random.Random) -> None:
        """As an operator would: one after the other, each in order, and the next when all replicas are in sync."""
        for node in rng.sample(BROKERS, len(BROKERS)):
            await self._cluster.stop(node)
            await self._restart(node)
            await self._cluster.in_sync()

    async def _move(self, rng: random.Random) -> None:
        """Each partition leaves one of its brokers, mostly its leader, and comes back as a new copy."""
        await self._reassign(rng, len(BROKERS) - 1)
        await self._reassign(rng, len(BROKERS))

    async def _reassign(self, rng: random.Random, copies: int) -> None:
        topics: list[Any] = [
            (topic, [(number, rng.sample(BROKERS, copies), {}) for number in range(PARTITIONS)], {})
            for topic in map(self._settings.topic, TOPICS)
        ]
        async with self._cluster.admin() as admin:
            reply = await admin._send_request(AlterPartitionReassignmentsRequest(REASSIGN_MS, topics, {}))
        told = reply.to_object()
        wrong = [told["error_message"]] if told["error_code"] else []
        wrong += [each for topic in told["responses"] for each in topic["partitions"] if each["error_code"]]
        assert not wrong, wrong
        await self._cluster.in_sync()

    async def _slow(self, fault: Fault, rng: random.Random) -> None:
        """Whoever coordinates a role's group, or the transactions of one of its partitions."""
        what, role = fault.whom
        async with self._cluster.admin() as admin:
            if what == "group":
                node = await admin.find_coordinator(self._settings.group(_role(role)), 0)
            else:
                number = rng.randrange(PARTITIONS)
                node = await admin.find_coordinator(self._settings.transactional_id(_role(role), number), 1)
        self._proxies[node].delay_s = SLOW_S
        await asyncio.sleep(fault.lasts_s)
        self._proxies[node].delay_s = 0.0


def _role(name: str) -> Role:
    roles: dict[str, Role] = {"tracker": "tracker", "enforcer": "enforcer", "collector": "collector"}
    return roles[name]
