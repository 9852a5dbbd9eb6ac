"""The demo itself: the product's own parts over the simulator, a platform outage, a power cut, and the audit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from stream import wire
from stream.adapters.clock import WarpClock
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap import Parts, make_platform, work_together
from stream.config.model import Config
from stream.core.errors import Rejected, Unavailable
from stream.core.view import ServiceView
from stream.demo.audit import Findings, audit
from stream.demo.scenario import PLATFORM, STEP_MS, Scenario, build, configure
from stream.demo.stage import Stage
from stream.metrics import Metrics
from stream.ports import CHANGES, Log, Platform
from stream.simulator import Simulator

T = TypeVar("T")

SETTLING_S = 600.0
"""After the end: how long until everything may be counted and enforced ..."""
PATIENCE = 24
"""... and how often the audit looks again, five minutes later each time, before its word is final."""


@dataclass(frozen=True, slots=True)
class Tampering:
    """What a test puts between the parts, to see that the audit notices."""

    log: Callable[[Log], Log] = lambda log: log
    platform: Callable[[Platform], Platform] = lambda platform: platform


class Play:
    """One performance, on a loop whose time is warped."""

    def __init__(self, scenario: Scenario, clock: WarpClock, folder: Path, stage: Stage, tampering: Tampering) -> None:
        self._scenario = scenario
        self._clock = clock
        self._stage = stage
        self._tampering = tampering
        self._simulator: Simulator = build(scenario, clock.now)
        self._config: Config = configure(folder, self._simulator.access.lasting())
        self._metrics = Metrics(clock)
        self._changes: dict[int, int] = {}

    @property
    def applied(self) -> int:
        """How often a platform has confirmed a new limit."""
        labels = {"platform": PLATFORM, "result": "applied"}
        return int(self._metrics.registry.get_sample_value("quota_stream_enforcements_total", labels) or 0)

    async def perform(self) -> Findings:
        """Everything, to its end."""
        begin, end = self._scenario.outage_ms
        async with asyncio.TaskGroup() as group:
            notes = [
                group.create_task(self._tell(begin, "the platform is suspended and answers 503")),
                group.create_task(self._tell(end, "the platform is back")),
            ]
            await self._live_until(self._scenario.crash_ms, power_cut=True)
            self._stage.note(self._clock.now(), "power cut: the process is gone, and starts again")
            found = await self._live_until(self._scenario.end_ms, power_cut=False)
            for note in notes:
                note.cancel()
        return found

    async def _live_until(self, instant: int, *, power_cut: bool) -> Findings:
        """Run all roles until then; end without a farewell, or settle, look at the books, and leave in order."""
        path = self._config.log.path
        assert path is not None
        log = await SqliteLog.open(
            path, clock=self._clock, exclusive=True, partitions=self._config.partitions, poll_s=None
        )
        parts = self._parts(log)
        stop = asyncio.Event()
        roles = asyncio.create_task(work_together(parts, stop))
        watching = [asyncio.create_task(self._follow(log, number)) for number in range(log.partitions)]
        watching.append(asyncio.create_task(self._show()))
        try:
            await _until_or_failed(self._sleep_until(instant), roles)
            if power_cut:
                await log.close()  # nothing that they do now reaches the log
                roles.cancel()
                return Findings()
            found = await _until_or_failed(self._settle(parts), roles)
            stop.set()
            await roles
            return found
        finally:
            for task in (roles, *watching):
                task.cancel()
            await asyncio.gather(roles, *watching, return_exceptions=True)
            for platform in parts.platforms.values():
                await platform.close()
            await log.close()

    def _parts(self, log: Log) -> Parts:
        transport = httpx.ASGITransport(app=self._simulator)
        platform = make_platform(PLATFORM, self._config.platforms[PLATFORM], self._clock, self._metrics, transport)
        return Parts(
            config=self._config,
            log=self._tampering.log(log),
            clock=self._clock,
            metrics=self._metrics,
            platforms={PLATFORM: self._tampering.platform(platform)},
            random=random.Random(self._scenario.seed),
        )

    async def _settle(self, parts: Parts) -> Findings:
        """The audit, once everything had the time to be counted and set."""
        await asyncio.sleep(SETTLING_S)
        plans_of = {
            f"{PLATFORM}/{machine.id}": [self._config.plans["vpn" if "vpn" in machine.tags else "month"].to_json()]
            for machine in self._simulator.world.machines()
        }
        for _ in range(PATIENCE):
            await asyncio.sleep(STEP_MS / 1000)
            found = await audit(parts.log, self._simulator.world, plans_of, PLATFORM)
            if not found.mismatches:
                break
        return found

    async def _sleep_until(self, instant: int) -> None:
        await asyncio.sleep(max(0, instant - self._clock.now()) / 1000)

    async def _tell(self, instant: int, text: str) -> None:
        await self._sleep_until(instant)
        self._stage.note(instant, text)

    async def _follow(self, log: Log, partition: int) -> None:
        """Put each decision on the stage once it is published, as any reader of the topic may."""
        with suppress(Unavailable):
            async with aclosing(log.read(CHANGES, partition, self._changes.get(partition, 0), wait_s=3600.0)) as reader:
                async for fetch in reader:
                    self._changes[partition] = fetch.next_offset
                    for record in fetch.records:
                        with suppress(Rejected):
                            self._stage.outcome(wire.decode_outcome(record.value or b""))

    async def _show(self) -> None:
        while True:
            self._stage.show(self._clock.now(), self._views)
            await asyncio.sleep(STEP_MS / 1000)

    def _views(self) -> list[ServiceView]:
        trackers = self._metrics.tracker.trackers.values()
        views = [tracker.service(name) for tracker in trackers for name in tracker.names()]
        return sorted((view for view in views if view is not None), key=lambda view: view.service)


async def _until_or_failed(waiting: Coroutine[Any, Any, T], roles: asyncio.Task[None]) -> T:
    """The result, unless the roles end first: then whatever they raise."""
    task = asyncio.create_task(waiting)
    try:
        await asyncio.wait({task, roles}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            roles.result()
            raise Unavailable("the roles ended before the demo did")
        return task.result()
    finally:
        task.cancel()
