"""What is published equals the ground truth, to the byte, whatever the platform does."""

from __future__ import annotations

import asyncio

import pytest

from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.simulator import Knobs
from tests.collector.book import Book
from tests.collector.rig import HOUR, MINUTE, STEP, Site, book_of, collecting, everything, local, warped


def assert_exact(site: Site, book: Book, start: int, upto: int | None = None) -> None:
    """Every service of the platform is complete from `start` to its counted end (which is `upto`)."""
    ours = [row for row in book.rows.values() if row.service.startswith(site.name + "/")]
    assert len(ours) == len(site.world.machines())
    for row in ours:
        assert row.current is not None, row.service
        assert row.accepted == site.truth(row, start), row.service
        assert upto is None or row.current.end == upto, row.service
    assert book.stale == []
    assert book.unregistered == []


def test_every_byte_of_a_day_is_counted_once() -> None:
    """Machines of all habits, one day: what was published adds up to what they sent."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=600.0), MemoryLog(clock, partitions=4)
        site.world.populate(8, since=local("2026-03-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(24 * 3600)
        assert_exact(site, await book_of(log), local("2026-03-15"), local("2026-03-16T09:50"))

    warped(main, "2026-03-15T10:02:30")


def test_a_month_is_right_on_the_first_poll() -> None:
    """A new service with a month's window is filled from the month's first day on, marked, oldest first."""

    async def main(clock: WarpClock) -> None:
        site = Site(clock, match=everything("hour", "month"))
        log = MemoryLog(clock)
        site.world.populate(5, since=local("2026-02-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(240)
        book = await book_of(log)
        assert_exact(site, book, local("2026-03-01"), local("2026-03-20T10:05"))
        for row in book.rows.values():
            assert [delta[:2] for delta in row.deltas] == sorted(delta[:2] for delta in row.deltas)
            assert [delta[4] for delta in row.deltas] == [True] * (len(row.deltas) - 1) + [False]
            today = [delta[1] for delta in row.deltas if delta[0] == local("2026-03-20")]
            slices = [local("2026-03-20T09:10") + place * 10 * MINUTE for place in range(6)]
            assert today == [*slices, local("2026-03-20T10:05")], "each slice of the hour is filled by itself"

    warped(main, "2026-03-20T10:07:30")


@pytest.mark.parametrize(
    ("begins", "midnight", "hours"),
    [("2026-03-28T20:02:30", "2026-03-29", 23), ("2026-10-24T20:02:30", "2026-10-25", 25)],
    ids=["spring", "autumn"],
)
@pytest.mark.parametrize("stamp", ["start", "end"])
def test_days_of_23_and_25_hours_are_exact(begins: str, midnight: str, hours: int, stamp: str) -> None:
    """Both changes of the clocks, five-minute samples, whichever end of a step is stamped."""

    async def main(clock: WarpClock) -> None:
        knobs = Knobs(timezone="Europe/Berlin", stamp="start" if stamp == "start" else "end")
        site, log = Site(clock, knobs=knobs, poll_s=900), MemoryLog(clock)
        site.world.populate(3, since=local("2026-03-01"))
        async with collecting(clock, log, site):
            await asyncio.sleep(33 * 3600 + 60)
        book = await book_of(log)
        assert_exact(site, book, local(begins[:10]), clock.now() // STEP * STEP)
        for row in book.rows.values():
            ends = {end for start, end, *_ in row.deltas if start == local(midnight)}
            assert max(ends) == local(midnight) + hours * HOUR

    warped(main, begins)


@pytest.mark.parametrize("late", [(20, 30 * MINUTE), (50, 5 * HOUR)], ids=["some by 30 minutes", "half by 5 hours"])
def test_late_points_are_counted(late: tuple[int, int]) -> None:
    """Points that can be read only later are added when they can, also those of the day before."""

    async def main(clock: WarpClock) -> None:
        knobs = Knobs(timezone="Europe/Berlin", late_percent=late[0], late_ms=late[1])
        site, log = Site(clock, knobs=knobs, poll_s=900.0), MemoryLog(clock)
        site.world.populate(5, since=local("2026-03-01"))
        async with collecting(clock, log, site):
            await asyncio.sleep(15 * 3600)
        book = await book_of(log)
        for row in book.rows.values():
            assert row.previous is not None
            assert row.previous[:2] == (local("2026-03-15"), local("2026-03-16"))
            machine = int(row.service.rpartition("/")[2])
            assert row.previous[2:] == site.world.bytes_between(machine, *row.previous[:2])
        assert book.stale == []

    warped(main, "2026-03-15T18:00")


def test_a_point_that_is_half_an_hour_late_is_counted() -> None:
    """One hidden point: missing while it is hidden, there afterwards."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), MemoryLog(clock)
        machine = site.world.create(since=local("2026-03-01"))
        start = local("2026-03-15T12:00")
        site.world.script(machine, start, start + STEP, 1_000_003, 2_000_005)
        site.app.faults.hide(start=start, end=start + STEP, until=start + STEP + 30 * MINUTE, vm=machine)
        async with collecting(clock, log, site):
            await asyncio.sleep(2.4 * 3600)
            row = (await book_of(log)).rows[f"vm1/{machine}"]
            true_in, true_out = site.truth(row, local("2026-03-15"))
            assert row.accepted == (true_in - 1_000_003, true_out - 2_000_005)
            await asyncio.sleep(0.5 * 3600)
        assert_exact(site, await book_of(log), local("2026-03-15"))

    warped(main, "2026-03-15T10:00")


def test_one_machine_without_metrics_for_two_hours() -> None:
    """The others go on, it stands still (neither zero nor more), and is complete afterwards, slice by slice."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), MemoryLog(clock)
        site.world.populate(5, since=local("2026-03-01"))
        ill = f"vm1/{site.world.machines()[2].id}"
        began, ends = local("2026-03-15T11:00"), local("2026-03-15T13:00")
        site.app.faults.inject("server_error", call=f"/host/{ill[4:]}/metrics", since=began, until=ends)
        async with collecting(clock, log, site) as (collector, _):
            await asyncio.sleep(2.9 * 3600)  # 12:55
            for name, row in (await book_of(log)).rows.items():
                assert row.current is not None
                assert (row.current.end <= began) == (name == ill)
                assert row.current.end == local("2026-03-15T12:50") or name == ill
            service = collector.pollers[0].roster.services[ill]
            assert service.read_at < began + STEP
            assert "500" in service.cause
            await asyncio.sleep(1800)
        book = await book_of(log)
        assert_exact(site, book, local("2026-03-15"), local("2026-03-15T13:20"))
        ends_after = [end for _, end, *_ in book.rows[ill].deltas if end > began]
        assert ends_after[:6] == [local("2026-03-15T12:00") + place * 10 * MINUTE for place in range(6)]

    warped(main, "2026-03-15T10:02:30")


@pytest.mark.parametrize("restart", [False, True], ids=["the platform is away", "we are away"])
def test_three_days_are_made_up_for(restart: bool) -> None:
    """After an outage of three days every day is read, oldest first, and nothing is missing."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=900.0), MemoryLog(clock, partitions=2)
        site.world.populate(5, since=local("2026-03-01"))
        if restart:
            async with collecting(clock, log, site):
                await asyncio.sleep(7 * 3600)
            await asyncio.sleep(3 * 86400)
            async with collecting(clock, log, site, seed=2):
                await asyncio.sleep(3600)
        else:
            async with collecting(clock, log, site) as (_, seen):
                await asyncio.sleep(7 * 3600)
                fault = site.app.faults.inject("refused")
                await asyncio.sleep(3 * 86400)
                site.app.faults.remove(fault)
                await asyncio.sleep(3600)
            assert seen.alarms == [("vm1", "unavailable", True), ("vm1", "unavailable", False)]
        book = await book_of(log)
        assert_exact(site, book, local("2026-03-15"), local("2026-03-19T00:45"))
        for row in book.rows.values():
            assert row.gap_ms == 0
            assert not any(backfill for start, *_, backfill in row.deltas if start > local("2026-03-15"))

    warped(main, "2026-03-15T17:02:30")
