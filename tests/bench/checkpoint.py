"""Writing all of a partition's state and restoring it, against the same bytes written and read by bare SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.adapters.sqlite_file import PAGE_BYTES
from stream.core.model import Message
from stream.core.tracker import Tracker
from stream.ports import STATE
from stream.runtime.checkpoint import State, load
from stream.wire import Decoder
from tests.bench.engine import count
from tests.bench.measuring import Block, Result, Stopwatch, alone, compared
from tests.bench.traffic import Fleet, fetches, names_of, registered, shipped

SERVICES = 100_000
BLOCKS = 3


def run() -> Iterator[Result]:
    for plans in (("vpn",), ("vpn", "month")):
        yield from alone(measure, plans)


def measure(plans: tuple[str, ...]) -> list[Result]:
    tracker = _counted(plans)
    writes, restores, size = [], [], 0
    for _ in range(BLOCKS):
        with TemporaryDirectory() as folder:
            wrote, restored, records = asyncio.run(_ours(Path(folder), tracker))
            bare_write, bare_read = _bare(Path(folder), records)
        writes.append(Block(wrote.cpu_s, bare_write.cpu_s))
        restores.append(Block(restored.cpu_s, bare_read.cpu_s))
        size = sum(len(record.value or b"") for record in records)
    case, note = f"{' + '.join(plans)}, {SERVICES:,} services", f"{size / 1e6:.1f} MB, {size / SERVICES:.0f} a service"
    return [
        compared("checkpoint", f"write, {case}", writes, 1e3, "ms CPU", note=note),
        compared("checkpoint", f"restore, {case}", restores, 1e3, "ms CPU", note=note),
    ]


def _counted(plans: Sequence[str]) -> Tracker:
    services = names_of(SERVICES)
    tracker, decoder, fleet = registered(services, shipped(*plans)), Decoder(), Fleet(services)
    for _ in range(2):
        for fetch in fetches(fleet.poll()):
            count(decoder, tracker, fetch)
    return tracker


async def _ours(folder: Path, tracker: Tracker) -> tuple[Stopwatch, Stopwatch, list[Message]]:
    """All pages are dirty, as they are a while after any other checkpoint."""
    writing, restoring = Stopwatch(), Stopwatch()
    log = await SqliteLog.open(folder / "ours.db", clock=SystemClock(), exclusive=True)
    async with log.take_over("tracker", 0) as lease:
        with writing.running():
            records = list(State(tracker, 1).stage([]))
            await lease.write(STATE, records)
    await log.close()
    log = await SqliteLog.open(folder / "ours.db", clock=SystemClock())
    with restoring.running():
        restored = await load(log, 0, lambda service: 0)
    assert restored.next_offset == tracker.next_offset
    await log.close()
    return writing, restoring, records


def _bare(folder: Path, records: Sequence[Message]) -> tuple[Stopwatch, Stopwatch]:
    writing, reading = Stopwatch(), Stopwatch()
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = wal", "synchronous = full"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE latest (key BLOB PRIMARY KEY, value BLOB)")
        with writing.running():
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO latest VALUES (?, ?)", [(key, value) for key, value, _ in records])
            connection.execute("COMMIT")
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection, reading.running():
        found = connection.execute("SELECT key, value FROM latest").fetchall()
    assert len(found) == len(records)
    return writing, reading
