"""When an owner writes: soon after a decision, now and then otherwise, at its end, and else not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.ports import CHANGES, DELTAS, STATE, Clock, Message
from stream.runtime.partition import TrackerSettings, own
from tests.runtime.history import HOURLY, START_MS, record, registration, totals
from tests.runtime.lives import Ran, Unseen, next_offset
from tests.runtime.watched import JournalledLog

SETTINGS = TrackerSettings(checkpoint_every_s=5.0, decision_delay_s=0.2)
CALM = [record({"type": "plans", "version": 1, "plans": {"hourly": HOURLY}}), record(registration(1, "hourly"))]
"""After these, 1000 bytes are free."""

_T = TypeVar("_T")


class Late:
    """A clock that is so many ms ahead of the log's: every record comes as late as that."""

    def __init__(self, clock: Clock, late_ms: int) -> None:
        self._clock, self._late_ms = clock, late_ms

    def now(self) -> int:
        return self._clock.now() + self._late_ms


class Owned:
    """A partition with its owner, which has seen CALM and has nothing to write."""

    def __init__(self, clock: Clock, log: JournalledLog | None = None, *, late_ms: int = 0) -> None:
        self.clock, self.late = clock, Late(clock, late_ms)
        self.log = log or JournalledLog(clock)
        self.stop = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Owned:
        await self.log.append(DELTAS, 0, CALM)
        self._owner = asyncio.create_task(
            own(self.log, 0, settings=SETTINGS, clock=self.late, observer=Unseen(), stop=self.stop)
        )
        await asyncio.sleep(60)
        self.began = self.clock.now()
        self.before = len(self.log.journal)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._owner is not None
        self.stop.set()
        await self._owner

    async def poll(self, minute: int, bytes_: int) -> None:
        await self.log.append(DELTAS, 0, [record(totals(minute, bytes_))])

    def written(self, topic: str) -> list[int]:
        """How many ms after the beginning something was written there."""
        return [at - self.began for at, where, _ in self.log.journal[self.before :] if where == topic]


def warped(main: Callable[[WarpClock], Coroutine[Any, Any, _T]]) -> _T:
    return run_warped(main, start_ms=START_MS)


def test_a_decision_is_shown_soon() -> None:
    """0.2 s after the oldest decision it is durable and shown, with all that came meanwhile.

    What was shown is forgotten by the next checkpoint, for which there is no hurry.
    """

    async def main(clock: WarpClock) -> None:
        async with Owned(clock) as owned:
            await owned.poll(1, 1500)
            await asyncio.sleep(0.15)
            await owned.poll(2, 3000)
            await asyncio.sleep(0.15)
            await owned.poll(3, 3100)
            await asyncio.sleep(60)
            assert owned.written(CHANGES) == [200]
            assert owned.written(STATE) == [200, 5200]

    warped(main)


@pytest.mark.parametrize(
    ("late_s", "after_ms"), [(-3600, 200), (2, 200), (10, 1000), (49, 4900), (51, 5000), (3600, 5000)]
)
def test_a_decision_that_is_late_waits_for_a_tenth_of_that(late_s: int, after_ms: int) -> None:
    """0.2 s at least, and as long as all else waits at most."""

    async def main(clock: WarpClock) -> None:
        async with Owned(clock, late_ms=1000 * late_s) as owned:
            await owned.poll(1, 1500)
            await asyncio.sleep(60)
            assert owned.written(CHANGES) == [after_ms]

    warped(main)


def test_what_decides_nothing_is_made_durable_now_and_then() -> None:
    """A checkpoint every 5 s while something is counted, the first one 5 s after the first change."""

    async def main(clock: WarpClock) -> None:
        async with Owned(clock) as owned:
            for minute in range(1, 13):
                await owned.poll(minute, minute)
                await asyncio.sleep(1)
            await asyncio.sleep(60)
            assert owned.written(STATE) == [5000, 10000, 15000]
            assert owned.written(CHANGES) == []

    warped(main)


def test_a_decision_hastens_a_checkpoint_that_is_due_later() -> None:
    """And one that is due earlier takes the decision along."""

    async def main(clock: WarpClock) -> None:
        async with Owned(clock) as owned:
            await owned.poll(1, 10)
            await asyncio.sleep(1)
            await owned.poll(2, 1500)
            await asyncio.sleep(8)  # at 9 s; what was shown at 1.2 s is forgotten at 6.2 s
            await owned.poll(3, 1600)
            await asyncio.sleep(4.9)
            await owned.poll(4, 3000)
            await asyncio.sleep(60)
            assert owned.written(CHANGES) == [1200, 14000]
            assert owned.written(STATE) == [1200, 6200, 14000, 19000]

    warped(main)


def test_nothing_is_written_when_nothing_happens() -> None:
    """Not in a day."""

    async def main(clock: WarpClock) -> None:
        async with Owned(clock) as owned:
            await asyncio.sleep(86_400)
            assert owned.log.journal[owned.before :] == []

    warped(main)


def test_a_stop_makes_a_last_checkpoint() -> None:
    """What was counted is durable when the owner has ended, and what was decided is shown; at once."""

    async def main(clock: WarpClock) -> None:
        async with Owned(clock) as owned:
            await owned.poll(1, 1500)
            await asyncio.sleep(0.01)
        assert owned.written(CHANGES) == [10]
        assert set(owned.written(STATE)) == {10}
        ran = Ran(owned.log.journal)
        assert next_offset(ran.state) == len(CALM) + 1
        again = await owned.log.bounds(CHANGES, 0)
        async with asyncio.timeout(1):
            await own(owned.log, 0, settings=SETTINGS, clock=clock, observer=Unseen(), stop=owned.stop)
        assert await owned.log.bounds(CHANGES, 0) == again, "after an orderly end nothing is shown again"

    warped(main)


class Gapped(JournalledLog):
    """Leaves an offset out after each append, as Kafka does after a transaction."""

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        await super().append(topic, partition, messages)
        stream = self._stream(topic, partition)
        stream.end += 1
        stream.arrival.set()
        stream.arrival = asyncio.Event()
        return stream.end


def test_a_drain_ends_in_a_gap() -> None:
    """Where the log ends with an offset that holds nothing, its end is reached, durable, and nothing to do again."""

    async def main(clock: WarpClock) -> None:
        log = Gapped(clock)
        end = await log.append(DELTAS, 0, CALM)
        for _ in range(2):
            async with asyncio.timeout(0.1):
                await own(log, 0, settings=SETTINGS, clock=clock, observer=Unseen(), stop=asyncio.Event(), until=end)
            assert next_offset(Ran(log.journal).state) == end == len(CALM) + 1

    warped(main)


def test_a_gap_becomes_durable_in_its_time() -> None:
    """What brings nothing but another offset waits for a checkpoint like any other record, and brings about one."""

    async def main(clock: WarpClock) -> None:
        log = Gapped(clock)
        async with Owned(clock, log) as owned:
            await log.append(DELTAS, 0, [])
            await asyncio.sleep(3600)
            assert owned.written(STATE) == [5000]
            assert next_offset(Ran(log.journal).state) == len(CALM) + 2

    warped(main)


def test_a_drain_ends_at_its_end() -> None:
    """An owner with an end leaves as soon as everything before it is durable and shown; what is behind may wait."""

    async def main(clock: WarpClock) -> None:
        log = JournalledLog(clock)
        await log.append(DELTAS, 0, [*CALM, record(totals(1, 1500)), Message(None, b"no JSON")])
        _, end = await log.bounds(DELTAS, 0)
        async with asyncio.timeout(0.1):
            await own(log, 0, settings=SETTINGS, clock=clock, observer=Unseen(), stop=asyncio.Event(), until=end)
        ran = Ran(log.journal)
        assert next_offset(ran.state) == end
        assert len(ran.said(CHANGES)) == 2
        before = len(log.journal)
        for nothing_to_do in (end, 0):
            async with asyncio.timeout(0.1):
                await own(
                    log, 0, settings=SETTINGS, clock=clock, observer=Unseen(), stop=asyncio.Event(), until=nothing_to_do
                )
        assert log.journal[before:] == []

    warped(main)
