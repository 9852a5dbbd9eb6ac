"""A replica shows what trackers have made durable: the same, to the last number."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.adapters.memory import MemoryLog
from stream.core.model import Record as Read
from stream.replica.model import Query
from stream.replica.replica import Replica
from tests.core.histories import Author
from tests.core.strategies import Draft, drafts
from tests.replica.stage import Counting, Fixed, caught_up, following, names


async def shown(replica: Replica) -> dict[str, Any]:
    found = replica.search(Query(limit=1000))
    assert found.total == len(found.rows)
    statuses = {row.service: replica.service(row.service) for row in found.rows}
    for row in found.rows:
        status = statuses[row.service]
        assert status is not None
        view = status.view
        assert [(it.plan, it.profile, it.usage_bytes, it.quota_bytes) for it in row.plans] == [
            (it.plan, it.profile, it.usage_bytes, it.quota_bytes) for it in view.plans
        ]
        assert (row.speed, row.source, row.labels) == (view.speed, view.source, view.labels)
        assert row.counted_to == (view.current.end if view.current else None)
    return {name: status.view for name, status in statuses.items() if status}


def records_of(draft: Draft, services: list[str]) -> list[Read]:
    return [Read(each.offset, each.appended, None, each.encoded()) for each in Author(draft, services).write()]


@settings(max_examples=20)
@given(
    st.lists(drafts, min_size=1, max_size=3), st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 9)
)
def test_equal_to_the_trackers(written: list[Draft], steps: list[int], few: int) -> None:
    """After each checkpoint of any history, in any partition, every service and every sum is the trackers'."""

    async def follow_them() -> None:
        log = MemoryLog(Fixed(), partitions=len(written))
        trackers = [Counting(log, partition) for partition in range(len(written))]
        left = [
            records_of(draft, [*names(partition, len(written), 2), *names(partition, len(written), 1, "vm2")])
            for partition, draft in enumerate(written)
        ]
        async with following(log) as replica:
            for size in [*steps, 10_000]:
                for tracker, records in zip(trackers, left, strict=True):
                    tracker.take(records[:size])
                    del records[:size]
                    await tracker.checkpoint(few=few)
                await caught_up(replica)
                await compare(replica, trackers)
        async with following(log) as replica:
            await compare(replica, trackers)

    asyncio.run(follow_them())


async def compare(replica: Replica, trackers: list[Counting]) -> None:
    expected = {name: view for tracker in trackers for name, view in tracker.views().items()}
    found = await shown(replica)
    assert found.keys() == expected.keys()
    for name, view in expected.items():
        assert found[name] == view
    population: dict[tuple[str, str], int] = {}
    for tracker in trackers:
        for key, count in tracker.tracker.population().items():
            population[key] = population.get(key, 0) + count
    assert {key: count for key, count in replica.population().items() if count} == {
        key: count for key, count in population.items() if count
    }
    sources = {source.name: (source.counted_to, source.services) for source in replica.sources()}
    counted: dict[str, tuple[int | None, int]] = {}
    for tracker in trackers:
        for name, (end, services) in tracker.tracker.sources().items():
            before, known = counted.get(name, (None, 0))
            counted[name] = min((each for each in (before, end) if each is not None), default=None), known + services
    assert sources == counted
    assert replica.plans().versions == [tracker.tracker.plans_version for tracker in trackers]
