"""What is broken harms only itself, and is visible; what the log refuses is published when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.core.errors import Unavailable
from stream.ports import Listing, Message
from stream.runtime.listings import Listings
from tests.collector.rig import Site, book_of, collecting, local, warped

START = "2026-03-15T10:02:30"


def test_a_broken_platform_holds_up_no_other() -> None:
    """One does not answer at all, one answers nonsense; the third is polled on time."""

    async def main(clock: WarpClock) -> None:
        sites = [Site(clock, name=name) for name in ("mute", "mad", "well")]
        for site in sites:
            site.world.populate(2, since=local("2026-03-10"))
        sites[0].app.faults.inject("unanswered")
        sites[1].app.faults.inject("html")
        log = MemoryLog(clock)
        async with collecting(clock, log, *sites) as (_, seen):
            await asyncio.sleep(3 * 3600)
        book = await book_of(log)
        assert {name.partition("/")[0] for name in book.rows} == {"well"}
        for row in book.rows.values():
            assert row.current is not None
            assert row.current.end == local("2026-03-15T12:55")
        assert sorted(seen.alarms) == [("mad", "unavailable", True), ("mute", "unavailable", True)]

    warped(main, START)


@pytest.mark.parametrize("effect", ["unanswered", "unavailable"])
def test_machines_that_never_answer_hold_up_no_other(effect: str) -> None:
    """A third of the machines hangs, with fewer workers than that; the others keep their pace."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=60.0, workers=3), MemoryLog(clock)
        site.world.populate(12, since=local("2026-03-10"))
        ill = [machine.id for machine in site.world.machines()[:4]]
        async with collecting(clock, log, site) as (collector, seen):
            await asyncio.sleep(600)
            site.app.faults.inject(
                "unanswered" if effect == "unanswered" else "unavailable", call=f"/({'|'.join(map(str, ill))})/metrics"
            )
            await asyncio.sleep(3 * 3600)
            causes = [collector.pollers[0].roster.services[f"vm1/{machine}"].cause for machine in ill]
        assert all(("503" if effect == "unavailable" else "no answer within 10 s") in cause for cause in causes)
        assert seen.cycles[-1][1].failing == 4
        assert seen.reads.count(("vm1", "failed")) < 4 * 3 * 20, "they are asked less and less often"
        for name, row in (await book_of(log)).rows.items():
            assert row.current is not None
            late_ms = clock.now() - row.current.end
            assert late_ms < 12 * 60_000 or int(name[4:]) in ill, (name, late_ms)

    warped(main, START)


class FickleLog(MemoryLog):
    """Refuses appends while it is told to, before or after it has stored them."""

    refuses: str | None = None

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        if self.refuses == "before":
            raise Unavailable("the disk is full")
        end = await super().append(topic, partition, messages)
        if self.refuses == "after":
            raise Unavailable("no answer")
        return end


@pytest.mark.parametrize("refuses", ["before", "after"])
def test_a_log_that_refuses_for_hours_gets_everything_later(refuses: str) -> None:
    """Over midnight too; what had been stored all the same is repeated, and harms nothing."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=1800.0), FickleLog(clock, partitions=2)
        site.world.populate(4, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(3600)
            log.refuses = refuses
            site.world.create(name="new")
            await asyncio.sleep(14 * 3600)
            log.refuses = None
            await asyncio.sleep(3600)
        assert seen.failed_appends > 1000
        book = await book_of(log)
        assert len(book.rows) == 5
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))
            assert row.current is not None
            assert row.current.end == local("2026-03-16T01:30")
        assert book.stale == []

    warped(main, START)


def test_nothing_more_is_read_than_the_log_may_still_get(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log refuses, what waits is bounded, and the platform is left in peace; then all is made up for."""
    monkeypatch.setattr("stream.runtime.publisher.LIMIT", 20)

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), FickleLog(clock)
        site.world.populate(4, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(600)
            log.refuses = "before"
            await asyncio.sleep(6 * 3600)
            assert len(seen.reads) < 60
            log.refuses = None
            await asyncio.sleep(1800)
        for row in (await book_of(log)).rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))
            assert row.current is not None
            assert row.current.end == local("2026-03-15T16:35")

    warped(main, START)


class Lists:
    """A platform of which only the list matters: each call takes as long as it is told to."""

    def __init__(self) -> None:
        self.name = "vm1"
        self.calls = 0
        self.release = asyncio.Event()

    async def list(self) -> Listing:
        self.calls += 1
        number = self.calls
        await self.release.wait()
        return Listing(number, {})


async def test_who_comes_during_a_call_shares_the_next_one() -> None:
    """Never the call that was under way: it may not show what was done since."""
    platform = Lists()
    listings = Listings(platform)
    first = asyncio.create_task(listings.now())
    await asyncio.sleep(0)
    later = [asyncio.create_task(listings.now()) for _ in range(3)]
    await asyncio.sleep(0)
    platform.release.set()
    assert (await first).began_at == 1
    assert [(await task).began_at for task in later] == [2, 2, 2]


async def test_to_give_up_a_list_does_not_cancel_it_for_others() -> None:
    """One of two callers is cancelled; the other one gets the list."""
    platform = Lists()
    listings = Listings(platform)
    leaves, stays = (asyncio.create_task(listings.now()) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    platform.release.set()
    assert (await stays).began_at in (1, 2)
    await listings.close()
