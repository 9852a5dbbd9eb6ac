"""Another process on the same embedded log: `python -m tests.adapters.process ROLE FILE`.

It says what it has done on its standard output, one line each, so that a test can wait for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.core.errors import QuotaStreamError
from stream.ports import CHANGES, DELTAS, STATE, Message

APPENDERS = 4
PAGES = 3
NOBODY = 65534


def say(line: str) -> None:
    print(line, flush=True)


async def hold(path: Path) -> None:
    """As `run`: hold the file until killed."""
    await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    say("holding")
    await asyncio.Event().wait()


async def append(path: Path) -> None:
    """As `publish`: append one delta for each line that comes in."""
    log = await SqliteLog.open(path, clock=SystemClock())
    say("ready")
    for line in sys.stdin:
        await log.append(DELTAS, 0, [Message(b"vm1/1", line.strip().encode())])
        say("appended")
    await log.close()


async def work(path: Path) -> None:
    """As `run` under load, until killed: appenders, and an owner who writes checkpoints and decisions.

    Says `APPENDER NUMBER` for each acknowledged delta, and `checkpoint NUMBER` for each acknowledged checkpoint.
    """
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)

    async def appender(number: int) -> None:
        count = 0
        while True:
            await log.append(DELTAS, 0, [Message(str(number).encode(), b"%d %s" % (count, bytes(count * 97 % 5000)))])
            say(f"{number} {count}")
            count += 1

    async def owner() -> None:
        async with log.take_over("tracker", 0) as lease:
            number = int((await lease.snapshot(STATE)).get(b"meta", b"0"))
            while True:
                number += 1
                text = b"%d" % number
                pages = [Message(b"page/%d" % page, text.ljust(50_000)) for page in range(PAGES)]
                await lease.write(STATE, [*pages, Message(b"meta", text)])
                say(f"checkpoint {number}")
                await lease.write(CHANGES, [Message(b"vm1/1", text)])

    say("working")
    await asyncio.gather(owner(), *(appender(number) for number in range(APPENDERS)))


async def unprivileged(path: Path) -> None:
    """As a user who may not write everywhere: say what opening comes to."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        log = await SqliteLog.open(path, clock=SystemClock())
        await log.close()
        say("opened")
    except QuotaStreamError as error:
        say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    role, file = sys.argv[1:]
    asyncio.run({"hold": hold, "append": append, "work": work, "unprivileged": unprivileged}[role](Path(file)))
