"""From a delta's append to the request that slows its service down: `track`, `enforce` and a simulated platform.

The tracker is at half load: it counts half of what its CPU seconds allow, on one core.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
from aiokafka import AIOKafkaProducer

from stream import wire
from stream.core.model import Speed
from stream.core.plan import Plan, Profile, SlidingWindow
from stream.ports import DELTAS
from tests.bench.kafka import scaling
from tests.bench.kafka.installation import PROGRAM, Installation, progress, settings_of
from tests.bench.kafka.moving import Changes, flow, shown
from tests.bench.kafka.processes import cpu_s, ended
from tests.bench.kafka.workload import SLICE_MS, SLICES, Fleet, Placed, introductions, plans
from tests.bench.measuring import Result
from tests.kafka.cluster import until

PARTITIONS = 4
PLATFORM = "told"
VMS = 300
FIRST_ID = 101
EVERY_S = 0.05
"""One of the VMs uses too much."""
SETTLED_S = 3.0
LASTS_S = 45.0
OVER_BYTES = 2_000_000_000
CONFIGURATION = """\
platforms:
  PLATFORM:
    type: vmmanager
    url: URL
    timezone: Europe/Berlin
    token_file: token
    max_requests_per_second: 1000
    task_poll: 1s
    max_slowed_at_once: {percent: 100%, least: 1000, within: 10m}
plans:
  once:
    window: {slide: 1h, slices: 6}
    profiles:
      full: {speed: original, quota: 1 GB, down: slow}
      slow: {speed: 3 Mbit/s}
"""
ONCE = Plan(
    "once",
    SlidingWindow(SLICE_MS, SLICES),
    (Profile("full", Speed(None, None), quota=1_000_000_000, down=1), Profile("slow", Speed(3_000_000, 3_000_000))),
)


async def run(servers: str) -> AsyncIterator[Result]:
    cost = await scaling.cost_of(servers, 1, 200)
    fleet = Fleet(PARTITIONS)
    every_s = fleet.services * cost / 1e6 / 0.5
    with TemporaryDirectory() as name, _platform(Path(name)) as platforms:
        folder = Path(name)
        async with Installation(folder, settings_of(servers, PARTITIONS), platforms) as ours:
            await ours.fill(_introductions(fleet))
            tracker = ours.start("track")
            ours.start("enforce")
            async with progress(ours.settings) as seen:
                await seen.reached(await ours.ends())
            async with shown(ours.settings) as changes:
                async with flow(ours.settings, fleet, every_s, LASTS_S) as flowing:
                    await asyncio.sleep(SETTLED_S)
                    began = time.monotonic(), cpu_s(tracker.pid), flowing.rounds
                    appended = await _overuse(ours)
                    used_s, rounds = cpu_s(tracker.pid) - began[1], flowing.rounds - began[2]
                    lasted_s = time.monotonic() - began[0]
                await until(lambda: _all_told(folder, changes))
            told = _told(folder)
    decided_s = [changes.shown_at_s[f"{PLATFORM}/{id_}"] - at / 1000 for id_, at in appended.items()]
    told_s = [(told[id_] - at) / 1000 for id_, at in appended.items()]
    rate = rounds * fleet.services / lasted_s
    note = f"{VMS} decisions, {rate:,.0f} deltas a second, the tracker used {used_s / lasted_s:.0%} of a core"
    for what, waited_s, target in (("decision shown", decided_s, ""), ("platform told", told_s, "<= 1 s")):
        for percent, aim in ((50, ""), (99, target)):
            value = float(np.percentile(waited_s, percent))
            yield Result("kafka", f"latency: append to {what}, p{percent}", value, "s", target=aim, note=note)


@contextmanager
def _platform(folder: Path) -> Iterator[str]:
    """A simulated one, as the configuration names it.  It writes down what it is asked for."""
    words = ["simulator", "--json", "--vms", str(VMS), "--state", _world(folder), "--knob", "task_ms=1000"]
    process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = orjson.loads(process.stdout.readline())
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(address["token"])
        yield CONFIGURATION.replace("PLATFORM", PLATFORM).replace("URL", address["url"])
    finally:
        ended(process)


def _introductions(fleet: Fleet) -> Iterator[Placed]:
    for partition in range(PARTITIONS):
        yield partition, wire.encode_plans(1, {**plans(), ONCE.name: ONCE})
    yield from introductions(fleet)
    for service in _services():
        yield wire.partition_of(service, PARTITIONS), wire.encode_registration(service, [ONCE.name])


def _services() -> Sequence[str]:
    return [f"{PLATFORM}/{id_}" for id_ in range(FIRST_ID, FIRST_ID + VMS)]


async def _overuse(ours: Installation) -> Mapping[int, int]:
    """One VM after the other; when (ms) its delta was appended, by id."""
    appended, due = {}, time.monotonic()
    async with AIOKafkaProducer(**ours.settings.client(), acks="all", enable_idempotence=True) as producer:
        for service in _services():
            now = time.time_ns() // 1_000_000
            message = wire.encode_delta(service, now - 60_000, now, OVER_BYTES, 0)
            partition = wire.partition_of(service, PARTITIONS)
            sent = await producer.send_and_wait(
                ours.settings.topic(DELTAS), message.value, key=message.key, partition=partition
            )
            appended[int(service.partition("/")[2])] = sent.timestamp
            due += EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return appended


def _world(folder: Path) -> str:
    return str(folder / "world.jsonl")


async def _all_told(folder: Path, changes: Changes) -> bool:
    return len(_told(folder)) == VMS and changes.shown_at_s.keys() >= set(_services())


def _told(folder: Path) -> Mapping[int, int]:
    """When (ms) the platform was asked first to change a VM's limits, by id."""
    told: dict[int, int] = {}
    for line in Path(_world(folder)).read_text().splitlines():
        event = json.loads(line)
        if event["do"] == "order":
            told.setdefault(event["id"], event["at"])
    return told
