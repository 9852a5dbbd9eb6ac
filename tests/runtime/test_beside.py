"""While a checkpoint is being written, its owner goes on counting: what comes meanwhile belongs to the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.core.errors import Unavailable
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Lease, Message, Role
from stream.runtime.beside import Beside
from stream.runtime.partition import MOST_DEAD_LETTERS, TrackerSettings, own
from tests.runtime.history import HOURLY, START_MS, record, registration, totals
from tests.runtime.lives import Punctual, Ran, Unseen, audit_order, next_offset, restored
from tests.runtime.watched import JournalledLog

SETTINGS = TrackerSettings(checkpoint_every_s=5.0, decision_delay_s=0.2)
TAKES_S = 1.0
CALM = [record({"type": "plans", "version": 1, "plans": {"hourly": HOURLY}}), record(registration(1, "hourly"))]
BAD = record({"service": "vm1/1"})


class SlowLease:
    def __init__(self, lease: Lease, log: SlowLog) -> None:
        self._lease, self._log = lease, log
        self.partition = lease.partition

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        return await self._lease.snapshot(topic)

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        if topic == STATE and self._log.is_slow:
            await asyncio.sleep(TAKES_S)
            if self._log.fails:
                raise Unavailable("the disk is gone")
        await self._lease.write(topic, messages)


class SlowLog(JournalledLog):
    """Whose writes of state take a while, or fail after that."""

    is_slow = False
    fails = False

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[Lease]:  # type: ignore[override]
        async with super().take_over(role, partition) as lease:
            yield SlowLease(lease, self)


@asynccontextmanager
async def owned(log: SlowLog) -> AsyncIterator[asyncio.Task[None]]:
    """By somebody who has seen CALM, has nothing to write, and is slow from now on."""
    stop = asyncio.Event()
    await log.append(DELTAS, 0, CALM)
    owner = asyncio.create_task(own(log, 0, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=stop))
    await asyncio.sleep(60)
    log.is_slow = True
    yield owner
    stop.set()
    await asyncio.wait({owner})


def written(log: SlowLog, topic: str, began: int) -> list[int]:
    return [at - began for at, where, _ in log.journal if where == topic and at >= began]


def test_what_comes_meanwhile_belongs_to_the_next() -> None:
    """A decision that is made during a write is staged when that is through, and none of the bytes is forgotten."""

    async def main(clock: WarpClock) -> None:
        log = SlowLog(clock)
        async with owned(log):
            began = clock.now()
            await log.append(DELTAS, 0, [record(totals(1, 1500))])
            await asyncio.sleep(0.7)
            await log.append(DELTAS, 0, [record(totals(2, 3000))])
            await asyncio.sleep(1)
            await log.append(DELTAS, 0, [record(totals(3, 3100))])  # brings no decision, and nothing comes after it
            await asyncio.sleep(3)
            assert written(log, CHANGES, began) == [1200, 2200]
            assert written(log, STATE, began)[:2] == [1200, 2200]
        ran = Ran(log.journal)
        view = restored(ran.state).tracker.service("vm1/1")
        assert view is not None
        assert view.accepted_in == 3100
        assert next_offset(ran.state) == len(CALM) + 3
        audit_order(ran, [])

    run_warped(main, start_ms=START_MS)


def test_a_stop_waits_for_what_is_under_way() -> None:
    """And makes the rest durable after it."""

    async def main(clock: WarpClock) -> None:
        log = SlowLog(clock)
        async with owned(log):
            began = clock.now()
            await log.append(DELTAS, 0, [record(totals(1, 1500))])
            await asyncio.sleep(0.7)
            await log.append(DELTAS, 0, [record(totals(2, 3000))])
            await asyncio.sleep(0.1)
        assert written(log, CHANGES, began) == [1200, 2200]
        assert written(log, STATE, began) == [1200, 2200, 3200]
        assert next_offset(Ran(log.journal).state) == len(CALM) + 2

    run_warped(main, start_ms=START_MS)


def test_an_error_ends_the_owner_at_once() -> None:
    """Also one who waits for records that do not come; nothing is shown."""

    async def main(clock: WarpClock) -> None:
        log = SlowLog(clock)
        async with owned(log) as owner:
            before, log.fails = len(log.journal), True
            await log.append(DELTAS, 0, [record(totals(1, 1500))])
            await asyncio.sleep(1.3)
            assert owner.done()
            assert isinstance(owner.exception(), Unavailable)
        assert [topic for _, topic, _ in log.journal[before:]] == [DELTAS]

    run_warped(main, start_ms=START_MS)


def test_whoever_is_cancelled_writes_nothing_more() -> None:
    """What was under way is given up with its owner."""

    async def main(clock: WarpClock) -> None:
        log = SlowLog(clock)
        async with owned(log) as owner:
            before = len(log.journal)
            await log.append(DELTAS, 0, [record(totals(1, 1500))])
            await asyncio.sleep(0.5)
            owner.cancel()
            await asyncio.sleep(10)
            assert owner.cancelled()
        assert [topic for _, topic, _ in log.journal[before:]] == [DELTAS]

    run_warped(main, start_ms=START_MS)


def test_what_waits_is_bounded() -> None:
    """When too much has come of what was applied, nothing is applied until the checkpoint before is through."""

    async def main(clock: WarpClock) -> None:
        log = SlowLog(clock)
        async with owned(log):
            for _ in range(10):
                await log.append(DELTAS, 0, [Message(None, BAD.value, ())] * MOST_DEAD_LETTERS)
            await asyncio.sleep(60)
        letters = [0]
        for _, topic, messages in log.journal:
            if topic == DEAD_LETTERS:
                letters[-1] += len(messages)
            elif topic == STATE:
                letters.append(0)
        assert sum(letters) == 10 * MOST_DEAD_LETTERS
        assert max(letters) < 4 * MOST_DEAD_LETTERS, "between two checkpoints"

    run_warped(main, start_ms=START_MS)


async def test_one_at_a_time() -> None:
    """Who begins a second piece of work has not asked whether the first one is through."""

    async def work() -> None: ...

    async with Beside() as beside:
        assert beside.is_free()
        beside.begin(work())
        second = work()
        with pytest.raises(AssertionError, match="one at a time"):
            beside.begin(second)
        second.close()
        await beside.end()
        assert beside.is_free()
