"""Which partitions this process serves, and what happens when serving one of them fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from stream.core.errors import Corrupt, Fenced, Misconfigured, Truncated, Unavailable
from stream.ports import Log, Role

log = structlog.get_logger()

Serve: TypeAlias = Callable[[int, asyncio.Event], Awaitable[None]]
"""Serve one partition until the event is set; returns early when there is nothing more to do."""

Assigned: TypeAlias = Callable[[Role, frozenset[int]], None]
"""Hears which partitions this process serves in a role, each time that changes."""

STOP_DEADLINE_S = 20.0


def unheard(role: Role, partitions: frozenset[int]) -> None:
    """Nobody wants to know."""


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

    @property
    def failures(self) -> int:
        """Since the start, or since `reset`."""
        return self._failures

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
            handed_over = isinstance(error, Fenced) and backoff.failures < 2  # as when partitions are shared out anew
            wait_s = backoff.next_s()
            expected = isinstance(error, (Fenced, Unavailable, TimeoutError))
            tell = log.info if handed_over else log.warning if expected else log.exception  # a defect shows where it is
            cause = str(error) or type(error).__name__
            tell("partition.dropped", role=role, partition=partition, cause=cause, retry_in_s=round(wait_s, 1))
        await _wait(stop, wait_s)


async def work(
    role: Role,
    assignments_of: Log,
    serve: Serve,
    stop: asyncio.Event,
    rng: random.Random,
    assigned: Assigned = unheard,
) -> None:
    """Serve whatever partitions the log assigns to this process in `role`, until `stop` or until all are done.

    Whoever is assigned none waits for some.  `assigned` hears of each assignment, when what was taken away has ended.
    At the end nothing more is taken on, all partitions end in order, and then only the assignments are given back:
    nobody else takes over what is still being made durable.  Raises what `assignments` raises, and what a partition
    cannot get over; then all others are told to end as well.
    """
    served = _Served(role, serve, rng, assigned)
    follower = asyncio.create_task(served.follow(assignments_of), name=f"{role}-assignments")
    stopping = asyncio.create_task(stop.wait())
    try:
        await served.until_done(follower, stopping)
    finally:
        stopping.cancel()
        try:
            errors = await served.end()
        finally:  # also for those who are cancelled once more
            follower.cancel()
            _, pending = await asyncio.wait({follower}, timeout=STOP_DEADLINE_S)
            if pending:
                log.warning("assignments.not_left", role=role, deadline_s=STOP_DEADLINE_S)
    if errors:
        raise errors[0]


class _Served:
    """The partitions of this process in one role."""

    def __init__(self, role: Role, serve: Serve, rng: random.Random, assigned: Assigned) -> None:
        self._role, self._serve, self._random, self._assigned = role, serve, rng, assigned
        self._running: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._leaving: list[asyncio.Task[None]] = []  # revoked and not yet ended
        self._changed = asyncio.Event()
        self._ending = False

    async def follow(self, log_: Log) -> None:
        """Begin and end partitions as the log says; once all are ending, only go on being a member."""
        async with aclosing(log_.assignments(self._role)) as assignments:
            async for assigned in assignments:
                if not self._ending:
                    await self._let_go(assigned)
                if not self._ending:
                    self._take_on(assigned)

    async def _let_go(self, assigned: frozenset[int]) -> None:
        for partition in self._running.keys() - assigned:
            task, ended = self._running.pop(partition)
            ended.set()
            self._leaving.append(task)
        await asyncio.gather(*map(_finish, self._leaving))
        self._leaving.clear()

    def _take_on(self, assigned: frozenset[int]) -> None:
        self._assigned(self._role, assigned)
        for partition in sorted(assigned - self._running.keys()):
            ended = asyncio.Event()
            serving = persist(self._role, partition, self._serve, ended, self._random)
            self._running[partition] = asyncio.create_task(serving, name=f"{self._role}-{partition}"), ended
        log.info("partitions.assigned", role=self._role, partitions=sorted(assigned))
        self._changed.set()

    async def until_done(self, follower: asyncio.Task[None], stopping: asyncio.Task[bool]) -> None:
        """Return when `stopping` is done or every partition has nothing more to do; raise what any of them raised."""
        while not stopping.done():
            tasks = [task for task, _ in self._running.values()]
            for task in (*tasks, follower):
                if task.done():
                    task.result()
            if tasks and not self._leaving and all(task.done() for task in tasks):
                return
            self._changed.clear()
            change = asyncio.create_task(self._changed.wait())
            pending = {task for task in (*tasks, follower) if not task.done()}
            try:
                await asyncio.wait({*pending, stopping, change}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()

    async def end(self) -> list[BaseException]:
        """Take nothing more on, and let all partitions end; what they raise."""
        self._ending = True
        for _, ended in self._running.values():
            ended.set()
        tasks = [*self._leaving, *(task for task, _ in self._running.values())]
        results = await asyncio.gather(*map(_finish, tasks), return_exceptions=True)
        return [error for error in results if error is not None]


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
