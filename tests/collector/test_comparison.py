"""Once a day the tracker's sum of the month stands beside the platform's own figure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.bootstrap import comparison_records
from stream.metrics import Metrics
from stream.runtime.comparison import Comparison
from tests.collector.rig import HOUR, Site, collecting, everything, local, warped


def test_the_month_is_compared_once_a_day() -> None:
    """From the first day that was seen to the last that is final; a point lost for ever on their side would show."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=3600.0), MemoryLog(clock, partitions=2)
        site.world.populate(3, since=local("2026-03-10"))
        reported: list[Comparison] = []

        async def report(partition: int, compared: Sequence[Comparison], gone: Sequence[str]) -> None:
            assert not gone
            reported.extend(compared)

        async with collecting(clock, log, site, report=report) as (_, seen):
            await asyncio.sleep(5.5 * 86400)
        assert reported == seen.comparisons
        for machine in site.world.machines():
            mine = [one for one in reported if one.service == f"vm1/{machine.id}"]
            spans = [(one.start, one.end) for one in mine]
            assert spans == [
                (local("2026-03-29"), local("2026-03-30")),
                (local("2026-03-29"), local("2026-03-31")),
                (local("2026-03-29"), local("2026-04-01")),
                (local("2026-04-01"), local("2026-04-02")),
                (local("2026-04-01"), local("2026-04-03")),
            ], "the first of a month is the whole month before"
            for one in mine:
                assert (one.ours_in, one.ours_out) == (one.theirs_in, one.theirs_out)
                assert (one.ours_in, one.ours_out) == site.world.bytes_between(machine.id, one.start, one.end)

    warped(main, "2026-03-29T10:02:30")


def test_a_platform_that_does_not_tell_is_no_trouble() -> None:
    """Its figures are left out, and everything else goes on."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=3600.0, match=everything("hour")), MemoryLog(clock)
        machines = [site.world.create(since=local("2026-03-10")) for _ in range(2)]
        async with collecting(clock, log, site) as (_, seen):
            await asyncio.sleep(86400)
            site.app.faults.inject("server_error", call=f"/{machines[0]}/metrics", since=local("2026-03-16T11:00"))
            await asyncio.sleep(86400)
        assert [one.service for one in seen.comparisons] == [*(f"vm1/{id}" for id in machines), f"vm1/{machines[1]}"]

    warped(main, "2026-03-15T10:02:30")


def test_who_is_gone_is_forgotten() -> None:
    """Once a service is deregistered, its record is removed, also when an earlier life had written it."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=HOUR), MemoryLog(clock)
        site.world.populate(3, since=local("2026-03-10"))
        machine = site.world.machines()[0].id
        async with collecting(clock, log, site):
            await asyncio.sleep(3600)
        forgotten: list[str] = []

        async def report(partition: int, compared: Sequence[Comparison], gone: Sequence[str]) -> None:
            forgotten.extend(gone)

        async with collecting(clock, log, site, report=report) as (_, seen):
            await asyncio.sleep(600)
            site.world.delete(machine)
            await asyncio.sleep(4 * 3600)
        assert forgotten == seen.gone == [f"vm1/{machine}"]
        (record,) = comparison_records([], forgotten)
        assert (record.key, record.value) == (f"comparison/vm1/{machine}".encode(), None)

    warped(main, "2026-03-15T10:02:30")


def test_a_report_that_nobody_answers_stops_nothing() -> None:
    """The next look at the state comes an hour later all the same."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, gone_after_ms=HOUR), MemoryLog(clock)
        site.world.populate(4, since=local("2026-03-10"))
        machines = [machine.id for machine in site.world.machines()]
        asked: list[str] = []

        async def report(partition: int, compared: Sequence[Comparison], gone: Sequence[str]) -> None:
            asked.extend(gone)
            await asyncio.Event().wait()

        async with collecting(clock, log, site, report=report):
            for machine in machines[:2]:
                await asyncio.sleep(2 * 3600)
                site.world.delete(machine)
            await asyncio.sleep(4 * 3600)
        assert asked == [f"vm1/{machine}" for machine in machines[:2]]

    warped(main, "2026-03-15T10:02:30")


def test_the_difference_is_that_of_all_services() -> None:
    """Also of those that were compared an hour before; not of those that are gone."""

    async def main(clock: WarpClock) -> None:
        metrics = Metrics(clock)

        def difference() -> float | None:
            labels = {"platform": "vm1", "partition": "0"}
            return metrics.registry.get_sample_value("quota_stream_month_difference_bytes", labels)

        metrics.collection.compared("vm1", 0, [Comparison("vm1/1", 0, 1, 0, 0, 3, 4)])
        metrics.collection.compared("vm1", 0, [Comparison("vm1/2", 0, 1, 0, 0, 10, 0)])
        assert difference() == 17
        metrics.collection.compared("vm1", 0, [Comparison("vm1/2", 0, 2, 0, 0, 20, 0)], ["vm1/1"])
        assert difference() == 20

    warped(main, "2026-03-15T10:02:30")
