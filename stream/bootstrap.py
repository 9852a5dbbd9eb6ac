"""Where everything is put together: from a configuration to things that run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.config.model import Config
from stream.core.errors import Misconfigured
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Log


@asynccontextmanager
async def open_log(config: Config, *, create: bool = False) -> AsyncGenerator[Log, None]:
    """The log, for commands that work beside a running `run`.  `create`: make it if it is not there."""
    path = config.log.path
    if path is None:
        raise Misconfigured(f"{config.file}: no other command sees a log in memory; write log: sqlite:quota-stream.db")
    if not create and not path.exists():
        raise Misconfigured(f"{path}: there is no log yet; `quota-stream run` or `quota-stream publish` makes it")
    kept = config.retention
    retention_ms = {DELTAS: kept.deltas, CHANGES: kept.changes, DEAD_LETTERS: kept.dead_letters}
    log = await SqliteLog.open(path, clock=SystemClock(), partitions=config.partitions, retention_ms=retention_ms)
    try:
        yield log
    finally:
        await log.close()


async def run(config: Config, *, drain: bool) -> None:
    """All roles in this process until SIGTERM or SIGINT; with `drain` until what is in the log is worked off."""
    raise NotImplementedError


async def demo(*, services: int, hours: float, seed: int, as_json: bool) -> bool:
    """`run` against the simulator, faster than time.  Whether the audit at the end found everything right."""
    raise NotImplementedError


async def check_live(config: Config, *, as_json: bool) -> bool:
    """Ask the platforms, read-only, and print what is found.  Whether all of it is well."""
    raise NotImplementedError
