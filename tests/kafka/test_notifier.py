"""Notifiers on Kafka: partitions shared out, handed over and taken away, and nobody is left untold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.model import Decision, Position
from stream.core.speed import Speed
from stream.ports import CHANGES, STATE, Log
from stream.runtime.notifier import KEY, Notifier
from stream.runtime.worker import work
from tests.adapters.world import PARTITIONS
from tests.kafka.world import KafkaWorld, worlds
from tests.notices.world import Inbox, Observed
from tests.replica.stage import names

SERVICES = [name for partition in range(PARTITIONS) for name in names(partition, PARTITIONS, 2)]


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """New topics."""
    async with worlds(settings) as world:
        yield world


class Process:
    """A process that tells the inbox."""

    def __init__(self, log: Log, inbox: Inbox) -> None:
        self.observed, self._stop = Observed(), asyncio.Event()
        notifier = Notifier(
            log, inbox, None, kinds=("change",), alarm_after_ms=1, clock=SystemClock(), rng=random.Random(1),
            observer=self.observed,
        )  # fmt: skip
        self.task = asyncio.create_task(work("notifier", log, notifier.serve, self._stop, random.Random(2)))

    async def stop(self) -> None:
        self._stop.set()
        await self.task

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def process(log: Log, inbox: Inbox) -> AsyncIterator[Process]:
    one = Process(log, inbox)
    try:
        yield one
    finally:
        await one.kill()


async def decide(log: Log, revision: int) -> list[str]:
    """One decision about each service; the ids of what is to be told."""
    for service in SERVICES:
        decision = Decision(service, 7, revision, 1_764_547_200_000, "pin", Speed(1, 1), 1, Position(revision), 0)
        partition = wire.partition_of(service, log.partitions)
        await log.append(CHANGES, partition, [wire.encode_outcome(decision)])
    return [f"{service}/7/{revision}" for service in SERVICES]


async def told(inbox: Inbox, ids: list[str]) -> None:
    async with asyncio.timeout(90):
        while not set(ids) <= set(inbox.ids):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def placed(log: Log) -> None:
    """Every partition's notifier has begun."""
    async with asyncio.timeout(90):
        for partition in range(PARTITIONS):
            while KEY not in await log.snapshot(STATE, partition):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_shared_out_handed_over_and_killed(world: KafkaWorld) -> None:
    """One tells all; two share; one is killed, and the other goes on with what was not told; in order, none missing."""
    inbox = Inbox()
    await decide(world.log, 1)
    async with process(world.log, inbox) as first:
        await placed(world.log)
        ids = await decide(world.log, 2)
        await told(inbox, ids)
        async with process(world.other, inbox) as second:
            ids += await decide(world.log, 3)
            await told(inbox, ids)
            async with asyncio.timeout(90):
                while not second.observed.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            inbox.down = True
            ids += await decide(world.log, 4)
            await asyncio.sleep(0)
            await first.kill()
            inbox.down = False
            ids += await decide(world.log, 5)
            await told(inbox, ids)
    for service in SERVICES:
        own = [id for id in inbox.ids if id.startswith(f"{service}/")]
        assert own == [f"{service}/7/{revision}" for revision in (2, 3, 4, 5)]
