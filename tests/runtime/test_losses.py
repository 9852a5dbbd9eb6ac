"""Input that the log no longer has, or never had: told with its offsets, and passed over only where that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import structlog

from stream.adapters.clock import WarpClock, run_warped
from stream.core.errors import Truncated
from stream.ports import DELTAS
from stream.runtime.partition import own
from tests.runtime.history import HOURLY, START_MS, record, registration, totals
from tests.runtime.lives import SETTINGS, Punctual, Ran, Unseen, next_offset, restored
from tests.runtime.watched import JournalledLog

CALM = [record({"type": "plans", "version": 1, "plans": {"hourly": HOURLY}}), record(registration(1, "hourly"))]
ACCEPTING = replace(SETTINGS, accept_loss=True)


def on_a_log(main: Callable[[JournalledLog], Coroutine[Any, Any, None]]) -> None:
    """A log whose first two records are counted, whose next two are gone, and which has two more."""

    async def with_log(clock: WarpClock) -> None:
        log = JournalledLog(clock)
        await log.append(DELTAS, 0, CALM)
        await track(log)
        await log.append(DELTAS, 0, [record(totals(1, 500)), record(totals(2, 700))])
        stream = log._stream(DELTAS, 0)
        stream.expire(2 * START_MS, stream.end)
        await log.append(DELTAS, 0, [record(totals(3, 900)), record(totals(4, 950))])
        await main(log)

    run_warped(with_log, start_ms=START_MS)


async def track(log: JournalledLog, settings: Any = SETTINGS) -> None:
    """To the end as it is now."""
    _, end = await log.bounds(DELTAS, 0)
    await own(log, 0, settings=settings, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=end)


def test_a_loss_is_told() -> None:
    """Which offsets of which partition, what to do, and nothing is written."""

    async def main(log: JournalledLog) -> None:
        before = list(log.journal)
        with pytest.raises(Truncated) as raised:
            await track(log)
        assert str(raised.value) == (
            "traffic.deltas/0: offsets 2 to 3 were removed before they were counted; put a copy of the log back that "
            "has them, or start once with `--accept-loss` to count on from offset 4 without them"
        )
        assert log.journal == before

    on_a_log(main)


def test_a_loss_on_the_way_is_told_just_so() -> None:
    """Whoever reads too slowly hears the same as who comes too late."""

    async def main(log: JournalledLog) -> None:
        await track(log, ACCEPTING)
        owner = asyncio.create_task(
            own(log, 0, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=asyncio.Event())
        )
        await asyncio.sleep(60)
        stream = log._stream(DELTAS, 0)
        log._store(DELTAS, 0, [record(totals(5, 1000))])
        stream.expire(2 * START_MS, stream.end)
        with pytest.raises(Truncated, match=r"offsets 6 to 6 were removed before they were counted.*`--accept-loss`"):
            await owner

    on_a_log(main)


def test_a_loss_can_be_accepted() -> None:
    """Then what is left is counted, a warning names what was not, and it is over: nobody has to accept it again."""

    async def main(log: JournalledLog) -> None:
        with structlog.testing.capture_logs() as lines:
            await track(log, ACCEPTING)
        (said,) = [line for line in lines if line["event"] == "input.lost"]
        assert (said["log_level"], said["partition"], said["first_lost"], said["last_lost"]) == ("warning", 0, 2, 3)
        state = Ran(log.journal).state
        view = restored(state).tracker.service("vm1/1")
        assert next_offset(state) == 6
        assert view is not None
        assert view.accepted_in == 950
        with structlog.testing.capture_logs() as lines:
            await track(log)
            await track(log, ACCEPTING)
        assert {line["event"] for line in lines} == {"partition.restored"}

    on_a_log(main)


def test_an_accepted_loss_is_durable_without_more() -> None:
    """Also when nothing is left to count."""

    async def main(log: JournalledLog) -> None:
        stream = log._stream(DELTAS, 0)
        stream.expire(2 * START_MS, stream.end)
        await track(log, ACCEPTING)
        await track(log)
        assert next_offset(Ran(log.journal).state) == 6

    on_a_log(main)


def test_a_log_that_is_not_the_one_is_never_accepted() -> None:
    """Where more was counted than the log ever had, its offsets mean something else."""

    async def main(log: JournalledLog) -> None:
        await track(log, ACCEPTING)
        stream = log._stream(DELTAS, 0)
        stream.end, stream.first = 3, 0
        stream.records.clear()
        for settings in (SETTINGS, ACCEPTING):
            with pytest.raises(Truncated, match=r"6 is next to read, kept are 0 to 3; .*another one"):
                await own(log, 0, settings=settings, clock=Punctual(), observer=Unseen(), stop=asyncio.Event())

    on_a_log(main)
