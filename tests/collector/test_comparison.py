"""Once a day the tracker's sum of the month stands beside the platform's own figure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stream.adapters.clock import WarpClock
from stream.adapters.memory import MemoryLog
from stream.runtime.comparison import Comparison
from tests.collector.rig import Site, collecting, everything, local, warped


def test_the_month_is_compared_once_a_day() -> None:
    """From the first day that was seen to the last that is final; a point lost for ever on their side would show."""

    async def main(clock: WarpClock) -> None:
        site, log = Site(clock, poll_s=3600.0), MemoryLog(clock, partitions=2)
        site.world.populate(3, since=local("2026-03-10"))
        reported: list[Comparison] = []

        async def report(partition: int, compared: Sequence[Comparison]) -> None:
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
