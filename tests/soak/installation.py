"""quota-stream on one file, in this process: it can lose its power, and start again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping

from stream.adapters.clock import WarpClock
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap import Parts, work_together
from stream.config.model import Config
from stream.metrics import Metrics
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Platform
from tests.bench.measuring import resident_bytes
from tests.soak.diary import Day

LOOK_S = 0.01
"""Of warped time: how often to look whether something has come about."""

CATCHING_UP_S = 60.0
"""Of warped time: until all that the file holds must be counted."""

Platforms = Callable[[Metrics], Mapping[str, Platform]]


class Installation:
    """All roles on the configured log.  `start` and `cut` take turns; `stop` is the end."""

    log: SqliteLog
    metrics: Metrics
    platforms: Mapping[str, Platform]

    def __init__(self, config: Config, clock: WarpClock, platforms: Platforms = lambda metrics: {}) -> None:
        self._config, self._clock, self._make_platforms = config, clock, platforms

    async def start(self) -> float:
        """Returns the real seconds from opening the file until all that it held is counted."""
        began_s = time.perf_counter()
        path, kept = self._config.log.path, self._config.retention
        assert path is not None
        retention_ms = {DELTAS: kept.deltas, CHANGES: kept.changes, DEAD_LETTERS: kept.dead_letters}
        self.log = await SqliteLog.open(
            path, clock=self._clock, exclusive=True, partitions=self._config.partitions, retention_ms=retention_ms,
            poll_s=None,
        )  # fmt: skip
        ends = [(await self.log.bounds(DELTAS, number))[1] for number in range(self.log.partitions)]
        self.metrics = Metrics(self._clock)
        self.platforms = self._make_platforms(self.metrics)
        self._stop = asyncio.Event()
        parts = Parts(
            config=self._config, log=self.log, clock=self._clock, metrics=self.metrics, platforms=self.platforms,
            random=random.Random(1),
        )  # fmt: skip
        self._roles = asyncio.create_task(work_together(parts, self._stop))
        async with asyncio.timeout(CATCHING_UP_S):
            await self.metrics.tracker.all_restored()
            trackers = self.metrics.tracker.trackers
            while any(trackers[number].next_offset < end for number, end in enumerate(ends)):
                await self.sleep(LOOK_S)
        return time.perf_counter() - began_s

    async def sleep(self, seconds: float) -> None:
        """Raises what the roles raise in the meantime."""
        await asyncio.wait({self._roles}, timeout=seconds)
        if self._roles.done():
            self._roles.result()
            raise AssertionError("the roles ended")

    async def cut(self) -> None:
        """Nothing that they do from now on reaches the file."""
        await self.log.close()
        self._roles.cancel()
        await asyncio.gather(self._roles, return_exceptions=True)
        for platform in self.platforms.values():
            await platform.close()

    async def stop(self) -> None:
        """In order; the log stays open, to be read."""
        self._stop.set()
        await self._roles
        for platform in self.platforms.values():
            await platform.close()

    async def day(self, number: int, deltas: int) -> Day:
        """How things stand."""
        decisions = [(await self.log.bounds(CHANGES, partition))[1] for partition in range(self.log.partitions)]
        return Day(number, deltas, sum(decisions), resident_bytes(), self.log.size_bytes())
