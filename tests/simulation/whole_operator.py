"""Who works at the command line of a whole world: what is not taken at once is said again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from stream import wire
from stream.core.errors import Unavailable
from stream.core.plan import Plan
from stream.ports import DELTAS, Message
from stream.runtime import controls, plans
from tests.simulation.process import Process
from tests.simulation.whole_plot import Plot
from tests.simulation.whole_provider import Provider
from tests.simulation.world import World

AGAIN_S = 5.0
PATIENCE_S = 40.0
PLATFORM = "vm1"
NAME = "anna"


class Operator:
    def __init__(self, world: World, plot: Plot) -> None:
        self._world, self._plot = world, plot
        self._rng = world.rng("operator")
        self._log = world.connect(Process("operator"))
        self._numbers = iter(range(1, 1000))
        self.allowed = False
        self.released = False

    async def apply_plans(self, wanted: Mapping[str, Plan]) -> None:
        await self._say("plans", lambda: plans.apply(self._log, wanted))

    async def live(self, provider: Provider) -> None:
        """What an operator does in the course of a plot."""
        plot = self._plot
        instants = sorted(self._rng.randrange(3, plot.steps - 3) for _ in range(plot.adjustments))
        deeds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (instant, lambda: self._adjust(provider)) for instant in instants
        ]
        if plot.kind == "release":
            deeds.append((plot.steps // 2, self.release))
            if self._rng.random() < 0.7:
                deeds.append((plot.steps // 2 + self._rng.randrange(1, 8), self.allow))
        for instant, deed in sorted(deeds, key=lambda each: each[0]):
            await self._until(plot.start_ms + instant * plot.step_ms)
            await deed()

    async def adjust(self, service: str, kind: str, **fields: Any) -> None:
        """An adjustment that is said until the log has it: repeats are dropped by its id."""
        id = f"{NAME}-{next(self._numbers)}"
        document = {"type": "adjustment", "id": id, "service": service, "kind": kind, "by": NAME, "why": "ticket"}
        message = Message(service.encode(), orjson.dumps(document | fields))
        partition = wire.partition_of(service, self._plot.partitions)
        await self._say(f"{kind} {service}", lambda: self._log.append(DELTAS, partition, [message]))

    async def allow(self) -> None:
        self.allowed, self.released = True, False
        now = self._world.clock.now()
        await self._say("allow", lambda: controls.allow(self._log, PLATFORM, until=now + 86_400_000, at=now, by=NAME))

    async def release(self) -> None:
        self.released = True
        await self._say("release", lambda: controls.release(self._log, PLATFORM, at=self._world.clock.now(), by=NAME))

    async def _adjust(self, provider: Provider) -> None:
        alive = [one.id for one in provider.world.machines() if provider.group[one.id] != "free"]
        if not alive:
            return
        id, now, rng = self._rng.choice(alive), self._world.clock.now(), self._rng
        group, service, until = provider.group[id], f"{PLATFORM}/{id}", now + 8 * self._plot.step_ms
        match rng.choice(("credit", "exempt", "pin", "reset")):
            case "credit":
                await self.adjust(service, "credit", bytes=rng.randrange(1, 10**9))
            case "exempt":
                await self.adjust(service, "exempt", until=until)
            case "pin":
                plan = "period" if group == "period" else "ladder"
                await self.adjust(service, "pin", plan=plan, profile="slow", until=until)
            case "reset":
                await self.adjust(service, "reset")

    async def _say(self, what: str, deed: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await deed()
                    self._world.note(None, f"operator: {what}")
                    return
            except (Unavailable, TimeoutError):
                await asyncio.sleep(AGAIN_S)

    async def _until(self, instant: int) -> None:
        await asyncio.sleep((instant - self._world.clock.now()) / 1000)
