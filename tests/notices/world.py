"""A log with decisions, a notifier, and receivers that behave as they are told; its time is warped."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from stream import wire
from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.core.errors import Refused, Unavailable
from stream.core.model import Decision, Position, QuotaWarning, Reason, Slice
from stream.core.speed import Speed
from stream.ports import CHANGES, Log, Receiver
from stream.runtime.notifier import Notifier
from stream.runtime.worker import work

START_MS = 1_764_547_200_000
KINDS = ("change", "return", "warning", "alarm")
SLOW, FAST = Speed(10_000_000, 10_000_000), Speed(100_000_000, 100_000_000)


@dataclass
class Inbox:
    """A receiver that lives here."""

    got: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False
    refuses: set[str] = field(default_factory=set)
    """Ids that it does not want."""
    tries: Counter[str] = field(default_factory=Counter)

    async def deliver(self, event: bytes) -> None:
        await asyncio.sleep(0.01)
        document = orjson.loads(event)
        self.tries[document["id"]] += 1
        if self.down:
            raise Unavailable("down")
        if document["id"] in self.refuses:
            raise Refused("not this one")
        self.got.append(document)
        await asyncio.sleep(0.01)  # who is cancelled here has told it and does not know

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def ids(self) -> list[str]:
        """In the order in which they came first."""
        return list(dict.fromkeys(one["id"] for one in self.got))


class Observed:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.waiting: dict[int, int] = {}
        self.since: dict[int, int | None] = {}

    def notified(self, kind: str, result: str) -> None:
        self.results[result] += 1

    def undelivered(self, partition: int, count: int, since: int | None) -> None:
        self.waiting[partition], self.since[partition] = count, since


class World:
    def __init__(self, clock: WarpClock, log: Log | None = None) -> None:
        self.clock = clock
        self.log: Log = log or MemoryLog(clock, partitions=1)
        self.inbox = Inbox()
        self.problems: Mapping[str, str] | None = {}
        self.alarm_after_ms = 300_000
        self.observed = Observed()
        self.revisions: Counter[str] = Counter()
        self._running: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    # ------------------------------------------------ what happens

    async def decided(self, service: str, speed: Speed = SLOW, reason: Reason = "exceeded") -> str:
        """The id of what is to be told of it."""
        self.revisions[service] += 1
        moves = reason in ("exceeded", "stay_over")
        decision = Decision(
            service, 7, self.revisions[service], self.clock.now(), reason, speed, 1, Position(3), 0,
            *(("vpn", "a", "b", speed, 5, 4, (Slice(0, 1, 5),)) if moves else ()),
        )  # fmt: skip
        await self._append(wire.encode_outcome(decision), service)
        return f"{service}/7/{self.revisions[service]}"

    async def warned(self, service: str) -> None:
        slices = (Slice(0, 1, 80),)
        now = self.clock.now()
        warning = QuotaWarning(service, 7, "vpn", "a", now, 80, 80, 100, slices, 1, Position(9), 0)
        await self._append(wire.encode_outcome(warning), service)

    async def _append(self, message: Any, service: str) -> None:
        await self.log.append(CHANGES, wire.partition_of(service, self.log.partitions), [message])

    # ------------------------------------------------ the notifier

    def start(self, receiver: Receiver | None = None, kinds: tuple[str, ...] = KINDS) -> None:
        """A new process that tells."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.process(stop, receiver, kinds))
        self._running.append((task, stop))

    async def process(
        self, stop: asyncio.Event, receiver: Receiver | None = None, kinds: tuple[str, ...] = KINDS
    ) -> None:
        """What a process that tells does."""
        notifier = Notifier(
            self.log,
            receiver or self.inbox,
            lambda: self.problems,
            kinds=kinds,
            alarm_after_ms=self.alarm_after_ms,
            clock=self.clock,
            rng=random.Random(1),
            observer=self.observed,
        )
        await work("notifier", self.log, notifier.serve, stop, random.Random(2))

    async def stop(self) -> None:
        """End the process in an orderly way."""
        task, stop = self._running.pop()
        stop.set()
        await task

    async def kill(self) -> None:
        """End all processes at once."""
        while self._running:
            task, _ = self._running.pop()
            task.cancel()
            await asyncio.wait({task})

    async def begin(self, **kinds: Any) -> None:
        """Start, and wait until what comes from now on is told."""
        self.start(**kinds)
        await self.until(lambda: 0 in self.observed.waiting)

    async def until(self, condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Wait until it holds; fail if it does not within so much of the world's time."""
        async with asyncio.timeout(within_s):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.05)

    async def told(self, *ids: str, within_s: float = 60.0) -> None:
        await self.until(lambda: set(ids) <= set(self.inbox.ids), within_s=within_s)


def live(scenario: Callable[[World], Awaitable[None]]) -> None:
    """Run a scenario in a world of its own; nothing may be left running."""

    async def main(clock: WarpClock) -> None:
        world = World(clock)
        try:
            await scenario(world)
        finally:
            await world.kill()

    run_warped(main, start_ms=START_MS)
