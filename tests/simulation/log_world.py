"""A world of publishers, trackers and a log."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from stream.adapters.clock import WarpClock
from stream.ports import DELTAS
from stream.runtime.partition import TrackerSettings, own
from stream.runtime.worker import work
from tests.runtime.history import START_MS, history
from tests.runtime.lives import Unseen
from tests.simulation.client import Client
from tests.simulation.report import Report, reported
from tests.simulation.weather import Weather
from tests.simulation.world import Climate, World


def run(seed: int) -> Report:
    rng = random.Random(f"{seed} weather")

    def make(clock: WarpClock) -> World:
        trouble = rng.choice((0, 0.01, 0.05))
        weather = Weather(rng, trouble=trouble, slowness=0.05, torn=0.1, repeated=0.1, gaps=0.1, deaf=0.2)
        return World(seed, clock, weather, partitions=2)

    return reported(seed, "log", make, play, start_ms=START_MS)


async def tracker(log: Client, rng: random.Random, stop: asyncio.Event) -> None:
    async def serve(partition: int, ended: asyncio.Event) -> None:
        settings = TrackerSettings(checkpoint_every_s=2.0)
        await own(log, partition, settings=settings, observer=Unseen(), stop=ended)

    await work("tracker", log, serve, stop, rng)


async def play(world: World) -> Counter[str]:
    for number in range(3):
        world.host(f"tracker{number}", tracker)

    async def feed() -> None:
        for _, messages in history():
            await asyncio.sleep(3)
            with world.broker.by("feeder"):
                world.broker.appended(DELTAS, 0, messages)

    feeding = asyncio.create_task(feed())
    await world.trouble(Climate(kill_s=8, stop_s=10, end_s=20, rebalance_s=10, compaction_s=10), until_s=60)
    await feeding
    world.calm()
    await asyncio.sleep(60)
    await world.close()
    return Counter()
