"""Following lets others run, whatever there is to read, and shows nothing before it is whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from stream.adapters.memory import MemoryLog
from stream.ports import STATE, Fetch, Record
from stream.replica import Replica, ReplicaSettings
from stream.replica.columns import Columns
from stream.replica.model import Query
from stream.replica.state import StateReader
from stream.runtime.checkpoint import META
from tests.replica.stage import NOW, Counting, Fixed, caught_up, following, until
from tests.replica.test_index import beginning, traffic


def with_labels(count: int) -> list[dict[str, Any]]:
    plans, *registrations = beginning(*(f"vm1/{number}" for number in range(count)))
    labels = {"name": "a name", "account": "an account", "rack": "7"}
    return [
        plans,
        *(one | {"labels": labels | {"ip": f"10.0.{n >> 8}.{n & 255}"}} for n, one in enumerate(registrations)),
    ]


@contextmanager
def stretches() -> Iterator[list[int]]:
    """How many functions were called in each stretch in which nobody else could run."""
    found, stop = [0], False

    def called(frame: object, event: str, argument: object) -> None:
        found[-1] += event == "call"

    async def others() -> None:
        while not stop:
            found.append(0)
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield found
    finally:
        sys.setprofile(before)
        stop = True
        task.cancel()


async def records_of(log: MemoryLog) -> list[Record]:
    found: list[Record] = []
    first, end = await log.bounds(STATE, 0)
    async with aclosing(log.read(STATE, 0, first, wait_s=0.01)) as fetches:
        while not found or found[-1].offset + 1 < end:
            found += (await anext(fetches)).records
    return found


async def test_a_large_partition_is_shown_in_short_stretches() -> None:
    """The longest stretch in which nobody else runs is as long for many pages as for a few: the first time, and when
    all is read again."""

    async def longest(services: int) -> list[int]:
        log = MemoryLog(Fixed())
        tracker = Counting(log)
        tracker.count(with_labels(services))
        await tracker.checkpoint()
        records = await records_of(log)
        columns = Columns()
        reader = StateReader(log, 0, columns, lambda news: None)
        found = []
        for _ in range(2):
            end = records[-1].offset + 1
            await reader.begin(0, end)
            with stretches() as stretch:
                await reader.take(records, end)
            assert reader.is_restored
            assert len(columns) == services
            found.append(max(stretch))
        return found

    few, many = await longest(2 * 256), await longest(12 * 256)
    assert [number < 1.5 * fewer for number, fewer in zip(many, few, strict=True)] == [True, True], (few, many)


class Overtaken(MemoryLog):
    """Whoever asks first is told of a former end of `quota.state`; what came after it is read when the gate opens."""

    former_end: int | None = None
    split = 0
    gate: asyncio.Event

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        first, end = await super().bounds(topic, partition)
        if topic == STATE and self.former_end is not None:
            end, self.former_end = self.former_end, None
        return first, end

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(super().read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for records, next_offset in fetches:
                if topic == STATE and not self.gate.is_set():
                    yield Fetch([record for record in records if record.offset < self.split], self.split)
                    await self.gate.wait()
                    records = [record for record in records if record.offset >= self.split]
                yield Fetch(records, next_offset)


async def test_a_checkpoint_that_is_replaced_while_it_is_read() -> None:
    """Nothing is shown, and nothing said to be known, until a whole one is read."""
    log = Overtaken(Fixed())
    tracker = Counting(log)
    tracker.count(beginning("vm1/1", "vm1/2"))
    await tracker.checkpoint()
    _, end = await log.bounds(STATE, 0)
    tracker.count(traffic(range(1)))
    await tracker.checkpoint()
    log.compact(STATE, 0)
    log.former_end, log.split, log.gate = end, end, asyncio.Event()
    replica, stop = Replica(log, index=None, clock=Fixed(), settings=ReplicaSettings()), asyncio.Event()
    task = asyncio.create_task(replica.follow(stop))
    _, progress = replica._readers[0]
    await until(lambda: progress.next_offset == end, "all that was there at first is read")
    reading = asyncio.create_task(replica.caught_up())
    await until(lambda: replica._readers[-1][1].seen > 1, "others have caught up")
    assert not reading.done()
    assert (replica.freshness().as_of, replica.freshness().restored) == (None, 0)
    log.gate.set()
    await reading
    assert (replica.freshness().as_of, replica.freshness().restored) == (NOW, 1)
    assert replica.search(Query()).total == 2
    stop.set()
    await task


async def test_a_first_checkpoint_that_was_never_finished() -> None:
    """There is nothing to be shown, which is said."""
    log = MemoryLog(Fixed())
    tracker = Counting(log)
    tracker.count(beginning("vm1/1"))
    records = tracker.staged()
    meta = [record.key for record in records].index(META)
    await log.append(STATE, 0, records[:meta])
    async with following(log) as replica:
        assert replica.freshness().restored == 1
        assert replica.search(Query()).total == 0
        await log.append(STATE, 0, records[meta:])
        await caught_up(replica)
        assert replica.search(Query()).total == 1
