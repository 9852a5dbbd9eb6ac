"""Partitions that move from tracker to tracker under load: how long each stands still, and whether the numbers hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream import wire
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import CHANGES, DELTAS
from stream.runtime.checkpoint import load
from tests.bench.kafka.filling import MOVES
from tests.bench.kafka.installation import Installation, Progress, progress, settings_of
from tests.bench.kafka.workload import Change, Fleet, as_batches, introductions
from tests.bench.measuring import Result

PARTITIONS = 8
EVERY_S = 0.1
"""A round comes: 100,000 deltas a second."""
WINDOW_S = 8.0
KILLED_S = 20.0
LASTS_S = 120.0


async def run(servers: str) -> AsyncIterator[Result]:
    fleet = Fleet(PARTITIONS)
    note = f"{fleet.services / EVERY_S:,.0f} deltas a second"
    with TemporaryDirectory() as folder:
        async with (
            Installation(Path(folder), settings_of(servers, PARTITIONS)) as ours,
            progress(ours.settings) as seen,
            shown(ours.settings) as changes,
        ):
            for _ in range(2):
                ours.start("track")
            await ours.settled(2)
            await ours.fill(introductions(fleet))
            async with flow(ours.settings, fleet, EVERY_S, LASTS_S) as flowing:
                await asyncio.sleep(WINDOW_S)
                async for name, pause_s, target in _moves(ours, changes):
                    yield Result("kafka", f"moving: {name}", pause_s, "s", target=target, note=note)
            verdict = await _audit(ours, fleet, flowing.rounds, seen, changes)
    yield Result("kafka", "moving: audit", flowing.rounds * fleet.services, "deltas", note=verdict)


async def _moves(ours: Installation, changes: Changes) -> AsyncIterator[tuple[str, float, str]]:
    began = time.time()
    await asyncio.sleep(WINDOW_S)
    yield "longest pause, nothing happens", changes.pause_s(began, time.time()), ""

    began = time.time()
    third = ours.start("track")
    await ours.settled(3)
    await asyncio.sleep(WINDOW_S)
    yield "longest pause, a third tracker joins", changes.pause_s(began, time.time()), ""

    began = time.time()
    third.terminate()
    await asyncio.to_thread(third.wait)
    await ours.settled(2)
    await asyncio.sleep(WINDOW_S)
    yield "longest pause, it leaves", changes.pause_s(began, time.time()), ""

    began = time.time()
    ours.processes[0].kill()
    await asyncio.sleep(KILLED_S)
    yield "SIGKILL of one of two, all move again", changes.again_s(began), "<= 12"


class Flow:
    """Round after round, each as one batch for each partition.  All are made before, so that sending costs little."""

    def __init__(self, fleet: Fleet, every_s: float, lasts_s: float) -> None:
        self.rounds = 0
        self._every_s = every_s
        self._partitions = fleet.partitions
        self._records = iter(list(as_batches(fleet, round(lasts_s / every_s))))

    async def run(self, producer: AIOKafkaProducer, topic: str, stop: asyncio.Event) -> None:
        due = time.monotonic()
        while not stop.is_set():
            round_ = islice(self._records, self._partitions)
            sent = [await producer.send(topic, message.value, partition=partition) for partition, message in round_]
            assert sent, "it should last longer"
            await asyncio.gather(*sent)
            self.rounds += 1
            due += self._every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))


@asynccontextmanager
async def flow(settings: KafkaSettings, fleet: Fleet, every_s: float, lasts_s: float) -> AsyncIterator[Flow]:
    """Lasts at most so long."""
    flowing, stop = Flow(fleet, every_s, lasts_s), asyncio.Event()
    async with AIOKafkaProducer(**settings.client(), acks="all", enable_idempotence=True) as producer:
        task = asyncio.create_task(flowing.run(producer, settings.topic(DELTAS), stop))
        try:
            yield flowing
        finally:
            stop.set()
            await task


class Changes:
    """What has been shown, and when."""

    def __init__(self) -> None:
        self.shown: Counter[Change] = Counter()
        self.shown_at_s: dict[str, float] = {}
        """By service, its latest change."""
        self._times: defaultdict[int, list[float]] = defaultdict(list)

    def note(self, partition: int, at_s: float, change: dict[str, Any]) -> None:
        self._times[partition].append(at_s)
        if change["reason"] in MOVES:
            self.shown[change["service"], change["at"]] += 1
            self.shown_at_s[change["service"]] = at_s

    def pause_s(self, since: float, until: float) -> float:
        """The longest time in which a partition showed nothing."""
        return max(until - since for since, until in self._pauses(since, until))

    def again_s(self, since: float) -> float:
        """Until the last of the partitions went on after its longest pause, which began at about that time."""
        longest: dict[int, tuple[float, float]] = {}
        for partition in self._times:
            pauses = self._pauses(since, since + 1.0, partition)
            longest[partition] = max(pauses, key=lambda pause: pause[1] - pause[0])
        return max(until for _, until in longest.values()) - since

    def _pauses(self, since: float, until: float, *partitions: int) -> Iterator[tuple[float, float]]:
        for partition in partitions or self._times:
            for first, second in pairwise(self._times[partition]):
                if second >= since and first <= until:
                    yield first, second


@asynccontextmanager
async def shown(settings: KafkaSettings) -> AsyncIterator[Changes]:
    """Follows `quota.profile-changes`."""
    changes = Changes()
    consumer = AIOKafkaConsumer(
        **settings.client(), isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(settings.topic(CHANGES), number) for number in range(settings.partitions)])

    async def follow() -> None:
        while True:
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    changes.note(place.partition, record.timestamp / 1000, orjson.loads(record.value))

    task = asyncio.create_task(follow())
    try:
        yield changes
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await consumer.stop()


async def _audit(ours: Installation, fleet: Fleet, rounds: int, seen: Progress, changes: Changes) -> str:
    """What is lost, doubled or too much."""
    await seen.reached(await ours.ends())
    sent = sum(round_.in_ + round_.out for round_ in fleet.rounds(rounds))
    names = fleet.names()
    log = await KafkaLog.open(ours.settings)
    counted = np.zeros(fleet.services, np.int64)
    try:
        for partition, group in enumerate(fleet.groups()):
            tracker = await load(log, partition, lambda service: wire.partition_of(service, PARTITIONS))
            for number in group:
                view = tracker.service(names[number])
                counted[number] = 0 if view is None else view.accepted_in + view.accepted_out
    finally:
        await log.close()
    expected = fleet.changes(rounds)
    wrong = {
        "services with lost bytes": int(np.count_nonzero(counted < sent)),
        "services with doubled bytes": int(np.count_nonzero(counted > sent)),
        "changes missing": len(expected.keys() - changes.shown.keys()),
        "changes too many": len(changes.shown.keys() - expected.keys()),
    }
    again = (changes.shown - expected).total()
    found = [f"{many} {what}" for what, many in wrong.items() if many] or ["nothing lost, nothing doubled"]
    return ", ".join([*found, f"{again} changes shown twice"])
