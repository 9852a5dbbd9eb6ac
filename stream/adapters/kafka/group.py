"""Which partitions this process serves: membership in the role's consumer group.

The group's consumer reads nothing: it only holds the membership.  Every rebalance takes all partitions and gives them
anew, mostly the same ones; who kept one just goes on, as its fence is what protects it.  What the group knows of
offsets is for people to look at (the lag in Kafka's own tools); nothing here is read from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as kafka
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from stream.adapters.kafka.ending import Run, ended
from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from stream.ports import CHANGES, DELTAS, Role

log = structlog.get_logger()

FOLLOWS = {"tracker": DELTAS, "enforcer": CHANGES, "collector": DELTAS, "notifier": CHANGES}
"""The topic whose partitions a role's group shares out."""
LOOK_S = 1.0
COMMIT_EVERY_S = 5.0
ITS_OWN = "each process needs an instance_id of its own"
"""Two of one name push each other out, and the broker's answer to that may be anything."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One process in the group of one role."""

    def __init__(self, settings: KafkaSettings, role: Role, run: Run) -> None:
        self._run = run
        self._settings = settings
        self._topic = settings.topic(FOLLOWS[role])
        self._group = settings.group(role)
        self._as = "" if settings.instance_id is None else f" as {settings.instance_id} ({ITS_OWN})"
        self._assigned: frozenset[int] | None = None
        self._news = asyncio.Event()
        self._offsets: dict[int, int] = {}
        """Of the partitions that have moved since the last commit."""
        self._assignor: Any = type("Sticky", (StickyPartitionAssignor,), {})  # it remembers in the class what it had
        self._consumer = AIOKafkaConsumer(
            **settings.client(),
            group_id=self._group,
            group_instance_id=settings.instance_id,
            partition_assignment_strategy=(self._assignor,),
            session_timeout_ms=round(1000 * settings.session_timeout_s),
            heartbeat_interval_ms=round(1000 * settings.heartbeat_s),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=1,
        )

    async def assignments(self) -> AsyncGenerator[frozenset[int], None]:
        """Join, say what is assigned each time that it changes, and leave when closed."""
        self._consumer.subscribe([self._topic], listener=self)  # first: so the start learns its partitions
        starting = asyncio.create_task(self._consumer.start())
        try:
            async with answering(f"join the group {self._group}{self._as}", self._settings.request_s):
                await asyncio.shield(starting)
            committed_at = asyncio.get_running_loop().time()
            told: frozenset[int] | None = None
            while True:
                self._news.clear()
                if self._assigned is not None and self._assigned != told:
                    told = self._assigned
                    yield told
                await self._look()
                if asyncio.get_running_loop().time() - committed_at > COMMIT_EVERY_S:
                    await self._commit_offsets()
                    committed_at = asyncio.get_running_loop().time()
        finally:
            await asyncio.shield(self._run(ended(starting, self._consumer.stop, self._consumer._client.close)))

    async def _look(self) -> None:
        """Wait a while for news; a consumer that nobody asks is taken for stuck, and only who asks hears of errors."""
        news = asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait({news}, timeout=LOOK_S)
        finally:
            news.cancel()
        async with answering(f"stay in the group {self._group}{self._as}", self._settings.request_s):
            await self._consumer.getmany(timeout_ms=0)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """They may well come back."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        places = set(assigned)
        self._consumer.pause(*places)
        self._assignor.on_generation_assignment(self._consumer._coordinator.generation)  # which nobody else does
        self._assigned = frozenset(place.partition for place in places)
        self._news.set()

    async def confirm(self, partition: int, offset: int | None) -> None:
        """Raises Unavailable unless the group agrees that the partition is ours; `offset` is for Kafka's tools."""
        place = TopicPartition(self._topic, partition)
        doing = f"confirm partition {partition} with the group {self._group}{self._as}"
        async with answering(doing, self._settings.request_s):
            try:
                if offset is None:
                    offset = await self._consumer.committed(place) or 0
                await self._consumer.commit({place: offset})
            except (kafka.IllegalStateError, kafka.CommitFailedError) as error:
                told = f"{self._group} has not given partition {partition} to this process{self._as}"
                raise Unavailable(f"kafka: {told}") from error

    def passed(self, partition: int, offset: int) -> None:
        """What lies before the offset is worked off; told to the group some time later."""
        self._offsets[partition] = offset

    async def _commit_offsets(self) -> None:
        offsets, self._offsets = self._offsets, {}
        mine = self._assigned or frozenset()
        places = {TopicPartition(self._topic, at): offset for at, offset in offsets.items() if at in mine}
        if places:
            with suppress(kafka.KafkaError, TimeoutError):  # somebody else's next one tells as much
                async with asyncio.timeout(self._settings.request_s):
                    await self._consumer.commit(places)
