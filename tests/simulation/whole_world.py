"""A whole world: the real roles, put together as the product puts them, over a bad log and a bad platform.

operator, people --- change plans, adjust, allow; set limits, create and delete VMs
hosts            --- collector, tracker, enforcer: two of each, or two with all roles; they die and come again
log, platform    --- reached by each process over a network of its own
then calm        --- and everything has to come right in time
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stream.adapters.clock import WarpClock
from stream.bootstrap import Parts, collecting, enforcing, make_platform, tracking, work_together
from stream.config.model import Config
from stream.metrics import Metrics
from stream.ports import ENFORCEMENTS, Clock
from stream.runtime.listings import Listings
from tests.simulation.broker import Entry
from tests.simulation.client import Client
from tests.simulation.host import Main
from tests.simulation.platforms import Network
from tests.simulation.report import Report, reported
from tests.simulation.weather import Weather
from tests.simulation.whole_audit import Auditor
from tests.simulation.whole_operator import Operator
from tests.simulation.whole_plot import PASSWORD, PASSWORD_VARIABLE, Kind, Plot, draw
from tests.simulation.whole_provider import Provider
from tests.simulation.world import World

PLATFORM = "vm1"
EACH = 2
"""So many hosts for each role."""
LONGEST_S = 10 * 86_400.0
CLOSE_S = 300.0


def run(seed: int, kind: Kind | None = None) -> Report:
    """The world of a seed; of a certain kind if it is given."""
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    plot = draw(seed, kind)
    stages: dict[World, Stage] = {}

    def make(clock: WarpClock) -> World:
        stage = Stage(plot, clock)
        stages[stage.world] = stage
        return stage.world

    return reported(
        seed, "whole", make, lambda world: stages[world].play(), start_ms=plot.start_ms, longest_s=LONGEST_S
    )


class Watch:
    """The wall clock of one process, which may be off and be set."""

    def __init__(self, clock: Clock, skew_ms: int) -> None:
        self._clock = clock
        self.skew_ms = skew_ms

    def now(self) -> int:
        return self._clock.now() + self.skew_ms


class Stage:
    """A world, and everything that is put into it."""

    def __init__(self, plot: Plot, clock: WarpClock) -> None:
        self.plot, self.clock = plot, clock
        rng = random.Random(f"{plot.seed} weather")
        weather = Weather(
            rng, trouble=plot.network, slowness=plot.network, torn=plot.network, repeated=plot.network,
            gaps=plot.network, deaf=0.1 if plot.network else 0.0,
        )  # fmt: skip
        self.roads = Weather(random.Random(f"{plot.seed} roads"), trouble=plot.network, slowness=plot.network)
        self.world = World(plot.seed, clock, weather, partitions=plot.partitions)
        self.config: Config = plot.config()
        self.provider = Provider(plot, clock)
        self.network = Network(self.provider.app, self.roads, self.world.trace, self.world.broker.journal)
        self.operator = Operator(self.world, plot)
        self.watches: list[Watch] = []
        self.auditor = Auditor(plot, self.world, self.provider, self.network)
        if plot.kind == "intents":
            self.world.broker.heard = self._kill_soon

    async def play(self) -> Counter[str]:
        """From the first start to the last audit.  Returns what happened."""
        await self.operator.apply_plans(self.config.plans)
        self._start_hosts()
        people = [asyncio.create_task(self.provider.live()), asyncio.create_task(self.operator.live(self.provider))]
        setting = asyncio.create_task(self._set_watches())
        await self.world.trouble(self.plot.climate, until_s=(self.plot.end_ms - self.plot.start_ms) / 1000)
        await asyncio.gather(*people)
        setting.cancel()
        self._calm()
        await self.auditor.settle(self.operator)
        await self._close()
        await self.auditor.audit()
        self.world.weather.happened.update({f"platform: {what}": n for what, n in self.provider.faults.struck.items()})
        self.world.weather.happened.update({f"road: {what}": n for what, n in self.roads.happened.items()})
        return self.auditor.happened

    def _calm(self) -> None:
        self.world.calm()
        self.roads.calm()
        self.provider.calm()
        self.world.broker.heard = lambda entry: None
        for watch in self.watches:
            watch.skew_ms = 0

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.world.close()
        except TimeoutError:
            self.world.accuse(f"not all processes have ended {CLOSE_S:.0f} s after they were told to")

    # ------------------------------------------------------------ processes

    def _kill_soon(self, entry: Entry) -> None:
        """Whoever has just made an intent durable (or written of one's end) often dies before he knows, or soon."""
        rng = self.world.rng(f"intents {len(self.world.broker.journal)}")
        if entry.topic == ENFORCEMENTS and entry.deed == "write" and rng.random() < 0.4:
            for host in self.world.hosts:
                if host.process and host.process.name == entry.who:
                    host.kill_soon(rng.randint(1, 12))

    def _start_hosts(self) -> None:
        mains: dict[str, Main] = {"collector": self._collect, "tracker": self._track, "enforcer": self._enforce}
        if self.plot.together:
            mains = {"all": self._work_together}
        for number in range(EACH):
            for name, main in mains.items():
                self.world.host(f"{name}{number}", main)

    async def _track(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        watch = self._watch(rng)
        await tracking(Parts(config=self.config, log=log, clock=watch, metrics=Metrics(watch), random=rng), stop)

    async def _collect(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        async with self._parts(log, rng) as parts:
            await collecting(parts, _listings(parts), stop)

    async def _enforce(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        async with self._parts(log, rng) as parts:
            await enforcing(parts, _listings(parts), stop)

    async def _work_together(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        async with self._parts(log, rng) as parts:
            await work_together(parts, stop)

    @asynccontextmanager
    async def _parts(self, log: Client, rng: random.Random) -> AsyncIterator[Parts]:
        """What a process with the platform is made of."""
        clock = self._watch(rng)
        metrics = Metrics(clock)
        platform = make_platform(PLATFORM, self.config.platforms[PLATFORM], clock, metrics, self.network)
        try:
            yield Parts(
                config=self.config, log=log, clock=clock, metrics=metrics, platforms={PLATFORM: platform}, random=rng
            )
        finally:
            await platform.close()

    # ------------------------------------------------------------ clocks

    def _watch(self, rng: random.Random) -> Watch:
        watch = Watch(self.clock, rng.randint(-self.plot.skew_ms, self.plot.skew_ms))
        self.watches.append(watch)
        return watch

    async def _set_watches(self) -> None:
        """Now and then somebody sets a clock, forwards or back."""
        rng = self.world.rng("watches")
        while self.plot.skew_ms:
            await asyncio.sleep(rng.expovariate(1 / (10 * self.plot.step_ms / 1000)))
            if self.watches:
                rng.choice(self.watches[-6:]).skew_ms = rng.randint(-self.plot.skew_ms, self.plot.skew_ms)


def _listings(parts: Parts) -> dict[str, Listings]:
    return {name: Listings(platform) for name, platform in parts.platforms.items()}
