"""A collector at work: simulated platforms in process, a log in memory, and time that jumps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx

from stream import wire
from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.adapters.vmmanager import Credentials, Vmmanager, VmmanagerSettings
from stream.core.plan import Plan
from stream.core.tracker import Tracker
from stream.core.view import Counted
from stream.ports import DELTAS, Machine, Record
from stream.runtime.collector import Collector, Report
from stream.runtime.comparison import Comparison
from stream.runtime.enrolment import Enrolment, Match
from stream.runtime.listings import Listings
from stream.runtime.source import Alarm, CollectorSettings, Cycle, Outcome, Source
from stream.simulator import Faults, Knobs, Simulator, World, create_app
from tests.collector.book import Book, Row

MINUTE = 60_000
STEP = 5 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ZONE = "Europe/Berlin"

_T = TypeVar("_T")


def local(text: str, zone: str = ZONE, fold: int = 0) -> int:
    """ISO local time -> ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


def plan(name: str, window: Mapping[str, Any]) -> Plan:
    return Plan.from_json(name, {"window": window, "profiles": [{"name": "full", "speed": {"in": None, "out": None}}]})


PLANS = {
    "hour": plan("hour", {"kind": "sliding", "slice_ms": 10 * MINUTE, "slices": 6}),
    "month": plan("month", {"kind": "calendar", "unit": "month", "slices": 1, "timezone": ZONE}),
}


def everything(*plans: str) -> Match:
    """The rule that all machines have these plans."""

    def match(machine: Machine) -> Enrolment | None:
        labels = {"name": machine.name, "account": "".join(machine.attributes.get("account", ()))}
        return Enrolment(plans, labels=labels)

    return match


HOURLY = everything("hour")


@dataclass
class Seen:
    """Everything that the collector says to its observer."""

    cycles: list[tuple[str, Cycle]] = field(default_factory=list)
    reads: list[tuple[str, Outcome]] = field(default_factory=list)
    alarms: list[tuple[str, Alarm, bool]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    deltas: int = 0
    failed_appends: int = 0

    def published(self, platform: str, deltas: int) -> None:
        self.deltas += deltas

    def append_failed(self, platform: str, partition: int) -> None:
        self.failed_appends += 1

    def read(self, platform: str, outcome: Outcome) -> None:
        self.reads.append((platform, outcome))

    def cycle(self, platform: str, cycle: Cycle) -> None:
        self.cycles.append((platform, cycle))

    def alarm(self, platform: str, alarm: Alarm, raised: bool) -> None:
        self.alarms.append((platform, alarm, raised))

    def compared(self, platform: str, partition: int, compared: Sequence[Comparison], gone: Sequence[str] = ()) -> None:
        self.comparisons.extend(compared)
        self.gone.extend(gone)


class Site:
    """A simulated platform and what our side knows of it."""

    def __init__(
        self,
        clock: WarpClock,
        *,
        name: str = "vm1",
        knobs: Knobs | None = None,
        match: Match = HOURLY,
        requests_per_second: float = 1000,
        **settings: Any,
    ) -> None:
        self.name = name
        self.world = World(clock.now, seed=7, step_ms=STEP)
        self.app: Simulator = create_app(self.world, knobs or Knobs(timezone=ZONE), Faults(7))
        self.platform = Vmmanager(
            name,
            VmmanagerSettings(
                url=f"http://{name}",
                timezone=ZONE,
                stamp=self.app.knobs.stamp,
                max_requests_per_second=requests_per_second,
                timeout_s=10,
            ),
            Credentials(email=self.app.access.email, password=lambda: self.app.access.password),
            clock=clock,
            transport=httpx.ASGITransport(app=self.app),
        )
        self.match = match
        self.settings = replace(CollectorSettings(timezone=ZONE, poll_s=300.0), **settings)

    def source(self) -> Source:
        return Source(
            platform=self.platform,
            listings=Listings(self.platform),
            settings=self.settings,
            match=self.match,
            plans=PLANS,
        )

    def truth(self, row: Row, start: int) -> tuple[int, int]:
        """The bytes of a service from `start` up to where it is counted."""
        assert row.current is not None
        return self.world.bytes_between(int(row.service.rpartition("/")[2]), start, row.current.end)


class Trackers:
    """The real trackers of all partitions, which read on whenever they are asked."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._trackers = [Tracker(partition, self._partition_of) for partition in range(log.partitions)]

    def _partition_of(self, service: str) -> int:
        return wire.partition_of(service, self._log.partitions)

    async def read(self, partition: int) -> Tracker:
        tracker = self._trackers[partition]
        records = await records_of(self._log, partition, tracker.next_offset)
        if records:
            tracker.apply(wire.Decoder().decode(records), records[-1].offset + 1)
        return tracker

    async def known(self, partition: int) -> list[Counted]:
        return list((await self.read(partition)).counted())


async def records_of(log: MemoryLog, partition: int, offset: int = 0) -> list[Record]:
    """All that was published to a partition from an offset on."""
    records: list[Record] = []
    _, end = await log.bounds(DELTAS, partition)
    reader = log.read(DELTAS, partition, offset, wait_s=1)
    while offset < end:
        found, offset = await anext(reader)
        records += found
    await reader.aclose()
    return records


async def book_of(log: MemoryLog) -> Book:
    """All that was published so far."""
    book = Book()
    for partition in range(log.partitions):
        book.apply(await records_of(log, partition))
    return book


@asynccontextmanager
async def collecting(
    clock: WarpClock, log: MemoryLog, *sites: Site, seed: int = 1, report: Report | None = None
) -> AsyncIterator[tuple[Collector, Seen]]:
    """A collector that runs while the block does, and is killed at its end.

    Whatever the trackers make of what it published must be the auditor's view of it, and no dead letter.
    """
    for partition in range(log.partitions):
        if (await log.bounds(DELTAS, partition))[1] == 0:
            await log.append(DELTAS, partition, [wire.encode_plans(1, PLANS)])
    trackers, seen = Trackers(log), Seen()
    sources = [site.source() for site in sites]
    rng = random.Random(seed)
    collector = Collector(log, sources, trackers.known, clock=clock, rng=rng, observer=seen, report=report)
    running = asyncio.create_task(collector.run(asyncio.Event()))
    try:
        yield collector, seen
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.wait({running})
    await agree(trackers, log)


async def agree(trackers: Trackers, log: MemoryLog) -> None:
    """The trackers count what the auditor counts."""
    book = await book_of(log)
    names = set()
    for partition in range(log.partitions):
        tracker = await trackers.read(partition)
        assert tracker.drain().dead_letters == []
        names |= set(tracker.names())
        for counted in tracker.counted():
            row, view = book.rows[counted.service], tracker.service(counted.service)
            assert view is not None
            assert (view.accepted_in, view.accepted_out) == row.accepted
            assert (counted.current, counted.previous) == (row.current, row.previous)
    assert names == book.rows.keys()


def warped(main: Callable[[WarpClock], Coroutine[Any, Any, _T]], start: str) -> _T:
    """Run it from a local time on."""
    return run_warped(main, start_ms=local(start))
