"""What operators wish is waited for in the log: when it is counted, whether it did anything, why it was refused."""

from __future__ import annotations

import asyncio
import json

import pytest

from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.core.errors import Misconfigured
from stream.ports import DELTAS, STATE, Message
from stream.runtime.checkpoint import META
from stream.runtime.operating import Operating, Wish, counted


async def test_counted_means_applied() -> None:
    """A checkpoint that ends right before the record, or one from before it was written, is not the one."""
    log = MemoryLog(clock=SystemClock(), partitions=1)

    def meta(next_offset: int) -> list[Message]:
        return [Message(b"7/a/0", b"a page"), Message(META, json.dumps({"next_offset": next_offset}).encode())]

    start = await log.append(STATE, 0, meta(9))
    waiting = asyncio.create_task(counted(log, 0, 5, start))
    for next_offset, applied in ((4, False), (5, False), (6, True)):
        await log.append(STATE, 0, meta(next_offset))
        done, _ = await asyncio.wait({waiting}, timeout=0.1 if not applied else 10)
        assert bool(done) == applied, next_offset


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(service="vm1", kind="reset"), "service is no service id"),
        (Wish(service="vm1/1", kind="raise"), "kind is unknown"),
        (Wish(service="vm1/1", kind="credit", bytes=0), "bytes is out of bounds"),
        (Wish(service="vm1/1", kind="reset", at=4_000_000_000_000), "at lies too far ahead"),
    ],
)
async def test_what_cannot_be_understood_is_not_written(wish: Wish, reason: str) -> None:
    """It is said to whoever wishes it, and the log stays as it was."""
    log = MemoryLog(clock=SystemClock(), partitions=1)
    with pytest.raises(Misconfigured, match=reason):
        await Operating(log, clock=SystemClock(), max_ahead_ms=3_600_000).adjust(wish, by="anna", wait_s=None)
    assert await log.bounds(DELTAS, 0) == (0, 0)


async def test_who_does_not_wait_is_told_where_it_stands() -> None:
    """A new id is made for each wish without one; what nobody counts in time is not said to be counted."""
    log = MemoryLog(clock=SystemClock(), partitions=1)
    operating = Operating(log, clock=SystemClock(), max_ahead_ms=3_600_000)
    first = await operating.adjust(Wish(service="vm1/1", kind="reset"), by="anna", wait_s=None)
    second = await operating.adjust(Wish(service="vm1/1", kind="reset"), by="anna", wait_s=0.01)
    assert [(one.offset, one.counted, one.repeated) for one in (first, second)] == [
        (0, False, False),
        (1, False, False),
    ]
    assert first.id != second.id
