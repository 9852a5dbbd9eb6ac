"""A whole installation with its pages: the demo's hoster, faster than time, and then live in a thread.

warped:  hours of the roles against the simulator, until the stage's `now`
live:    the roles again, on the same log and simulator, at the pace of real time; beside them replica and web
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from stream import wire
from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap import Parts, make_platform, work_together
from stream.bootstrap.web import replica_settings, web_settings
from stream.config.load import load
from stream.config.model import Config
from stream.core.model import Message
from stream.demo.scenario import CONFIGURATION, HOUR_MS, PLATFORM, ZONE, Scenario, build
from stream.metrics import Metrics
from stream.ports import DELTAS, Clock, Log
from stream.replica import Replica
from stream.runtime.operating import Operating
from stream.simulator import Simulator
from stream.web.access import Access
from stream.web.access.tokens import TokensFile
from stream.web.app import web_app
from stream.web.serving import serving
from tests.web.hostile import as_ids, as_labels, as_reasons

T = TypeVar("T")

UNTIL = 0.72
"""The share of the hours after which it goes live: a little before the month's end."""
GLANCE_S = 1800.0
TWO_PLANS = "services:\n  - {match: {platform: vm1, account: 2, tag: vpn}, plans: [vpn, month]}\n"
SETTINGS = CONFIGURATION.replace("services:\n", TWO_PLANS) + f"web: {{timezone: {ZONE}}}\n"
"""The demo's, and one account has two plans."""
SETTLING_MS = 60_000
PATIENCE_S = 30.0


class Shifted:
    """A wall clock that goes at the pace of time from an instant on."""

    def __init__(self, start_ms: int) -> None:
        self._shift_ms = start_ms - time.time_ns() // 1_000_000

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._shift_ms


@dataclass(slots=True)
class Stage:
    """What is live.  `run` does something on its loop."""

    config: Config
    clock: Clock
    log: Log
    replica: Replica
    operating: Operating
    loop: asyncio.AbstractEventLoop
    url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    """By role."""

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(PATIENCE_S)

    def publish(self, *messages: Message) -> None:
        """Put records of services into the log, each into its partition."""

        async def append() -> None:
            for message in messages:
                partition = wire.partition_of((message.key or b"").decode(), self.log.partitions)
                await self.log.append(DELTAS, partition, [message])

        self.run(append())

    def adjust(self, wish: Any, by: str = "anna") -> None:
        outcome = self.run(self.operating.adjust(wish, by=by, wait_s=PATIENCE_S))
        assert outcome.counted


@contextmanager
def staged(
    folder: Path, *, services: int = 12, hours: float = 8.0, seed: int = 1, hostile: bool = True
) -> Iterator[Stage]:
    """The installation, for as long as the context lasts."""
    scenario = Scenario(services, hours, seed)
    began_live_ms = scenario.start_ms + round(hours * UNTIL * HOUR_MS) + SETTLING_MS
    times: list[Clock] = []

    async def warped(clock: WarpClock) -> tuple[Simulator, Config]:
        times.append(clock)
        simulator = build(scenario, lambda: times[-1].now())
        config = _configure(folder, simulator.access.lasting())
        async with _roles(config, clock, simulator, poll_s=None) as parts:
            while (left_ms := began_live_ms - SETTLING_MS - clock.now()) > 0:
                await asyncio.sleep(min(GLANCE_S, left_ms / 1000))
                await _glance(parts, folder)
            await _publish_others(parts.log, clock.now(), hostile=hostile)
            await asyncio.sleep((began_live_ms - clock.now()) / 1000)
        return simulator, config

    simulator, config = run_warped(warped, start_ms=scenario.start_ms, grace_s=0.0)
    times.append(Shifted(began_live_ms))
    ready: list[Stage | BaseException] = []
    is_ready, over = threading.Event(), threading.Event()

    async def live() -> None:
        async with _roles(config, times[-1], simulator, poll_s=0.1) as parts, _shown(parts, folder) as stage:
            ready.append(stage)
            is_ready.set()
            await asyncio.to_thread(over.wait)

    def thread() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            ready.append(error)
            raise
        finally:
            is_ready.set()

    running = threading.Thread(target=thread, name="stage")
    running.start()
    try:
        assert is_ready.wait(PATIENCE_S)
        if isinstance(ready[0], BaseException):
            raise ready[0]
        yield ready[0]
    finally:
        over.set()
        running.join()


def _configure(folder: Path, token: str) -> Config:
    """Read from files as a user's is."""
    secret = folder / "vm1.token"
    secret.touch(mode=0o600)
    secret.write_text(token)
    file = folder / "quota-stream.yaml"
    file.write_text(SETTINGS)
    return load(file)


@contextlib.asynccontextmanager
async def _roles(config: Config, clock: Clock, simulator: Simulator, *, poll_s: float | None) -> Any:
    """All roles at work on the log."""
    path = config.log.path
    assert path is not None
    log = await SqliteLog.open(path, clock=clock, exclusive=True, partitions=config.partitions, poll_s=poll_s)
    metrics = Metrics(clock)
    platform = make_platform(PLATFORM, config.platforms[PLATFORM], clock, metrics, httpx.ASGITransport(app=simulator))
    parts = Parts(
        config=config, log=log, clock=clock, metrics=metrics, platforms={PLATFORM: platform}, random=random.Random(1)
    )
    stop = asyncio.Event()
    roles = asyncio.create_task(work_together(parts, stop))
    try:
        yield parts
    finally:
        stop.set()
        await roles
        await platform.close()
        await log.close()


def _replica(parts: Parts, folder: Path) -> Replica:
    """One that knows afterwards what it has seen before."""
    return Replica(parts.log, index=folder / "web.db", clock=parts.clock, settings=replica_settings(parts.config))


async def _glance(parts: Parts, folder: Path) -> None:
    """A replica that is there for a moment: it notes the population, and costs less than one that stays for a day."""
    replica, stop = _replica(parts, folder), asyncio.Event()
    following = asyncio.create_task(replica.follow(stop))
    await replica.caught_up()
    await asyncio.sleep(2)
    stop.set()
    await following


@contextlib.asynccontextmanager
async def _shown(parts: Parts, folder: Path) -> Any:
    """Replica and web beside the roles, on a port of the system's choice."""
    clock, config = parts.clock, parts.config
    assert config.web is not None
    settings = web_settings(config, config.web)
    replica = _replica(parts, folder)
    operating = Operating(parts.log, clock=clock, max_ahead_ms=config.max_ahead)
    tokens = TokensFile(settings.access.tokens_file)
    made = {"operate": tokens.create("anna", "operate", 0), "read": tokens.create("ben", "read", 0)}
    access = Access(settings.access, secure=settings.secure, clock=clock)
    app = web_app(replica, operating, access, settings, clock=clock, metrics=parts.metrics.web)
    stop = asyncio.Event()
    following = asyncio.create_task(replica.follow(stop))
    try:
        await replica.caught_up()
        async with serving(app, "127.0.0.1", 0) as url:
            yield Stage(config, clock, parts.log, replica, operating, asyncio.get_running_loop(), url, made)
    finally:
        stop.set()
        await following


async def _publish_others(log: Log, now: int, *, hostile: bool) -> None:
    """A meter of somebody's own, and whatever may do harm: ids, labels, reasons, dead letters."""
    start = now - 3_600_000
    messages = [
        wire.encode_registration("meter/7", ["vpn"], labels={"name": "office", "account": "7"}, at=now),
        wire.encode_delta("meter/7", start, now, 400_000_000, 100_000_000),
    ]
    if hostile:
        reasons, labels = list(as_reasons().values()), list(as_labels().values())
        for place, name in enumerate(as_ids("odd").values()):
            messages.append(wire.encode_registration(name, ["vpn"], labels={"name": labels[place]}, at=now))
            messages.append(wire.encode_delta(name, start, now, 700_000_000, 700_000_000))
            messages.append(
                wire.encode_adjustment(
                    name, "credit", id=f"hostile-{place}", by="mallory", why=reasons[place], at=now, bytes=1 << 20
                )
            )
            messages.append(Message(name.encode(), reasons[place].encode()))
    messages.append(wire.encode_delta("meter/unknown", start, now, 5, 5))
    for message in messages:
        partition = wire.partition_of((message.key or b"").decode(), log.partitions)
        await log.append(DELTAS, partition, [message])
