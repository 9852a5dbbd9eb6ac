"""Does a delta cost the same however many trackers share the partitions?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from stream.ports import DELTAS
from tests.bench.kafka.filling import appearing
from tests.bench.kafka.installation import Installation, progress, settings_of
from tests.bench.kafka.workload import Fleet, as_batches, introductions
from tests.bench.measuring import Result

PARTITIONS = 8
TRACKERS = (1, 2, 4)
WARM_UP, ROUNDS = 50, 400


async def run(servers: str) -> AsyncIterator[Result]:
    first = None
    for trackers in TRACKERS:
        cost = await cost_of(servers, trackers, ROUNDS)
        first = first or cost
        case = f"scaling: {trackers} trackers share {PARTITIONS} partitions"
        if trackers == 1:
            yield Result("kafka", case, cost, "s CPU/M")
        else:
            yield Result("kafka", case, cost, "s CPU/M", first, cost / first, "flat")


async def cost_of(servers: str, trackers: int, rounds: int) -> float:
    """CPU seconds of all trackers per million deltas, which come all at once, until the last of them is durable."""
    fleet = Fleet(PARTITIONS)
    with TemporaryDirectory() as folder:
        async with (
            Installation(Path(folder), settings_of(servers, PARTITIONS)) as ours,
            progress(ours.settings) as seen,
        ):
            for _ in range(trackers):
                ours.start("track")
            await ours.settled(trackers)
            await ours.fill(introductions(fleet))
            records = as_batches(fleet, WARM_UP + rounds)
            await ours.fill(islice(records, WARM_UP * PARTITIONS))
            await seen.reached(await ours.ends())
            async with appearing(ours.settings, DELTAS, records):
                before_s = ours.cpu_s
            await seen.reached(await ours.ends())
            return (ours.cpu_s - before_s) / (rounds * fleet.services) * 1e6
