"""How long the oldest record waits that no tracker has counted yet."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing

from stream.ports import DELTAS, Log

EXACT_AFTER_MS = 30_000
"""From here on the record itself is looked at; before, what is seen of the log's end is near enough."""
WAIT_S = 1.0
MOST_ENDS = 1000


class Lag:
    def __init__(self, log: Log) -> None:
        self.since: dict[int, int] = {}
        """By partition: append time of its oldest record that is not counted, or an instant shortly before; none if
        all are counted."""
        self._log = log
        self._looking = asyncio.Lock()
        self._ends: dict[int, deque[tuple[int, int]]] = {}  # (instant, end of the log then), ascending
        self._exact: dict[int, tuple[int, int]] = {}  # (offset, append time of what stands there)

    async def look(self, partition: int, next_offset: int, now: int) -> None:
        """`next_offset`: up to where is counted.  Raises Unavailable."""
        async with self._looking:
            await self._look(partition, next_offset, now)

    async def _look(self, partition: int, next_offset: int, now: int) -> None:
        first, end = await self._log.bounds(DELTAS, partition)
        next_offset = max(next_offset, first)
        ends = self._ends.setdefault(partition, deque())
        while len(ends) > 1 and (ends[1][1] <= next_offset or len(ends) >= MOST_ENDS):
            del ends[0 if ends[1][1] <= next_offset else 1]
        since = ends[0][0] if ends and ends[0][1] <= next_offset else None
        ends.append((now, end))
        if end <= next_offset:
            self.since.pop(partition, None)
        elif since is None or now - since > EXACT_AFTER_MS:
            self.since[partition] = await self._appended_at(partition, next_offset, now if since is None else since)
        else:
            self.since[partition] = since

    async def _appended_at(self, partition: int, offset: int, otherwise: int) -> int:
        known = self._exact.get(partition)
        if known is not None and known[0] == offset:
            return known[1]
        async with aclosing(self._log.read(DELTAS, partition, offset, wait_s=WAIT_S)) as fetches:
            fetch = await anext(fetches)
        at = fetch.records[0].timestamp if fetch.records else otherwise
        self._exact[partition] = (offset, at)
        return at
