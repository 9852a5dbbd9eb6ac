"""Calling the command line in this process, and what the tests feed it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.cli import cli
from stream.ports import Clock, Message

CONFIG = """\
log: sqlite:q.db
plans:
  vpn:
    window: {slide: 1h}
    warn: 80%
    profiles:
      full: {speed: original, quota: 1000, down: slow}
      slow: {speed: 10 Mbit/s, quota: 1000, stay: 1h, up: full}
"""

T0 = 1764547200000
"""2025-12-01T00:00:00Z."""
MINUTE = 60_000


def call(*arguments: str, stdin: str | bytes = "", status: int = 0) -> Result:
    """Call it; the exit status must be the one that is expected, and no error may get through."""
    result = CliRunner().invoke(cli, list(arguments), input=stdin, prog_name="quota-stream")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def lines(result: Result) -> list[Any]:
    """Standard output as JSON lines."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def registration(service: str, plans: Sequence[str] = ("vpn",)) -> str:
    return json.dumps({"type": "registration", "service": service, "plans": list(plans), "at": T0}) + "\n"


def delta(service: str, minute: int, in_: int, out: int = 0) -> str:
    start = T0 + minute * MINUTE
    return json.dumps({"service": service, "start": start, "end": start + MINUTE, "in": in_, "out": out}) + "\n"


@dataclass(frozen=True)
class StoppedClock:
    at: int

    def now(self) -> int:
        return self.at


def append(topic: str, partition: int, messages: Sequence[Message], *, clock: Clock | None = None) -> None:
    """Put records into the log in the current folder."""

    async def work() -> None:
        log = await SqliteLog.open(Path("q.db"), clock=clock or SystemClock(), partitions=4)
        try:
            await log.append(topic, partition, messages)
        finally:
            await log.close()

    asyncio.run(work())
