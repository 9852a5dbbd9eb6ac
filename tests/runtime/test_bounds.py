"""What an owner holds, and what is counted of it, whatever its input is."""

from __future__ import annotations

import asyncio

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.core.errors import Unavailable
from stream.metrics import Metrics
from stream.ports import DEAD_LETTERS, DELTAS, Message, Record
from stream.runtime.partition import CHUNK, MOST_DEAD_LETTERS, SLICE_BYTES, own, slices
from tests.runtime.history import START_MS, record
from tests.runtime.lives import SETTINGS
from tests.runtime.watched import JournalledLog, Trouble, WatchedLog

MANY = 5 * MOST_DEAD_LETTERS
BAD = record({"service": "vm1/1"})


def test_slices_are_whole_and_bounded() -> None:
    """Every record once, in order; more than a slice's bytes only where one record has them."""
    records = [Record(n, START_MS, None, b"x" * (SLICE_BYTES if n % 5 == 0 else 9000), ()) for n in range(50)]
    cut = list(slices(records))
    assert [each for some in cut for each in some] == records
    assert all(len(some) == 1 or sum(len(each.value or b"") for each in some) <= SLICE_BYTES for some in cut)
    assert len(cut) > 10
    assert list(slices([])) == []


def test_few_dead_letters_wait_and_few_are_written_at_once() -> None:
    """However many come in one fetch."""

    async def main(clock: WarpClock) -> None:
        log = JournalledLog(clock)
        await log.append(DELTAS, 0, [Message(None, BAD.value, ())] * MANY)
        metrics = Metrics(clock).tracker
        await own(log, 0, settings=SETTINGS, clock=clock, observer=metrics, stop=asyncio.Event(), until=MANY)
        written = [len(messages) for _, topic, messages in log.journal if topic == DEAD_LETTERS]
        assert sum(written) == MANY
        assert max(written) == CHUNK
        topics = [topic for _, topic, _ in log.journal]
        first, last = topics.index(DEAD_LETTERS), len(topics) - topics[::-1].index(DEAD_LETTERS)
        assert set(topics[first:last]) > {DEAD_LETTERS}, "checkpoints in between"

    run_warped(main, start_ms=START_MS)


def test_keys_that_are_not_the_service_are_counted() -> None:
    """A meter with keys of its own is seen: its keys may lead to a partition where the service is unknown."""

    async def main(clock: WarpClock) -> None:
        log, metrics = MemoryLog(clock), Metrics(clock)
        flow = b'{"service":"vm1/1","start":0,"end":1000,"in":1,"out":1}'
        await log.append(DELTAS, 0, [Message(key, flow, ()) for key in (b"vm1/1", b"1", None, b"1")])
        await own(log, 0, settings=SETTINGS, clock=clock, observer=metrics.tracker, stop=asyncio.Event(), until=4)
        assert metrics.registry.get_sample_value("quota_stream_foreign_keys_total") == 2

    run_warped(main, start_ms=START_MS)


def test_what_is_dropped_is_counted_once_and_its_age_stays() -> None:
    """An attempt whose checkpoint fails counts nothing, and what waits is as old as it is for as long as it waits."""

    async def main(clock: WarpClock) -> None:
        log, metrics = MemoryLog(clock), Metrics(clock)
        metrics.assigned("tracker", frozenset({0}))
        await log.append(DELTAS, 0, [Message(None, BAD.value, ())])

        async def attempt(on: MemoryLog | WatchedLog) -> None:
            await own(on, 0, settings=SETTINGS, clock=clock, observer=metrics.tracker, stop=asyncio.Event(), until=1)

        def total() -> float:
            samples = (sample for family in metrics.registry.collect() for sample in family.samples)
            return sum(sample.value for sample in samples if sample.name == "quota_stream_dead_letters_total")

        for _ in range(3):
            with pytest.raises(Unavailable):  # the dead letter is said, the state is not written
                await attempt(WatchedLog(log, Trouble("refused", 7)))
            await asyncio.sleep(100)
        assert (await log.bounds(DEAD_LETTERS, 0))[1] == 3
        assert total() == 0
        assert "not durable" in metrics.tracker.problems(250)["tracker"]
        await attempt(log)
        assert total() == 1
        assert metrics.tracker.problems(0.1) == {}

    run_warped(main, start_ms=START_MS)
