"""A world of one seed: its log, its group, its weather, the hosts on which processes run, and the trouble they have."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from stream.adapters.clock import WarpClock
from stream.ports import ENFORCEMENTS, STATE, Role
from tests.simulation.broker import Broker
from tests.simulation.client import Client
from tests.simulation.coordinator import Coordinator
from tests.simulation.host import Host, Main
from tests.simulation.process import Process, bury, task_factory
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather

STEPS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""After one of these many steps of a process its trouble comes: mostly soon, since who waits takes few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """How much trouble processes have: the mean time in seconds from one trouble of its kind to the next; 0: none."""

    kill_s: float = 0.0
    stop_s: float = 0.0
    end_s: float = 0.0
    """In an orderly way, as by SIGTERM."""
    rebalance_s: float = 0.0
    compaction_s: float = 0.0
    still_s: float = 8.0
    """How long a stopped process stands still, on the average."""
    down_s: float = 3.0
    """How long a host needs to start a process again, on the average."""


class World:
    """Made within the loop that it is to run on.  `rng(name)` gives each part luck of its own, so that what one part
    does with it changes nothing for the others."""

    def __init__(
        self,
        seed: int,
        clock: WarpClock,
        weather: Weather,
        *,
        partitions: int,
        retention_ms: Mapping[str, int] | None = None,
    ) -> None:
        asyncio.get_running_loop().set_task_factory(task_factory)
        self.seed, self.clock, self.weather = seed, clock, weather
        self.trace = Trace(clock)
        self.broker = Broker(clock, weather, partitions=partitions, retention_ms=retention_ms)
        self.coordinator = Coordinator(weather, partitions=partitions, tell=self.broker.assigned)
        self.hosts: list[Host] = []
        self.violations: list[str] = []
        """What was seen on the way that must not be."""
        structlog.configure(processors=[structlog.processors.format_exc_info, self.trace.hear])

    def host(self, name: str, main: Main) -> Host:
        """A new host; its process starts at once."""
        host = Host(self, name, main)
        self.hosts.append(host)
        return host

    async def trouble(self, climate: Climate, *, until_s: float) -> None:
        """Everything that happens to processes up to an instant of the loop."""
        rng, loop = self.rng("trouble"), asyncio.get_running_loop()
        troubles = self._troubles(climate, rng)
        for host in self.hosts:
            host.down_s = climate.down_s
        while troubles and loop.time() < until_s:
            await asyncio.sleep(min(rng.expovariate(sum(troubles.values())), until_s - loop.time()))
            if loop.time() < until_s:
                rng.choices(list(troubles), list(troubles.values()))[0]()

    def calm(self) -> None:
        """No more trouble of any kind; who stands still goes on."""
        self.note(None, "calm from now on")
        self.weather.calm()
        self.coordinator.calm()
        for host in self.hosts:
            host.calm()

    async def close(self) -> None:
        """End all processes in an orderly way."""
        for host in self.hosts:
            host.close()
        await asyncio.gather(*(host.life for host in self.hosts))

    async def bury(self) -> None:
        """When the books are closed: let whatever is left be cancelled; nothing of it reaches anything any more."""
        self.trace.close()
        structlog.configure(processors=[_unheard])
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await self.broker.close()
        bury()

    # ------------------------------------------------------------ for the hosts

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def connect(self, process: Process) -> Client:
        return Client(self.broker, self.coordinator, process, self.weather, self.trace)

    def unheard(self, process: Process) -> None:
        self.weather.happened["process killed" if process.state == "dead" else "process stopped"] += 1
        self.coordinator.lost(process)

    def heard(self, process: Process) -> None:
        self.coordinator.found(process)

    def note(self, process: Process | None, what: str, about: object = "") -> None:
        self.trace.note("world" if process is None else process.name, what, about)

    def accuse(self, what: str) -> None:
        self.note(None, f"VIOLATION: {what}")
        self.violations.append(what)

    # ------------------------------------------------------------ within

    def _troubles(self, climate: Climate, rng: random.Random) -> dict[Callable[[], None], float]:
        """What may happen, and how often a second."""
        roles: tuple[Role, ...] = ("tracker", "enforcer", "collector")

        def kill() -> None:
            rng.choice(self.hosts).kill_soon(rng.choice(STEPS))

        def stop() -> None:
            rng.choice(self.hosts).stop_soon(rng.choice(STEPS), rng.expovariate(1 / climate.still_s))

        def end() -> None:
            self.weather.happened["process told to end"] += 1
            rng.choice(self.hosts).end()

        def rebalance() -> None:
            self.coordinator.rebalance(rng.choice(roles))

        def compact() -> None:
            self.broker.clean(rng.choice((STATE, ENFORCEMENTS)), rng.randrange(self.broker.partitions))

        means_s = {
            kill: climate.kill_s,
            stop: climate.stop_s,
            end: climate.end_s,
            rebalance: climate.rebalance_s,
            compact: climate.compaction_s,
        }
        return {trouble: 1 / mean_s for trouble, mean_s in means_s.items() if mean_s}


def _unheard(_: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raise structlog.DropEvent
