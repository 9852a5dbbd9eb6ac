"""The demo's audit: what the VMs really sent and what their limits must be, beside what was counted and set.

Bytes come from the simulator's world, limits from `model`; of the log it takes over which intervals were published
when, the bytes that were stored as accepted, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stream import wire
from stream.core.model import Decision, Deltas, Names
from stream.demo.model import Ladder, Total, additions
from stream.ports import CHANGES, DELTAS, Log, Record
from stream.runtime.checkpoint import load
from stream.simulator import World

MBIT = 1_000_000
Json: TypeAlias = Mapping[str, Any]
Interval: TypeAlias = tuple[int, int, bool]  # anchor, end, whether it filled in the past


@dataclass(slots=True)
class Findings:
    """What the demo ends with."""

    deltas: int = 0
    bytes_sent: int = 0
    bytes_counted: int = 0
    decisions: int = 0
    lifted: int = 0
    mismatches: dict[str, str] = field(default_factory=dict)
    """By service: what is wrong, in words."""


async def audit(log: Log, world: World, plans_of: Mapping[str, Sequence[Json]], platform: str) -> Findings:
    """Compare everything; `plans_of` names each service's plans, in their normal form."""
    found = Findings()
    intervals = await _intervals(log)
    counted = await _counted(log)
    found.deltas = sum(map(len, intervals.values()))
    for service, plans in plans_of.items():
        id_ = int(service.removeprefix(f"{platform}/"))
        published = intervals.get(service, [])
        begin = min((anchor for anchor, _, _ in published), default=0)
        sent = sum(world.bytes_between(id_, begin, world.now()))
        found.bytes_sent += sent
        found.bytes_counted += counted.get(service, 0)
        if sent != counted.get(service, 0):
            found.mismatches[service] = f"{sent} bytes were sent, {counted.get(service, 0)} counted"
        due = _due(world, id_, plans, published)
        if world.limits(id_) != due:
            found.mismatches[service] = f"its limit is {world.limits(id_)} Mbit/s (in, out), due is {due}"
    async for decision in _decisions(log):
        found.decisions += 1
        found.lifted += decision.reason in ("stay_over", "period")
    return found


def _due(world: World, id_: int, plans: Sequence[Json], published: Sequence[Interval]) -> tuple[int | None, ...]:
    """Mbit/s in and out: the least of all plans' speeds and of what the VM had at first."""
    totals = [
        Total(anchor, end, sum(world.bytes_between(id_, anchor, end)), filling) for anchor, end, filling in published
    ]
    first = world.limits(id_, world.machine(id_).created)
    speeds = [_speed(plan, totals) for plan in plans]
    return tuple(
        min((limit for limit in (original, *(speed[way] for speed in speeds)) if limit is not None), default=None)
        for original, way in zip(first, ("in", "out"), strict=True)
    )


def _speed(plan: Json, totals: Sequence[Total]) -> dict[str, int | None]:
    ladder = Ladder(plan)
    for addition in additions(totals):
        ladder.add(addition)
    return {way: bits and bits // MBIT for way, bits in ladder.speed.items()}


async def _intervals(log: Log) -> dict[str, list[Interval]]:
    """By service, in order of the log."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for partition in range(log.partitions):
        decoder = wire.Decoder()
        for record in await _records(log, DELTAS, partition):
            for event in decoder.decode([record]):
                if isinstance(event, Deltas) and isinstance(event.start, int) and isinstance(event.end, int):
                    names = event.names.strings() if isinstance(event.names, Names) else event.names
                    for name in names:
                        found[name].append((event.start, event.end, event.backfill))
    return found


async def _counted(log: Log) -> dict[str, int]:
    """Accepted bytes by service, from the stored pages."""
    found = {}
    for partition in range(log.partitions):
        tracker = await load(log, partition, lambda service: wire.partition_of(service, log.partitions))
        for name in tracker.names():
            view = tracker.service(name)
            assert view is not None
            found[name] = view.accepted_in + view.accepted_out
    return found


async def _decisions(log: Log) -> AsyncIterator[Decision]:
    for partition in range(log.partitions):
        for record in await _records(log, CHANGES, partition):
            outcome = wire.decode_outcome(record.value or b"")
            if isinstance(outcome, Decision):
                yield outcome


async def _records(log: Log, topic: str, partition: int) -> list[Record]:
    """All that is in the log now."""
    offset, end = await log.bounds(topic, partition)
    found: list[Record] = []
    async with aclosing(log.read(topic, partition, offset, wait_s=1.0)) as reader:
        while offset < end:
            records, offset = await anext(reader)
            found += records
    return found
