"""Services are polled by whoever has their partition: by one, by another after it, even by two at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from stream import wire
from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.ports import Role
from tests.collector.rig import HOUR, Site, book_of, collecting, local, warped

START = "2026-03-15T10:02:30"


class MovingLog(MemoryLog):
    """Hands out the partitions that a test puts into `turns`, one set after the other."""

    def __init__(self, clock: WarpClock) -> None:
        super().__init__(clock, partitions=2)
        self.turns: asyncio.Queue[frozenset[int]] = asyncio.Queue()

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        while True:
            yield await self.turns.get()


def test_a_partition_that_comes_goes_and_comes_back() -> None:
    """Its services are polled while it is ours, and made up for when it is ours again."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=600.0), MovingLog(clock)
        site.world.populate(8, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (collector, _):
            log.turns.put_nowait(frozenset({0, 1}))
            await asyncio.sleep(3600)
            log.turns.put_nowait(frozenset({1}))
            await asyncio.sleep(3600)
            ours = set(collector.pollers[0].roster.services)
            for name, row in (await book_of(log)).rows.items():
                assert row.current is not None
                is_ours = wire.partition_of(name, 2) == 1
                assert is_ours == (name in ours)
                assert row.current.end == local("2026-03-15T11:50" if is_ours else "2026-03-15T10:50")
            log.turns.put_nowait(frozenset())
            await asyncio.sleep(20 * 3600)
            assert collector.pollers[0].roster.services == {}
            log.turns.put_nowait(frozenset({0, 1}))
            await asyncio.sleep(1800)
        book = await book_of(log)
        assert len(book.rows) == len(book.registrations) == 8
        for row in book.rows.values():
            assert row.current is not None
            assert row.current.end == local("2026-03-16T08:20")
            assert row.accepted == site.truth(row, local("2026-03-15"))
        assert book.stale == []

    warped(main, START)


def test_half_a_list_is_noticed_by_whoever_has_little_of_it() -> None:
    """A lasting half list lacks two of our five services, which may happen, but four of all ten: none goes."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=2 * HOUR), MovingLog(clock)
        site.world.populate(10, since=local("2026-03-10"))
        log.turns.put_nowait(frozenset({1}))
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(3600)
            site.app.faults.inject("half_list", call="GET /vm/v3/host$")
            await asyncio.sleep(9 * 3600)
            assert (seen.cycles[-1][1].services, seen.cycles[-1][1].absent, seen.cycles[-1][1].machines) == (5, 2, 6)
            assert seen.alarms == [("vm1", "short_list", True)]
            site.app.faults.clear()
            await asyncio.sleep(600)
            assert seen.alarms[1:] == [("vm1", "short_list", False)]
        assert (await book_of(log)).gone == []

    warped(main, START)


def test_two_collectors_at_once_do_no_harm() -> None:
    """Both poll the same services, over midnight too: every byte is counted once."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=900.0), MemoryLog(clock, partitions=2)
        site.world.populate(3, since=local("2026-03-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(100)
            async with collecting(clock, log, site, seed=2):
                await asyncio.sleep(17 * 3600)
        book = await book_of(log)
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))
        assert book.stale == []

    warped(main, START)


def test_a_cycle_that_takes_too_long_does_not_pile_up() -> None:
    """Too slow a pace: an alarm, and everybody is read in turn, as often as the pace allows; enough pace ends it."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, requests_per_second=0.05), MemoryLog(clock)
        machines = [site.world.create(since=local("2026-03-10")) for _ in range(20)]
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(5 * 3600)
            assert seen.alarms == [("vm1", "overrun", True)]
            calls = [call.path for _, call, _ in site.app.calls if call.path.endswith("/metrics")]
            counts = [calls.count(f"/vm/v3/host/{machine}/metrics") for machine in machines]
            assert sum(counts) > 0.85 * 0.05 * 5 * 3600
            assert min(counts) > 0.7 * max(counts)
            for machine in machines[:14]:
                site.world.delete(machine)
            await asyncio.sleep(1200)
            site.app.calls.clear()
            await asyncio.sleep(2400)
            asked = {call.path for _, call, _ in site.app.calls if call.path.endswith("/metrics")}
            assert asked == {f"/vm/v3/host/{machine}/metrics" for machine in machines[14:]}, "nothing was queued twice"
            assert seen.alarms[1] == ("vm1", "short_list", True)
            assert seen.alarms[2] == ("vm1", "overrun", False)

    warped(main, START)


@pytest.mark.parametrize("restarts", [1, 7])
def test_restarts_cost_nothing_but_a_few_repeats(restarts: int) -> None:
    """Killed again and again, at any moment: nothing is lost, nothing stale, nothing registered twice."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=900.0), MemoryLog(clock, partitions=2)
        site.world.populate(4, since=local("2026-03-10"))
        for number in range(restarts):
            async with collecting(clock, log, site, seed=number):
                await asyncio.sleep(20 * 3600 / restarts + number * 137.7)
        book = await book_of(log)
        assert len(book.registrations) == 4
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))
            assert row.gap_ms == 0
        assert book.stale == []

    warped(main, START)
