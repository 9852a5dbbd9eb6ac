"""The collector: every platform's poller, and the partitions that they poll for.

It keeps nothing of its own.  With a partition come, from `quota.state`, its services and how far each is counted; with
its loss all of that is dropped, and whoever takes it next begins where the tracker is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import structlog

from stream import wire
from stream.core.errors import Unavailable
from stream.core.view import Counted
from stream.ports import Clock, Log
from stream.runtime.comparison import Comparison, MonthSums, Noted
from stream.runtime.poller import Poller
from stream.runtime.publisher import Publisher
from stream.runtime.source import PollerObserver, Source
from stream.runtime.worker import Assigned, unheard, work

log = structlog.get_logger()

REFRESH_S = 3600.0
KNOWN_DEADLINE_S = 60.0
REPORT_DEADLINE_S = 30.0

Known: TypeAlias = Callable[[int], Awaitable[Iterable[Counted]]]
"""The services of a partition as its last checkpoint has them.  Raises Unavailable or Corrupt."""

Report: TypeAlias = Callable[[int, Sequence[Comparison], Sequence[str]], Awaitable[None]]
"""Where the daily comparisons of a partition go, and which services' are to be forgotten.  Raises Unavailable."""


class CollectorObserver(PollerObserver, Protocol):
    """What metrics want to know of the collector."""

    def compared(self, platform: str, partition: int, compared: Sequence[Comparison], gone: Sequence[str] = ()) -> None:
        """The newest comparisons of some services of a platform in a partition; those that are gone have none."""
        ...


class Collector:
    """Collects from `sources` for whatever partitions the log assigns to this process."""

    def __init__(
        self,
        publishes_to: Log,
        sources: Sequence[Source],
        known: Known,
        *,
        clock: Clock,
        rng: random.Random,
        observer: CollectorObserver,
        report: Report | None = None,
        assigned: Assigned = unheard,
    ) -> None:
        self._log = publishes_to
        self._known = known
        self._clock = clock
        self._random = rng
        self._observer = observer
        self._report = report
        self._assigned = assigned
        self.pollers = [
            Poller(
                source,
                partition_of=lambda service: wire.partition_of(service, publishes_to.partitions),
                clock=clock,
                rng=rng,
                observer=observer,
            )
            for source in sources
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set.  Raises Corrupt and the like; whatever can pass is waited for."""
        polling = [asyncio.create_task(poller.run(), name=f"poller-{poller.name}") for poller in self.pollers]
        served = work("collector", self._log, self.serve, stop, self._random, self._assigned)
        serving = asyncio.create_task(served)
        try:
            done, _ = await asyncio.wait([serving, *polling], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel([serving, *polling])
            for poller in self.pollers:
                await poller.source.listings.close()

    async def serve(self, partition: int, stop: asyncio.Event) -> None:
        """Collect for one partition until `stop` is set."""
        known = await self._read(partition)
        tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(self._refresh(partition, known))]
        for poller in self.pollers:
            publisher = Publisher(self._log, partition, poller.name, self._random, self._observer)
            poller.take(partition, known, publisher)
            tasks.append(asyncio.create_task(publisher.run(), name=f"publish-{poller.name}-{partition}"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for poller in self.pollers:
                poller.release(partition)
            await _cancel(tasks)

    async def _refresh(self, partition: int, known: Sequence[Counted]) -> None:
        """Look at the state again every hour: for what it lacks, and for what has become final."""
        months = [MonthSums(poller.calendar, _of(poller, known)) for poller in self.pollers]
        while True:
            await asyncio.sleep(REFRESH_S)
            as_of = self._clock.now()
            try:
                known = await self._read(partition)
            except (Unavailable, TimeoutError) as error:
                log.warning("collector.state_unread", partition=partition, cause=str(error))
                continue
            for poller, sums in zip(self.pollers, months, strict=True):
                ours = _of(poller, known)
                poller.refresh(partition, ours, as_of)
                noted = sums.note(ours, as_of)
                if (noted.grown or noted.gone) and poller.source.settings.month_check:
                    await self._compare(partition, poller, sums, noted)

    async def _compare(self, partition: int, poller: Poller, sums: MonthSums, noted: Noted) -> None:
        compared = await sums.compare(poller.source.platform, noted.grown)
        self._observer.compared(poller.name, partition, compared, noted.gone)
        if self._report is not None:
            try:
                async with asyncio.timeout(REPORT_DEADLINE_S):
                    await self._report(partition, compared, noted.gone)
            except (Unavailable, TimeoutError) as error:
                log.warning(
                    "month.not_reported", platform=poller.name, partition=partition, cause=str(error) or "no answer"
                )

    async def _read(self, partition: int) -> list[Counted]:
        async with asyncio.timeout(KNOWN_DEADLINE_S):
            return list(await self._known(partition))


def _of(poller: Poller, known: Sequence[Counted]) -> list[Counted]:
    """Those of its platform."""
    return [counted for counted in known if counted.service.startswith(poller.name + "/")]


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they have ended; what they raise then is nobody's."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
