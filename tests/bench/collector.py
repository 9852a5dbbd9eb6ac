"""One 60 s step of a collector with 10,000 VMs on one core: a list and 20,000 metrics requests over real HTTP.

The simulator is a process of its own, on another core where there is one, and takes 20 ms for each reply.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import orjson
import structlog

from stream.adapters.memory import MemoryLog
from stream.adapters.vmmanager import LongLivedToken, Vmmanager, VmmanagerSettings
from stream.core.counting import Anchor
from stream.core.view import Counted
from stream.runtime.collector import Collector
from stream.runtime.comparison import Comparison
from stream.runtime.enrolment import Enrolment
from stream.runtime.listings import Listings
from stream.runtime.source import Alarm, CollectorSettings, Cycle, Outcome, Source
from stream.simulator.server import Address
from tests.bench.measuring import Result, Stopwatch, alone
from tests.bench.traffic import shipped

VMS = 10_000
REQUESTS = 2 * VMS
BARE_REQUESTS = 4_000
LATENCY_S = 0.02
CONCURRENCY = 32
ZONE = "Europe/Berlin"
NOON = datetime(2026, 3, 2, 12, tzinfo=ZoneInfo(ZONE))
MIDNIGHT_MS = int(NOON.replace(hour=0).timestamp()) * 1000
SAMPLING_MS = 300_000
DEADLINE_S = 240.0


def run() -> Iterator[Result]:
    yield from alone(measure)


def measure() -> list[Result]:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    cores = sorted(os.sched_getaffinity(0))
    with simulator(cores[-1]) as address:
        os.sched_setaffinity(0, cores[:1])
        clock = Clock()
        services = asyncio.run(listed(address, clock))
        ours, deltas = asyncio.run(collect(address, clock, services))
        bare = asyncio.run(ask(address, services))
    cpu_share = f"{ours.cpu_s / ours.wall_s:.0%} of a core; {deltas:,} deltas published"
    bare_cpu_s, bare_wall_s = (each * REQUESTS / BARE_REQUESTS for each in (bare.cpu_s, bare.wall_s))
    case = f"{VMS:,} VMs, {REQUESTS:,} requests"
    return [
        Result("collector", f"{case}, wall", ours.wall_s, "s", bare_wall_s, ours.wall_s / bare_wall_s, "<= 60 s"),
        Result("collector", f"{case}, CPU", ours.cpu_s, "s", bare_cpu_s, ours.cpu_s / bare_cpu_s, note=cpu_share),
    ]


# ---------------------------------------------------------------- both sides


class Clock:
    """The simulator's time, which began at noon."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> int:
        return int((NOON.timestamp() + time.monotonic() - self._began) * 1000)


@contextmanager
def simulator(core: int) -> Iterator[Address]:
    command = [
        str(Path(sys.executable).with_name("quota-stream")), "simulator", "--json", "--vms", str(VMS),
        "--latency", str(LATENCY_S), "--timezone", ZONE, "--start", f"{NOON:%Y-%m-%dT%H:%M}", "--history", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = Address(**orjson.loads(process.stdout.readline()))
        os.sched_setaffinity(process.pid, [core])
        yield address
    finally:
        process.terminate()
        process.wait()


def platform(address: Address, clock: Clock) -> Vmmanager:
    settings = VmmanagerSettings(
        url=address.url,
        timezone=ZONE,
        sampling_ms=SAMPLING_MS,
        concurrency=CONCURRENCY,
        max_requests_per_second=10_000,
    )
    return Vmmanager("vm1", settings, LongLivedToken(lambda: address.token), clock=clock)


async def listed(address: Address, clock: Clock) -> list[str]:
    asked = platform(address, clock)
    services = list((await asked.list()).machines)
    await asked.close()
    return services


# ---------------------------------------------------------------- ours


class Observer:
    """Notes the end of the cycle."""

    def __init__(self) -> None:
        self.deltas = 0
        self.failed = 0
        self.done = asyncio.Event()

    def published(self, platform: str, deltas: int) -> None:
        self.deltas += deltas
        if self.deltas >= VMS:
            self.done.set()

    def append_failed(self, platform: str, partition: int) -> None: ...

    def read(self, platform: str, outcome: Outcome) -> None:
        self.failed += outcome == "failed"

    def cycle(self, platform: str, cycle: Cycle) -> None:
        if self.failed:
            self.done.set()

    def alarm(self, platform: str, alarm: Alarm, raised: bool) -> None: ...

    def compared(
        self, platform: str, partition: int, compared: Sequence[Comparison], gone: Sequence[str] = ()
    ) -> None: ...


async def collect(address: Address, clock: Clock, services: Sequence[str]) -> tuple[Stopwatch, int]:
    """One cycle, until all of it is in the log."""
    plans, observer, collecting, stop = shipped("vpn"), Observer(), Stopwatch(), asyncio.Event()
    counted = Anchor(MIDNIGHT_MS, int(NOON.timestamp()) * 1000 - 2 * SAMPLING_MS, 0, 0)

    async def known(partition: int) -> list[Counted]:
        return [Counted(service, "vm1", ("vpn",), counted, None, None, None, {}, False) for service in services]

    asked = platform(address, clock)
    source = Source(
        platform=asked,
        listings=Listings(asked),
        settings=CollectorSettings(timezone=ZONE, poll_s=DEADLINE_S, workers=CONCURRENCY),
        match=lambda machine: Enrolment(("vpn",)),
        plans=plans,
    )
    log = MemoryLog(clock=clock, partitions=1)
    collector = Collector(log, [source], known, clock=clock, rng=random.Random(1), observer=observer)
    with collecting.running():
        running = asyncio.create_task(collector.run(stop))
        async with asyncio.timeout(DEADLINE_S):
            await observer.done.wait()
    stop.set()
    await running
    await asked.close()
    return collecting, observer.deltas


# ---------------------------------------------------------------- bare


async def ask(address: Address, services: Sequence[str]) -> Stopwatch:
    """What anybody would write: one httpx client, so many connections, and the JSON of each reply."""
    asking, waiting = Stopwatch(), iter([*services[: BARE_REQUESTS // 2]] * 2)
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    query = "target=net_rx_summary&from=22:30_20260301&until=13:30_20260302&output=single&interval=5min"
    headers = {"x-xsrf-token": address.token}

    async def one(client: httpx.AsyncClient) -> None:
        for service in waiting:
            url = f"{address.url}/vm/v3/host/{service.removeprefix('vm1/')}/metrics?{query}"
            orjson.loads((await client.get(url, headers=headers)).content)

    async with httpx.AsyncClient(limits=limits, timeout=DEADLINE_S) as client:
        with asking.running():
            await asyncio.gather(*(one(client) for _ in range(CONCURRENCY)))
    return asking
