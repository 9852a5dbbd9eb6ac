"""Machines come, change, stop and go; lists lie.  What is registered follows, and no byte is lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.ports import Machine
from stream.runtime.enrolment import Enrolment, Match
from stream.simulator import Knobs
from tests.collector.book import Book
from tests.collector.rig import HOUR, STEP, Seen, Site, book_of, collecting, everything, local, warped

START = "2026-03-15T10:02:30"


def registrations(book: Book, service: str) -> list[dict[str, Any]]:
    return [one for one in book.registrations if one["service"] == service]


def tagged(machine: Machine) -> Enrolment | None:
    """A rule on a tag, which anybody may change."""
    if "vpn" not in machine.attributes["tag"]:
        return None
    return Enrolment(("hour",), quota=5, anchor_day=31, labels={"name": machine.name})


def test_a_new_machine_is_registered_before_its_first_delta() -> None:
    """What appears on the list is registered, filled and counted from its first byte on."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), MemoryLog(clock)
        site.world.populate(3, since=local("2026-03-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(3600)
            machine = site.world.create(name="new", account="42")
            await asyncio.sleep(3600)
        book = await book_of(log)
        row = book.rows[f"vm1/{machine}"]
        assert row.labels == {"name": "new", "account": "42"}
        assert row.accepted == site.truth(row, local("2026-03-15T11:00"))
        assert row.current is not None
        assert row.current.end == local("2026-03-15T11:55")
        assert book.unregistered == []
        assert all(len(registrations(book, name)) == 1 for name in book.rows)

    warped(main, START)


def test_renaming_and_moving_is_told_once() -> None:
    """A new name is registered anew; a move to another node, which is no label, is not."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), MemoryLog(clock)
        machine = site.world.create(since=local("2026-03-10"), name="old")
        service = f"vm1/{machine}"
        async with collecting(clock, log, site):
            await asyncio.sleep(1800)
            site.world.edit(machine, node="another")
            await asyncio.sleep(1800)
            assert len(registrations(await book_of(log), service)) == 1
            site.world.edit(machine, name="young")
            await asyncio.sleep(1800)
        book = await book_of(log)
        assert [one["labels"]["name"] for one in registrations(book, service)] == ["old", "young"]
        assert book.rows[service].accepted == site.truth(book.rows[service], local("2026-03-15"))

    warped(main, START)


def test_a_label_may_be_as_long_as_it_likes() -> None:
    """Names and tags of ten thousand characters are cut; the service is registered and counted all the same."""

    def match(machine: Machine) -> Enrolment | None:
        return Enrolment(("hour",), labels={"name": machine.name, "tag": ",".join(machine.attributes["tag"])})

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, match=match), MemoryLog(clock)
        site.world.create(since=local("2026-03-10"), name="n" * 10_000, tags=["t" * 150] * 90)
        async with collecting(clock, log, site):
            await asyncio.sleep(1200)
            async with collecting(clock, log, site, seed=2):
                await asyncio.sleep(600)
        book = await book_of(log)
        (row,) = book.rows.values()
        assert {len(value) for value in row.labels.values()} == {200}
        assert row.current is not None
        assert len(book.registrations) == 1

    warped(main, START)


def test_a_machine_follows_its_rule() -> None:
    """No rule: never touched.  A rule: registered.  No rule again: no plans, not read.  And back: complete."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, match=tagged), MemoryLog(clock)
        machine = site.world.create(since=local("2026-03-10"))
        service = f"vm1/{machine}"
        async with collecting(clock, log, site):
            await asyncio.sleep(1800)
            assert (await book_of(log)).rows == {}
            site.world.edit(machine, tags=["vpn"])
            await asyncio.sleep(1800)
            row = (await book_of(log)).rows[service]
            assert (row.plans, row.quota, row.anchor_day) == (("hour",), 5, 31)
            site.world.edit(machine, tags=[])
            await asyncio.sleep(1800)
            row = (await book_of(log)).rows[service]
            assert row.plans == ()
            assert row.current is not None
            left_at = row.current.end
            await asyncio.sleep(1800)
            assert (await book_of(log)).rows[service].current == row.current, "nobody asks for it: it is not read"
            site.world.edit(machine, tags=["vpn"])
            await asyncio.sleep(1800)
        row = (await book_of(log)).rows[service]
        assert row.plans == ("hour",)
        assert row.current is not None
        assert row.current.end > left_at
        assert row.accepted == site.truth(row, local("2026-03-15"))

    warped(main, START)


@pytest.mark.parametrize("shown", ["null", "zero"])
def test_a_stopped_machine_is_known_to_be_unchanged(shown: str) -> None:
    """Its time goes on without a byte, over midnight too, with few requests; started again, it is complete."""

    async def main(clock: WarpClock) -> None:
        knobs = Knobs(timezone="Europe/Berlin", stopped="null" if shown == "null" else "zero")
        site, log = Site(clock, knobs=knobs), MemoryLog(clock)
        machine = site.world.create(since=local("2026-03-10"))
        other = site.world.create(since=local("2026-03-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(3600)
            site.world.stop(machine)
            await asyncio.sleep(20 * 3600)
            row = (await book_of(log)).rows[f"vm1/{machine}"]
            assert row.current is not None
            assert row.current == (local("2026-03-16"), local("2026-03-16T06:55"), 0, 0)
            calls = [call.path for _, call, _ in site.app.calls if call.path.endswith("/metrics")]
            assert calls.count(f"/vm/v3/host/{machine}/metrics") < calls.count(f"/vm/v3/host/{other}/metrics") / 2
            site.world.start(machine)
            await asyncio.sleep(3600)
        book = await book_of(log)
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))
            assert row.gap_ms == 0
        assert book.stale == []

    warped(main, START)


def test_a_deleted_machine_is_deregistered_after_a_day() -> None:
    """Not before, and its id, used again by another machine, is then another service."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=900.0), MemoryLog(clock)
        site.world.populate(6, since=local("2026-03-10"))
        gone = site.world.machines()[3].id
        async with collecting(clock, log, site):
            await asyncio.sleep(3600)
            site.world.delete(gone)
            await asyncio.sleep(23.6 * 3600)
            assert (await book_of(log)).gone == []
            await asyncio.sleep(1800)
            assert (await book_of(log)).gone == [f"vm1/{gone}"]
            site.world.create(id=gone, name="another")
            born = clock.now()
            await asyncio.sleep(3600)
        row = (await book_of(log)).rows[f"vm1/{gone}"]
        assert row.labels["name"] == "another"
        assert row.accepted == site.truth(row, born)

    warped(main, START)


def test_half_a_list_deregisters_nobody() -> None:
    """A list that lacks more than a fifth raises an alarm; what it shows is polled, what it lacks stays."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=1800.0), MemoryLog(clock)
        site.world.populate(8, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(3600)
            fault = site.app.faults.inject("half_list", call="GET /vm/v3/host$")
            await asyncio.sleep(26 * 3600)
            assert seen.alarms == [("vm1", "short_list", True)]
            site.app.faults.remove(fault)
            await asyncio.sleep(3600)
            assert seen.alarms[1:] == [("vm1", "short_list", False)]
        book = await book_of(log)
        assert book.gone == []
        assert len(book.registrations) == 8
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-15"))

    warped(main, START)


@pytest.mark.parametrize(
    ("known", "absent", "gone"),
    [(1, 1, 0), (2, 1, 1), (2, 2, 0), (4, 1, 1), (4, 2, 0), (5, 2, 0), (9, 2, 0), (10, 2, 2)],
)
def test_few_services_may_go_as_well(known: int, absent: int, gone: int) -> None:
    """One is always believed to be gone, unless it is the only one; more only if they are at most a fifth."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=HOUR), MemoryLog(clock)
        site.world.populate(known, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(1800)
            for machine in site.world.machines()[:absent]:
                site.world.delete(machine.id)
            await asyncio.sleep(2 * 3600)
        assert len((await book_of(log)).gone) == gone
        assert bool(seen.alarms) == (gone == 0)

    warped(main, START)


def test_a_quota_that_cannot_be_changed_is_told_once() -> None:
    """Another quota in the rules does not reach a known service: one warning for all of them, with the cure."""

    def match(quota: int) -> Match:
        return lambda machine: Enrolment(("hour",), quota=quota)

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, match=match(5)), MemoryLog(clock)
        site.world.populate(3, since=local("2026-03-10"))
        async with collecting(clock, log, site):
            await asyncio.sleep(1800)
        site.match = match(6)
        with structlog.testing.capture_logs() as lines:
            async with collecting(clock, log, site):
                await asyncio.sleep(1800)
        (told,) = [line for line in lines if line["event"] == "services.quota_kept"]
        assert told["services"] == 3
        assert f'"type":"deregistration","service":"{told["first"]}"' in told["cure"]

    warped(main, START)


def test_a_broken_row_harms_only_itself() -> None:
    """A machine whose row makes no sense is neither gone nor forgotten: it is read on."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=HOUR), MemoryLog(clock)
        site.world.populate(6, since=local("2026-03-10"))
        broken = site.world.machines()[1].id
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(1800)
            site.world.set_limits(broken, 2_000_000_000, 100)  # 2,000 Tbit/s
            site.world.create(name="new")
            await asyncio.sleep(2 * 3600)
        book = await book_of(log)
        assert seen.cycles[-1][1].unreadable == 1
        assert len(book.rows) == 7
        for row in book.rows.values():
            assert row.current is not None
            assert row.current.end == local("2026-03-15T12:25")

    warped(main, START)


def test_a_machine_that_is_back_in_time_was_never_gone() -> None:
    """Absent for most of the time, there for a moment, absent again: the day begins anew."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=2 * HOUR), MemoryLog(clock)
        site.world.populate(6, since=local("2026-03-10"))
        gone = site.world.machines()[2].id
        async with collecting(clock, log, site):
            for _ in range(3):
                await asyncio.sleep(600)
                site.world.delete(gone)
                await asyncio.sleep(1.7 * 3600)
                site.world.create(id=gone)
            await asyncio.sleep(600)
            assert (await book_of(log)).gone == []
            site.world.delete(gone)
            await asyncio.sleep(2.2 * 3600)
        assert (await book_of(log)).gone == [f"vm1/{gone}"]

    warped(main, START)


async def crashed(site: Site, log: MemoryLog, clock: WarpClock, seconds: float) -> Seen:
    async with collecting(clock, log, site) as (_, seen):
        await asyncio.sleep(seconds)
    return seen


def test_killed_in_the_middle_of_a_backfill() -> None:
    """Whoever comes next goes on, still marked, until the present is reached: every byte once."""

    async def main(clock: WarpClock) -> None:
        site = Site(clock, match=everything("month"), requests_per_second=2)
        log = MemoryLog(clock)
        site.world.populate(3, since=local("2026-02-20"))
        for _ in range(3):
            await crashed(site, log, clock, 15)
        halfway = await book_of(log)
        assert all(row.backfilling for row in halfway.rows.values())
        assert any(row.deltas for row in halfway.rows.values())
        await crashed(site, log, clock, 600)
        book = await book_of(log)
        for row in book.rows.values():
            assert row.accepted == site.truth(row, local("2026-03-01"))
            assert not row.backfilling
            assert row.current is not None
            assert row.current.end >= clock.now() - 3 * STEP
            assert all(backfill for start, *_, backfill in row.deltas if start < local("2026-03-20"))

    warped(main, "2026-03-20T10:02:30")


def test_a_registration_that_was_lost_is_repeated() -> None:
    """A service that the state does not have after ten minutes is registered anew with the next hourly look."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock), MemoryLog(clock)
        site.world.populate(2, since=local("2026-03-10"))
        async with collecting(clock, log, site) as (collector, _):
            await asyncio.sleep(60)
            poller = collector.pollers[0]
            poller.refresh(0, [], clock.now())
            assert len(poller.roster.services) == 2, "it may be on its way"
            poller.refresh(0, [], clock.now() + 3_600_000)
            assert len(poller.roster.services) == 0
            await asyncio.sleep(600)
            assert len(poller.roster.services) == 2
        assert len((await book_of(log)).registrations) == 4

    warped(main, START)
