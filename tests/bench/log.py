"""The embedded log with power-safe commits, against a bare loop that inserts the same bytes with the same pragmas.

Wall time counts here: it is the disk that one waits for.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import orjson

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.adapters.sqlite_file import PAGE_BYTES
from stream.core.model import Message
from stream.ports import DELTAS
from tests.bench.measuring import Block, Result, compared
from tests.bench.traffic import MIDNIGHT, POLL_MS, Fleet, names_of

BLOCKS = 3
INTERVAL = MIDNIGHT, MIDNIGHT + POLL_MS


class Case(NamedTuple):
    name: str
    messages: Sequence[Message]
    deltas: int
    """In each of the messages."""
    appends: int
    at_once: int = 1
    """Messages in each append."""
    appenders: int = 1
    """Who append at the same time, each waiting for its commit."""


def cases() -> list[Case]:
    single = [wire.encode_delta("vm1/100001", *INTERVAL, 120_000, 4_500)]
    batches = {size: wire.encode_batches("vm1", *INTERVAL, names_of(size), *_totals(size)) for size in (1_000, 5_000)}
    return [
        *(Case(f"batches of {size:,}, one a commit", batch, size, 80) for size, batch in batches.items()),
        Case("batches of 5,000, eight a commit", batches[5_000], 5_000, 20, at_once=8),
        Case("batches of 1,000, 8 appenders", batches[1_000], 1_000, 320, appenders=8),
        Case("single deltas, one a commit", single, 1, 150),
        Case("single deltas, 64 appenders", single, 1, 6_400, appenders=64),
        Case("single deltas, 1,000 a commit", single, 1, 20, at_once=1_000),
    ]


def _totals(size: int) -> tuple[list[int], list[int]]:
    fleet = Fleet(names_of(size))
    fleet.poll()
    return fleet.in_.tolist(), fleet.out.tolist()


def run() -> Iterator[Result]:
    for case in cases():
        blocks = []
        for _ in range(BLOCKS):
            with TemporaryDirectory() as folder:
                bare = insert(Path(folder), case)
                ours = asyncio.run(append(Path(folder), case))
            blocks.append(Block(ours, bare))
        yield compared("log", case.name, blocks, 1e6, "us a delta", note=_rate(case, blocks))


def _rate(case: Case, blocks: Sequence[Block]) -> str:
    each = sorted(block.ours_s for block in blocks)[len(blocks) // 2]
    return f"{1 / each:,.0f} deltas/s"


def insert(folder: Path, case: Case) -> float:
    """Seconds a delta.  As many appends a commit as there are appenders: more than anyone can hope for."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = wal", "synchronous = full"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, key BLOB, value BLOB, headers BLOB)")
        key, value, headers = case.messages[0]
        rows = [(key, value, orjson.dumps([(name, text.decode()) for name, text in headers]))]
        rows *= case.at_once * case.appenders
        began = time.perf_counter()
        for _ in range(case.appends // case.appenders):
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO records (key, value, headers) VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
        return (time.perf_counter() - began) / (case.appends * case.at_once * case.deltas)


async def append(folder: Path, case: Case) -> float:
    """Seconds a delta."""
    log = await SqliteLog.open(folder / "ours.db", clock=SystemClock(), exclusive=True)
    messages = [case.messages[0]] * case.at_once

    async def one() -> None:
        for _ in range(case.appends // case.appenders):
            await log.append(DELTAS, 0, messages)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(case.appenders)))
    seconds = time.perf_counter() - began
    await log.close()
    return seconds / (case.appends * case.at_once * case.deltas)
