"""A small world: one partition, one tracker that can be killed at a chosen step of any of its lives, and nothing else
that goes wrong.  Its story takes seconds, and has a bit of everything."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from stream.adapters.clock import WarpClock
from stream.core.plan import Plan
from stream.ports import DELTAS, STATE
from stream.runtime.checkpoint import META
from stream.runtime.partition import TrackerSettings, own
from stream.runtime.worker import work
from tests.runtime.history import HOURLY, KEPT, START_MS, adjustment, ladder, record, registration, totals
from tests.runtime.lives import Punctual, Unseen
from tests.simulation.auditor import Totals
from tests.simulation.broker import Entry
from tests.simulation.client import Client
from tests.simulation.host import Host
from tests.simulation.report import Report, reported
from tests.simulation.waiting import held
from tests.simulation.weather import Weather
from tests.simulation.world import World

SETTINGS = TrackerSettings(checkpoint_every_s=1.0)
PLANS = {name: Plan.from_json(name, plan).to_json() for name, plan in {"hourly": HOURLY, "kept": KEPT}.items()}
TIGHT = PLANS | {"hourly": Plan.from_json("hourly", ladder(400)).to_json()}
STORY: Sequence[tuple[float, Sequence[Any]]] = (
    (0.0, [{"type": "plans", "version": 1, "plans": PLANS}]),
    (0.1, [registration(1, "hourly"), registration(2, "kept", "hourly"), registration(3, "hourly")]),
    (0.7, [totals(1, 100, 900, 0), b"no JSON", totals(2, 1200, 1000, 0, 77)]),
    (1.2, [totals(3, 2600, 1000, 0)]),
    (2.0, [totals(4, 2600, 1200, 5), adjustment("1", 3, "credit", 4, bytes=500, plan="hourly")]),
    (2.8, [adjustment("1", 3, "credit", 4, bytes=500, plan="hourly"), totals(9, 2650, 1600, 100), b"{}"]),
    (3.4, [{"type": "plans", "version": 2, "plans": TIGHT}]),
    (4.0, [{"type": "deregistration", "service": "vm1/1"}, registration(1, "kept"), totals(20, 3000, 5000, 600)]),
)
"""(seconds, what is appended together then)."""

TRUTH: Totals = {"vm1/1": (3000, 0), "vm1/2": (5000, 0), "vm1/3": (600, 0)}
ENDS_S = 1.6
"""When the first process is told to end: the next one restores what it left."""
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Lived:
    report: Report
    """Nothing is audited yet."""
    journal: Sequence[Entry]
    steps: Sequence[int]
    """How many the tracker took in each of its lives, or until it was killed."""


def lived(kills: Mapping[int, int]) -> Lived:
    """`kills`: the step at which the tracker is killed, by the number of the life."""
    small: list[_Small] = []

    def make(clock: WarpClock) -> World:
        return World(1, clock, Weather(random.Random(1)), partitions=1)

    async def play(world: World) -> Counter[str]:
        small.append(_Small(world, kills))
        await small[0].play()
        return Counter()

    report = reported(1, "log", make, play, start_ms=START_MS)
    [one] = small
    return Lived(report, one.world.broker.journal, [process.steps for process in one.host.processes])


class _Small:
    def __init__(self, world: World, kills: Mapping[int, int]) -> None:
        self.world, self._kills = world, kills
        self.host: Host = world.host("tracker", self._main)
        self.host.down_s = 0.1

    def _main(self, log: Client, rng: random.Random, stop: asyncio.Event) -> Coroutine[Any, Any, None]:
        lives = len(self.host.processes)
        self.host.processes[-1].halt_at = self._kills.get(lives)
        return self._track(log, rng, stop)

    async def _track(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        async def serve(partition: int, ended: asyncio.Event) -> None:
            await own(log, partition, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=ended)

        await work("tracker", log, serve, stop, rng)

    async def play(self) -> None:
        asyncio.get_running_loop().call_at(ENDS_S, self.host.end)
        for at_s, values in STORY:
            await asyncio.sleep(at_s - asyncio.get_running_loop().time())
            with self.world.broker.by("publisher"):
                end = self.world.broker.appended(DELTAS, 0, [record(value) for value in values])
        if not await held(lambda: self._is_through(end), within_s=DEADLINE_S, look_s=0.2):
            self.world.accuse(f"not everything is read, durable and shown after {DEADLINE_S} s")
        await self.world.close()

    def _is_through(self, end: int) -> bool:
        raw = self.world.broker.latest(STATE, 0).get(META, b'{"next_offset":0,"outbox":[0,0]}')
        meta = orjson.loads(raw)
        shown, decided = meta["outbox"]
        return bool(meta["next_offset"] >= end and shown == decided)
