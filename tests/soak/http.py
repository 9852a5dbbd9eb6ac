"""Seven days of fifty VMs: all roles in one process, a VMmanager that fails now and then, HTTP over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from unittest.mock import patch
from zoneinfo import ZoneInfo

import orjson
import uvicorn

from stream import wire
from stream.adapters.clock import WarpClock
from stream.bootstrap import make_platform
from stream.config.load import load
from stream.config.model import Config
from stream.core.view import ServiceView
from stream.ports import DEAD_LETTERS, DELTAS, Clock, Log
from stream.runtime import checkpoint
from stream.simulator import Faults, Knobs, Simulator, World, create_app
from stream.simulator.habits import mix
from stream.simulator.server import Address, serve
from tests.adapters.world import read_all
from tests.soak.days import DAY_MS, STEP_MS, power_cuts, with_plans
from tests.soak.diary import Diary, Restart, Size
from tests.soak.installation import Installation

ZONE = "Europe/Berlin"
START_MS = round(datetime(2026, 3, 28, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
"""A local midnight, the day before the change of clocks, four days before a rollover."""
HOUR_MS = 3_600_000
CALM_MS = 24 * HOUR_MS
"""After the end nothing moves for so long, so that everything can be counted and set."""
PAST_MS = 2 * DAY_MS
"""So long the VMs have existed when they are first seen."""
GROUPS = ("vpn", "month", "both")
"""Tags of the VMs in turn."""
HABITS = ("bursty", "busy", "steady", "nightly", "heavy")
LIMITS = (100, 200, 1000, None)
MBIT = 1_000_000

CONFIGURATION = """\
log: sqlite:soak.db
partitions: 2
listen: off
retention: {traffic.deltas: 1d, quota.profile-changes: 1d, quota.dead-letters: 1d}
platforms:
  vm1:
    type: vmmanager
    url: URL
    timezone: Europe/Berlin
    email: EMAIL
    password_file: vm1.password
    poll: 5m
    settle: 1m
    max_requests_per_second: 1000
    max_slowed_at_once: {percent: 100%, least: 5, within: 10m}
services:
  - {match: {platform: vm1, tag: both}, plans: [vpn, month]}
  - {match: {platform: vm1, tag: vpn}, plans: [vpn]}
  - {match: {platform: vm1, tag: month}, plans: [month]}
"""


def configure(folder: Path, address: Address) -> Config:
    secret = folder / "vm1.password"
    secret.touch(mode=0o600)
    secret.write_text(address.password)
    return load(with_plans(folder, CONFIGURATION.replace("URL", address.url).replace("EMAIL", address.email)))


# ---------------------------------------------------------------- the platform


def provider(size: Size, clock: Clock) -> Simulator:
    """Its VMs want traffic of all kinds until the end."""
    end_ms = START_MS + size.days * DAY_MS
    world = World(clock.now, seed=size.seed, step_ms=STEP_MS)
    for place in range(size.services):
        draw = mix(size.seed, place)
        limit, habit = LIMITS[draw % len(LIMITS)], HABITS[draw // 4 % len(HABITS)]
        tags = [GROUPS[place % len(GROUPS)]]
        id_ = world.create(habit=habit, limits=(limit, limit), since=START_MS - PAST_MS, tags=tags)
        world.script(id_, end_ms, end_ms + CALM_MS, 0, 0)
    return create_app(world, Knobs(timezone=ZONE), faults(size))


def faults(size: Size) -> Faults:
    """Single ones all the time, and every afternoon a lost login, an hour of 503 and one of late numbers."""
    found = Faults(size.seed)
    for day in range(size.days):
        noon = START_MS + day * DAY_MS + 12 * HOUR_MS
        found.inject("lose_tokens", times=1, since=noon + HOUR_MS)
        found.inject("unavailable", since=noon + 3 * HOUR_MS, until=noon + 4 * HOUR_MS)
        found.hide(start=noon + 6 * HOUR_MS, end=noon + 7 * HOUR_MS, until=noon + 9 * HOUR_MS)
    found.inject("unavailable", percent=2)
    found.inject("unanswered", percent=1)
    found.inject("reset", percent=1)
    found.inject("task_fails", percent=5)
    found.inject("task_forgotten", percent=5)
    return found


async def seldom(server: uvicorn.Server) -> None:
    """In the place of a loop that looks ten times a second whether it is to end: six million times in these days."""
    while True:
        if await server.on_tick(0):
            return
        await asyncio.sleep(60.0)


# ---------------------------------------------------------------- the run


async def run(size: Size, clock: WarpClock, folder: Path, diary: Diary) -> None:
    """All of it; what was noted stands in the diary."""
    simulator = provider(size, clock)
    with patch.object(uvicorn.Server, "main_loop", seldom):
        async with serve(simulator) as address:
            config = configure(folder, address)
            installation = Installation(
                config, clock, lambda metrics: {"vm1": make_platform("vm1", config.platforms["vm1"], clock, metrics)}
            )
            await Run(size, clock, diary, simulator, installation).run()


class Run:
    def __init__(
        self, size: Size, clock: WarpClock, diary: Diary, simulator: Simulator, installation: Installation
    ) -> None:
        self._size, self._clock, self._diary = size, clock, diary
        self._simulator, self._world = simulator, simulator.world
        self._installation = installation
        self._original = {one.id: self._world.limits(one.id) for one in self._world.machines()}
        self._begun: dict[str, int] = {}
        """By service: from when on it is counted."""
        self._deltas = 0
        """Published before the last power cut."""

    async def run(self) -> None:
        installation, size = self._installation, self._size
        await installation.start()
        for day in range(1, size.days + 1):
            await self._until(day - 0.5)
            self._begun = self._begun or await beginnings(installation.log)
            if day in power_cuts(size.days):
                self._deltas = self._published
                await installation.cut()
                self._diary.restarts.append(Restart(day, await installation.start()))
            await self._until(day)
            self._diary.note(await installation.day(day, self._published))
        self._diary.notes.append(f"faults that struck: {dict(self._simulator.faults.struck)}")
        self._simulator.faults.clear()
        self._diary.mistakes += await self._settled()
        await installation.stop()
        await installation.log.close()

    async def _until(self, days: float) -> None:
        while (left_ms := START_MS + round(days * DAY_MS) - self._clock.now()) > 0:
            await self._installation.sleep(min(left_ms, HOUR_MS) / 1000)
            self._diary.passed((self._clock.now() - START_MS) / DAY_MS)

    @property
    def _published(self) -> int:
        name, labels = "quota_stream_collector_deltas_total", {"platform": "vm1"}
        return self._deltas + int(self._installation.metrics.registry.get_sample_value(name, labels) or 0)

    # ------------------------------------------------------------ the books

    async def _settled(self) -> list[str]:
        """The mistakes that are left when there was time enough to mend all of them."""
        for _ in range(CALM_MS // HOUR_MS):
            await self._installation.sleep(HOUR_MS / 1000)
            if not (found := await self._mistakes()):
                break
        return found

    async def _mistakes(self) -> list[str]:
        log, found = self._installation.log, []
        counted: dict[str, ServiceView] = {}
        for number in range(log.partitions):
            tracker = await checkpoint.load(log, number, lambda name: wire.partition_of(name, log.partitions))
            counted |= {name: view for name in tracker.names() if (view := tracker.service(name)) is not None}
            rejected = (await log.bounds(DEAD_LETTERS, number))[1]
            found += [f"{rejected} dead letters in partition {number}"] if rejected else []
        for machine in self._world.machines():
            name = f"vm1/{machine.id}"
            found += self._wrong(name, machine.id, counted[name]) if name in counted else [f"{name} is not counted"]
        return found

    def _wrong(self, name: str, id_: int, view: ServiceView) -> Iterator[str]:
        """Each byte that the VM sent is counted, and its limits are what is due, and never more than it had."""
        sent = self._world.bytes_between(id_, self._begun[name], self._world.now())
        if sent != (view.accepted_in, view.accepted_out):
            yield f"{name}: {sent} bytes were sent, {view.accepted_in, view.accepted_out} counted"
        speeds = (
            (original, bits and bits // MBIT) for original, bits in zip(self._original[id_], view.speed, strict=True)
        )
        due = tuple(min((limit for limit in pair if limit is not None), default=None) for pair in speeds)
        if self._world.limits(id_) != due:
            yield f"{name}: its limits are {self._world.limits(id_)} Mbit/s, due is {due}"


async def beginnings(log: Log) -> dict[str, int]:
    """Of each service, where its first delta begins; while the log holds all of them."""
    found: dict[str, int] = {}
    for number in range(log.partitions):
        for record in await read_all(log, DELTAS, number):
            value = orjson.loads(record.value or b"")
            if value.get("type") == "batch":
                starts = value["start"] if isinstance(value["start"], list) else [value["start"]] * len(value["in"])
                for name, start in zip(value["services"], starts, strict=True):
                    found[name] = min(start, found.get(name, start))
    return found
