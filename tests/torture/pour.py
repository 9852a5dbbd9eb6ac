"""A publisher of its own: minute after minute of some meters, each record durable before the next, until SIGTERM.

It says after each round how many minutes there were.  Killed, it goes on at the last that it said: what it then
publishes again is a repeat, which costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.core.errors import Unavailable
from stream.ports import DELTAS, Log, Message
from tests.torture.scene import BEGAN_MS, DAY_MS, MINUTE_MS

T0 = BEGAN_MS - 60 * DAY_MS
METERS = {f"meter/{number}": (("vpn",), ("hour",), ("vpn", "hour"))[number % 3] for number in range(6)}
"""With their plans; each of four partitions has one at least."""
ROUND_S = 0.05


def bytes_of(number: int, minute: int) -> tuple[int, int]:
    """Two hours of three are busy; in the third a meter calms down."""
    in_ = (number * 37 + minute * 11) % 97 * 4_000_001 if (minute // 60 + number) % 3 else 1
    return in_, 1 + number


def poured(minutes: int) -> dict[str, tuple[int, int]]:
    """By meter: all bytes of so many minutes, in and out."""
    rounds = [[bytes_of(number, minute) for minute in range(minutes)] for number in range(len(METERS))]
    return {
        name: (sum(in_ for in_, _ in parts), sum(out for _, out in parts))
        for name, parts in zip(METERS, rounds, strict=True)
    }


def registrations() -> str:
    """For `quota-stream publish`."""
    lines = [
        {"type": "registration", "service": name, "source": "meter", "plans": plans, "at": T0}
        for name, plans in METERS.items()
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


async def pour(log: Log, first: int, round_s: float = ROUND_S) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    minute = first
    while not stop.is_set():
        start = T0 + minute * MINUTE_MS
        for number, name in enumerate(METERS):
            record = wire.encode_delta(name, start, start + MINUTE_MS, *bytes_of(number, minute))
            await append(log, wire.partition_of(name, log.partitions), record)
        minute += 1
        print("minutes", minute, flush=True)
        await asyncio.sleep(round_s)


async def append(log: Log, partition: int, record: Message) -> None:
    """Until the log has it: the disk may be full, or somebody may stand still in the midst of a commit."""
    while True:
        try:
            await log.append(DELTAS, partition, [record])
        except Unavailable:
            await asyncio.sleep(ROUND_S)
        else:
            return


async def _into_sqlite(path: Path, first: int) -> None:
    log = await SqliteLog.open(path, clock=SystemClock(), poll_s=None)
    await pour(log, first)
    await log.close()


def main() -> None:
    try:
        asyncio.run(_into_sqlite(Path(sys.argv[1]), int(sys.argv[2])))
    except Unavailable as error:  # the log could not be opened
        sys.exit(str(error))
