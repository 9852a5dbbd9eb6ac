"""Whether the auditor would notice if anything were wrong; the torture itself is `make torture-kafka`."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from stream import wire
from stream.adapters.memory import MemoryLog
from stream.config.load import load
from stream.metrics import Metrics
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Clock, Log, Message, Record
from stream.runtime import plans
from stream.runtime.partition import TrackerSettings, own
from stream.simulator.journal import Origin, resume
from tests.adapters.world import read_all
from tests.torture import pour, scene
from tests.torture_kafka.audit import KafkaAuditor
from tests.torture_kafka.faults import WEIGHTS, draw
from tests.torture_kafka.scene import PARTITIONS

MINUTES = 90
Change: TypeAlias = Callable[[str, list[Record]], Iterable[Record]]
"""What becomes of all records of one partition of a topic."""


class Ticking:
    """A clock on which nothing happens at the same time as anything else."""

    def __init__(self) -> None:
        self._now = pour.T0 + 100 * scene.DAY_MS

    def now(self) -> int:
        self._now += 1
        return self._now


@pytest.fixture
async def worked_off(tmp_path: Path) -> MemoryLog:
    """A log of some meters, all counted; beside it a world without a VM."""
    clock = Ticking()
    log = MemoryLog(clock, partitions=PARTITIONS)
    scene.configure(tmp_path, "http://127.0.0.1:1", "none", 'log: "memory:"')
    await plans.apply(log, load(tmp_path / "quota-stream.yaml").plans)
    for name, its_plans in pour.METERS.items():
        registration = wire.encode_registration(name, its_plans, source="meter", at=pour.T0)
        await log.append(DELTAS, wire.partition_of(name, PARTITIONS), [registration])
    for minutes in (range(MINUTES // 2), range(MINUTES // 2, MINUTES)):
        for number, name in enumerate(pour.METERS):
            starts = ((minute, pour.T0 + minute * scene.MINUTE_MS) for minute in minutes)
            deltas = [
                wire.encode_delta(name, start, start + scene.MINUTE_MS, *pour.bytes_of(number, minute))
                for minute, start in starts
            ]
            await log.append(DELTAS, wire.partition_of(name, PARTITIONS), deltas)
        await work_off(log, clock)
    _, journal = resume(tmp_path / "world.jsonl", Origin(1, scene.STEP_MS, scene.BEGAN_MS, 0, scene.SPEED))
    journal.close()
    return log


async def work_off(log: Log, clock: Clock) -> None:
    """As trackers do it, with a checkpoint at the end."""
    for number in range(PARTITIONS):
        _, end = await log.bounds(DELTAS, number)
        observer = Metrics(clock).tracker
        await own(
            log, number, settings=TrackerSettings(), clock=clock, observer=observer, stop=asyncio.Event(), until=end
        )


async def wrong(
    log: Log, journal: Path, *changes: Change, topics: Sequence[str] = (DELTAS, STATE, CHANGES)
) -> set[str]:
    """What a new auditor finds wrong in a copy of the log, written topic by topic, of which something was changed."""
    copy = MemoryLog(Ticking(), partitions=PARTITIONS)
    for topic in (*topics, DEAD_LETTERS):
        for number in range(PARTITIONS):
            records: Iterable[Record] = await read_all(log, topic, number)
            for change in changes:
                records = change(topic, list(records))
            await copy.append(topic, number, [Message(*record[2:]) for record in records])
    auditor = KafkaAuditor(copy, journal, lambda: pour.poured(MINUTES))
    try:
        return {what.partition(": ")[2] or what for what in await auditor.compare_all()}
    finally:
        await auditor.close()


def last(of: str, change: Callable[[Record], list[Record]]) -> Change:
    """Do this to the last record of that topic about a service; of partition 0 alone, which has one."""

    def to_all(topic: str, records: list[Record]) -> list[Record]:
        place = next((n for n in reversed(range(len(records))) if b"meter/2" in (records[n].key or b"")), None)
        if topic != of or place is None:
            return records
        return [*records[:place], *change(records[place]), *records[place + 1 :]]

    return to_all


def other(record: Record, field: str) -> Record:
    """One more in this field."""
    said = json.loads(record.value or b"")
    return record._replace(value=json.dumps(said | {field: said[field] + 1}).encode())


async def test_nothing_is_wrong(worked_off: MemoryLog, tmp_path: Path) -> None:
    """What was worked off well is found to be so, with decisions published twice as well."""
    journal = tmp_path / "world.jsonl"
    assert await wrong(worked_off, journal) == set()
    assert await wrong(worked_off, journal, last(CHANGES, lambda record: [record, record])) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (last(DELTAS, lambda _: []), "state"),
        (last(DELTAS, lambda record: [other(record, "out")]), "state"),
        (last(CHANGES, lambda _: []), "outcomes"),
        (last(CHANGES, lambda record: [record, other(record, "usage_bytes")]), "revisions"),
        (last(CHANGES, lambda record: [other(record, "revision")]), "revisions"),
        (lambda topic, records: reversed(records) if topic == STATE else records, "a checkpoint that went back"),
    ],
    ids=["delta less", "byte more", "decision less", "fork", "gap", "checkpoint back"],
)
async def test_it_notices(worked_off: MemoryLog, tmp_path: Path, change: Change, found: str) -> None:
    """One delta less, one byte more, a decision that is missing, a fork, a gap, a checkpoint that goes back."""
    assert found in await wrong(worked_off, tmp_path / "world.jsonl", change)


async def test_it_notices_what_is_shown_too_early(worked_off: MemoryLog, tmp_path: Path) -> None:
    """Decisions that were in the log before the checkpoint that covers them."""
    journal = tmp_path / "world.jsonl"
    assert await wrong(worked_off, journal, topics=(DELTAS, CHANGES, STATE)) == {"shown before it was durable"}


async def test_it_sees_who_moves(worked_off: MemoryLog, tmp_path: Path) -> None:
    """Trackers have all moved by their checkpoints; no collector ever did."""
    auditor = KafkaAuditor(worked_off, tmp_path / "world.jsonl", dict)
    await auditor.compare_all()
    assert set(auditor.still(0)) == {("collector", number) for number in range(PARTITIONS)}
    moves = auditor.moves["tracker", 0]
    assert len(moves) > 1
    assert auditor.pauses_s(0, moves[-1] + 1)["tracker", 0] > 0
    assert auditor.pauses_s(moves[-1], moves[-1] + 1)["tracker", 0] == 0
    await auditor.close()


def test_faults_follow_from_the_seed() -> None:
    """The same seed draws the same faults, and each kind is among ten of them."""
    faults = [draw(random.Random(seed), 10) for seed in (1, 1, 2)]
    assert faults[0] == faults[1] != faults[2]
    assert all({fault.kind for fault in drawn} == WEIGHTS.keys() for drawn in faults)
