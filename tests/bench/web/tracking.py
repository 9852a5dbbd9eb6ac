"""A tracker at work in a process of its own: `python -m tests.bench.web.tracking FILE SERVICES`.

Every service is polled once a minute, a twelfth of them before each checkpoint.  It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.core.model import Record
from stream.core.tracker import Tracker
from stream.ports import STATE
from stream.runtime.checkpoint import State
from stream.wire import Decoder
from tests.bench.engine import count
from tests.bench.traffic import MIDNIGHT, POLL_MS, name_of, registered, shipped

SHARES = 12
EVERY_S = 5.0
BATCH = wire.MAX_BATCH_SERVICES
MOST_BYTES_A_POLL = 20_000_000


class Fleet:
    """Services with traffic of their own: unlike each other, as real ones are."""

    def __init__(self, services: int) -> None:
        self.tracker: Tracker = registered(map(name_of, range(services)), shipped("vpn"))
        self.services = services
        self._decoder = Decoder()
        self._random = np.random.default_rng(1)
        self._totals = np.zeros((2, services), np.int64)
        self._records = 0

    def poll(self, minute: int, share: int) -> None:
        """One of SHARES parts of them."""
        first, end = (self.services * part // SHARES for part in (share, share + 1))
        self._totals[:, first:end] += self._random.integers(0, MOST_BYTES_A_POLL, (2, end - first))
        for start in range(first, end, BATCH):
            count(self._decoder, self.tracker, list(self._batch(minute, start, min(start + BATCH, end))))

    def _batch(self, minute: int, first: int, end: int) -> Iterator[Record]:
        now = MIDNIGHT + minute * POLL_MS
        names = list(map(name_of, range(first, end)))
        in_, out = (each[first:end].tolist() for each in self._totals)
        for message in wire.encode_batches("vm1", MIDNIGHT, now, names, in_, out):
            yield Record(self._records, now, message.key, message.value)
            self._records += 1


async def track(file: Path, services: int) -> None:
    fleet = Fleet(services)
    for minute in (1, 2):
        for share in range(SHARES):
            fleet.poll(minute, share)
    state = State(fleet.tracker, 1)
    log = await SqliteLog.open(file, clock=SystemClock(), partitions=1)
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with log.take_over("tracker", 0) as lease:
        for step in range(3 * SHARES, 1 << 30):
            await lease.write(STATE, list(state.stage([])))
            state.staged_is_durable()
            print(f"checkpoint {step}", flush=True)
            await asyncio.wait({over}, timeout=EVERY_S)
            if over.done():
                break
            fleet.poll(*divmod(step, SHARES))
    await log.close()


if __name__ == "__main__":
    asyncio.run(track(Path(sys.argv[1]), int(sys.argv[2])))
