"""A replica on Kafka: equal to the trackers, through transactions, restarts and records that were removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stream import wire
from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import CHANGES, DEAD_LETTERS, STATE
from stream.replica import Replica
from stream.replica.model import Query
from tests.adapters.world import PARTITIONS
from tests.kafka.world import KafkaWorld, worlds
from tests.replica.stage import NOW, Counting, Fixed, caught_up, following, names
from tests.replica.test_index import beginning, everything, traffic


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """New topics."""
    async with worlds(settings) as world:
        yield world


async def checkpoint(world: KafkaWorld, tracker: Counting) -> None:
    """As a tracker makes it: in transactions of the partition's owner."""
    if tracker.letters:
        await world.log.append(DEAD_LETTERS, tracker.partition, tracker.letters)
    async with world.log.take_over("tracker", tracker.partition) as lease:
        await lease.write(STATE, tracker.staged())
        tracker.state.staged_is_durable()
        if tracker.outcomes:
            await lease.write(CHANGES, tracker.outcomes)
            tracker.state.published(len(tracker.outcomes))
    tracker.outcomes, tracker.letters = [], []


def compare(replica: Replica, trackers: list[Counting]) -> None:
    expected = {name: view for tracker in trackers for name, view in tracker.views().items()}
    statuses = {row.service: replica.service(row.service) for row in replica.search(Query(limit=1000)).rows}
    assert {name: status.view for name, status in statuses.items() if status} == expected


async def test_equal_to_the_trackers_through_restarts(world: KafkaWorld, tmp_path: Path) -> None:
    """Services and history as the trackers have them, while they go on and after a restart; every entry once."""
    trackers = [Counting(world.log, partition) for partition in range(PARTITIONS)]
    clock, told = Fixed(), 0
    for tracker in trackers:
        tracker.count(beginning(*names(tracker.partition, PARTITIONS, 3)))
        await checkpoint(world, tracker)
    for life in range(2):
        async with following(world.other, index=tmp_path / "i.db", clock=clock) as replica:
            for k in range(2):
                for tracker in trackers:
                    name = names(tracker.partition, PARTITIONS, 1)[0]
                    assert wire.partition_of(name, PARTITIONS) == tracker.partition
                    tracker.count([*traffic(range(2 * life + k, 2 * life + k + 1), name), b"no JSON"])
                    told += len(tracker.letters)
                    await checkpoint(world, tracker)
                await caught_up(replica)
                compare(replica, trackers)
            entries = await everything(replica, 1000)
            assert len({entry.id for entry in entries}) == len(entries)
            assert len((await replica.letters(limit=1000)).letters) == told
            assert replica.freshness().restored == PARTITIONS
            assert replica.freshness().as_of == NOW
    async with following(world.log, clock=clock) as replica:
        assert {entry.id for entry in await everything(replica, 1000)} == {entry.id for entry in entries}


async def test_what_was_removed_stays_in_the_index(world: KafkaWorld, tmp_path: Path) -> None:
    """Records of histories that Kafka has removed meanwhile are not missed, and the index is kept."""
    tracker = Counting(world.log)
    [name] = names(0, PARTITIONS, 1)
    tracker.count(beginning(name))
    tracker.count(traffic(range(3), name))
    await checkpoint(world, tracker)
    async with following(world.log, index=tmp_path / "i.db") as replica:
        before = await everything(replica, 1000)
    await world.expire(CHANGES, 0, (await world.log.bounds(CHANGES, 0))[1])
    tracker.count(traffic(range(3, 4), name))
    await checkpoint(world, tracker)
    async with following(world.log, index=tmp_path / "i.db") as replica:
        after = await everything(replica, 1000)
        assert {entry.id for entry in before} < {entry.id for entry in after}
        compare(replica, [tracker])
