"""How much of the input waits to be counted: what a tracker itself cannot tell when it is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from stream.core.errors import Unavailable
from stream.core.tracker import Tracker
from stream.ports import DELTAS, Log

DEADLINE_S = 2.0


class LagObserver(Protocol):
    @property
    def trackers(self) -> Mapping[int, Tracker]:
        """Those of this process, by partition."""
        ...

    def behind(self, partition: int, records: int) -> None:
        """So many offsets lie between what the tracker has applied and the end of its input."""
        ...


async def look(log: Log, observer: LagObserver) -> None:
    """Tell the observer how far each tracker is behind.  Of what the log does not answer within DEADLINE_S nothing is
    told."""
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(DEADLINE_S):
            for partition, tracker in list(observer.trackers.items()):
                _, end = await log.bounds(DELTAS, partition)
                if observer.trackers.get(partition) is tracker:
                    observer.behind(partition, max(0, end - tracker.next_offset))
