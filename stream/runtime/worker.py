"""Which partitions this process serves, and what happens when serving one of them fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from stream.core.errors import Corrupt, Fenced, Misconfigured, Truncated, Unavailable
from stream.ports import Log, Role

log = structlog.get_logger()

Serve: TypeAlias = Callable[[int, asyncio.Event], Awaitable[None]]
"""Serve one partition until the event is set; returns early when there is nothing more to do."""

STOP_DEADLINE_S = 20.0


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Waits that double up to a limit, with full jitter; `reset` after success."""

    random: random.Random
    first_s: float = 0.2
    limit_s: float = 30.0
    _failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """The next wait in seconds: between half of the doubled time and the whole of it."""
        whole_s = min(self.limit_s, self.first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return whole_s * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._failures = 0


async def persist(role: Role, partition: int, serve: Serve, stop: asyncio.Event, rng: random.Random) -> None:
    """Serve a partition; on any error drop what was held and begin anew after a while.

    What cannot pass (Corrupt, Truncated, Misconfigured) is raised.
    """
    backoff = Backoff(random=rng)
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        began = loop.time()
        try:
            await serve(partition, stop)
            return
        except (Corrupt, Truncated, Misconfigured):
            raise
        except Exception as error:
            if loop.time() - began > backoff.limit_s:
                backoff.reset()
            wait_s = backoff.next_s()
            expected = isinstance(error, (Fenced, Unavailable, TimeoutError))
            tell = log.warning if expected else log.exception  # a defect of ours shows where it is
            cause = str(error) or type(error).__name__
            tell("partition.dropped", role=role, partition=partition, cause=cause, retry_in_s=round(wait_s, 1))
        await _wait(stop, wait_s)


async def work(role: Role, assignments_of: Log, serve: Serve, stop: asyncio.Event, rng: random.Random) -> None:
    """Serve whatever partitions the log assigns to this process in `role`, until `stop` or until all are done.

    Raises what `assignments` raises, and what a partition cannot get over; then all others are told to end as well.
    """
    running: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
    leaving: list[asyncio.Task[None]] = []  # revoked and not yet ended

    async def follow() -> None:
        async for assigned in assignments_of.assignments(role):
            for partition in running.keys() - assigned:
                task, ended = running.pop(partition)
                ended.set()
                leaving.append(task)
            await asyncio.gather(*map(_finish, leaving))
            leaving.clear()
            for partition in sorted(assigned - running.keys()):
                ended = asyncio.Event()
                task = asyncio.create_task(persist(role, partition, serve, ended, rng), name=f"{role}-{partition}")
                running[partition] = (task, ended)
            log.info("partitions.assigned", role=role, partitions=sorted(assigned))
            changed.set()

    changed = asyncio.Event()
    follower = asyncio.create_task(follow(), name=f"{role}-assignments")
    stopping = asyncio.create_task(stop.wait())
    try:
        await _until_done(running, changed, follower, stopping)
    finally:
        follower.cancel()
        stopping.cancel()
        for _, ended in running.values():
            ended.set()
        ending = [*leaving, *(task for task, _ in running.values())]
        results = await asyncio.gather(*map(_finish, ending), return_exceptions=True)
        errors = [error for error in results if error is not None]
    if errors:
        raise errors[0]


async def _until_done(
    running: dict[int, tuple[asyncio.Task[None], asyncio.Event]],
    changed: asyncio.Event,
    follower: asyncio.Task[None],
    stopping: asyncio.Task[bool],
) -> None:
    """Return when `stopping` is done or every partition has nothing more to do; raise what any of them raised."""
    while not stopping.done():
        tasks = [task for task, _ in running.values()]
        for task in (*tasks, follower):
            if task.done():
                task.result()
        if tasks and all(task.done() for task in tasks):
            return
        changed.clear()
        change = asyncio.create_task(changed.wait())
        pending = {task for task in (*tasks, follower) if not task.done()}
        try:
            await asyncio.wait({*pending, stopping, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()


async def _finish(task: asyncio.Task[None]) -> None:
    """Let a task end in its own time, within the deadline; then cancel it.  Raises what it raised."""
    _, pending = await asyncio.wait({task}, timeout=STOP_DEADLINE_S)
    if pending:
        log.warning("partition.stop_deadline", task=task.get_name(), deadline_s=STOP_DEADLINE_S)
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
