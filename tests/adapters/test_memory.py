"""The log in memory: the contract, and the seams by which a simulation makes it bad."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.core.errors import Unavailable
from stream.ports import CHANGES, STATE, Message
from tests.adapters.contract import LogContract
from tests.adapters.embedded import EmbeddedContract
from tests.adapters.world import PARTITIONS, START_MS, EmbeddedWorld, SettableClock, messages, read_all, values


class TestMemoryLog(EmbeddedContract):
    """The contract, over one object that everybody shares."""

    @pytest.fixture
    async def world(self) -> AsyncIterator[EmbeddedWorld]:
        """A new log."""
        clock = SettableClock()
        log = MemoryLog(clock, partitions=PARTITIONS)
        yield EmbeddedWorld(log, log, clock)
        await log.close()


class GappedLog(MemoryLog):
    """A log that leaves an offset out after whatever is stored, as Kafka does after a transaction."""

    def _store(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        super()._store(topic, partition, messages)
        self._stream(topic, partition).end += 1


class TestGappedLog(LogContract):
    """The contract, over the seam by which a log has gaps."""

    @pytest.fixture
    async def world(self) -> AsyncIterator[EmbeddedWorld]:
        """A new log."""
        clock = SettableClock()
        log = GappedLog(clock, partitions=PARTITIONS)
        yield EmbeddedWorld(log, log, clock)
        await log.close()


class TornLog(MemoryLog):
    """A log that tears the next write apart after `survivors` records."""

    survivors: int | None = None

    def _store(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        if self.survivors is None:
            return super()._store(topic, partition, messages)
        super()._store(topic, partition, messages[: self.survivors])
        self.survivors = None
        raise Unavailable("the transaction timed out")


async def test_torn_write() -> None:
    """A simulation can let any prefix of a write survive, with one override."""
    log = TornLog(SettableClock())
    async with log.take_over("tracker", 0) as lease:
        log.survivors = 2
        with pytest.raises(Unavailable):
            await lease.write(STATE, [Message(b"page", b"1"), Message(b"out", b"1"), Message(b"meta", b"1")])
        assert await lease.snapshot(STATE) == {b"page": b"1", b"out": b"1"}
        await lease.write(CHANGES, messages("whole again"))
    assert values(await read_all(log, CHANGES, 0)) == ["whole again"]


def test_same_program_same_run() -> None:
    """On a warped loop, a run with many tasks gives the same records at the same times each time."""

    async def main(clock: WarpClock) -> list[tuple[int, list[str]]]:
        log = MemoryLog(clock)

        async def appender(number: int) -> None:
            for index in range(20):
                await asyncio.sleep(0.1 * (number + 1))
                await log.append(CHANGES, 0, messages(f"{number}/{index}"))

        await asyncio.gather(*(appender(number) for number in range(5)))
        return [(record.timestamp, values([record])) for record in await read_all(log, CHANGES, 0)]

    first, second = (run_warped(main, start_ms=START_MS) for _ in range(2))
    assert first == second
    assert len(first) == 100
    assert first[-1][0] == START_MS + 10_000


async def test_compaction_when_it_is_worth_while() -> None:
    """The latest values stay, and memory does not grow with every checkpoint."""
    log = MemoryLog(SettableClock())
    for generation in range(2000):
        await log.append(STATE, 0, [Message(b"page", str(generation).encode()), Message(b"meta", b"1")])
    assert len(await read_all(log, STATE, 0)) < 2000
    assert await log.snapshot(STATE, 0) == {b"page": b"1999", b"meta": b"1"}
