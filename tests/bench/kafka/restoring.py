"""How long a tracker needs until it knows what its predecessor knew, beside reading the same bytes and no more."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from statistics import median

from stream.adapters.kafka import topics
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.reading import SNAPSHOT_BYTES
from stream.adapters.kafka.settings import KafkaSettings
from stream.bootstrap.process import collect_rarely
from stream.ports import STATE
from stream.runtime.checkpoint import State, load, restore
from tests.bench.kafka.installation import settings_of
from tests.bench.measuring import Result, Stopwatch, warm_memory
from tests.bench.traffic import name_of, names_of, registered, shipped

SERVICES = 1_000_000
TAKEN_OVER = 20_000
TIMES = 3
WARM_BYTES = 700_000_000
"""The bytes that are read, twice, and some."""
LOOK = "restore"
OWN = "take-over"


async def run(servers: str) -> AsyncIterator[Result]:
    settings = settings_of(servers, 1)
    size = await _laid(settings, SERVICES)
    ours, reading, greedily = [], [], []
    for _ in range(TIMES):
        ours.append(await _alone("tests.bench.kafka.restoring", LOOK, servers, settings.topic_prefix))
        bare = ("tests.bench.peers.reading", servers, settings.topic(STATE), str(WARM_BYTES))
        reading.append(await _alone(*bare))
        greedily.append(await _alone(*bare, str(SNAPSHOT_BYTES)))
    for beside, runs in (("reading", reading), ("reading as much at a time", greedily)):
        for place, (what, target) in enumerate((("wall", "<= 2"), ("CPU", ""))):
            mine, others = (median(each[place] for each in each_run) for each_run in (ours, runs))
            case = f"{LOOK}: {SERVICES:,} services, {what}, and {beside}"
            yield Result("kafka", case, mine, "s", others, mine / others, target, f"{size / 1e6:.0f} MB")
    settings = settings_of(servers, 1)
    await _laid(settings, TAKEN_OVER)
    taken = [await _alone("tests.bench.kafka.restoring", OWN, servers, settings.topic_prefix) for _ in range(TIMES)]
    for place, what in enumerate(("wall", "CPU")):
        yield Result("kafka", f"{OWN}: {TAKEN_OVER:,} services, {what}", median(each[place] for each in taken), "s")


async def _laid(settings: KafkaSettings, services: int) -> int:
    """The state of so many services in one partition; its size in bytes."""
    await topics.create(settings)
    tracker = await asyncio.to_thread(registered, names_of(services), shipped("vpn"))
    log = await KafkaLog.open(settings)
    try:
        async with log.take_over("tracker", 0) as lease:
            records = list(State(tracker, 1).stage([]))
            await lease.write(STATE, records)
    finally:
        await log.close()
    return sum(len(record.value or b"") for record in records)


async def _alone(module: str, *words: str) -> Sequence[float]:
    """(wall, CPU) seconds, from a process that does nothing else."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *words, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    found: list[float] = json.loads(said)
    return found


async def main(what: str, servers: str, prefix: str) -> None:
    """What is measured, in a process of its own."""
    collect_rarely()
    warm_memory(WARM_BYTES)
    watch = Stopwatch()
    log = await KafkaLog.open(KafkaSettings(servers=servers, topic_prefix=prefix))
    try:
        with watch.running():
            if what == OWN:
                async with log.take_over("tracker", 0) as lease:
                    tracker = restore(await lease.snapshot(STATE), 0, lambda service: 0, 1).tracker
            else:
                tracker = await load(log, 0, lambda service: 0)
            assert tracker.service(name_of(0)) is not None, "it is to know whom it counts"
    finally:
        await log.close()
    print(json.dumps([watch.wall_s, watch.cpu_s]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
