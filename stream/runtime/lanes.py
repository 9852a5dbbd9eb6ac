"""Who is read next."""

from __future__ import annotations

import asyncio
from collections import deque

from stream.runtime.roster import Service

BEHIND_SHARE = 4
"""Every so many turns one goes to a service that lies far behind, even if others are due."""


class Lanes:
    """Services that wait to be read: those that are due, and, with a smaller share, those that lie far behind.

    A service is busy from `put` or `again` until `done`, and stands nowhere twice.
    """

    def __init__(self) -> None:
        self._due: deque[Service] = deque()
        self._behind: deque[Service] = deque()
        self._open: set[Service] = set()
        self._waiting = asyncio.Semaphore(0)
        self._turns = 0

    def put(self, service: Service) -> None:
        """It is due."""
        service.busy = True
        self._due.append(service)
        self._open.add(service)
        self._waiting.release()

    def again(self, service: Service) -> None:
        """Its turn is over, and there is more to read of it."""
        service.busy = True
        self._behind.append(service)
        self._waiting.release()

    async def get(self) -> Service:
        """The next one; its turn begins."""
        await self._waiting.acquire()
        self._turns += 1
        behind_first = self._behind and (not self._due or self._turns % BEHIND_SHARE == 0)
        return (self._behind if behind_first else self._due).popleft()

    def done(self, service: Service) -> None:
        """Its turn is over."""
        service.busy = False
        self._open.discard(service)

    @property
    def open(self) -> int:
        """How many of those that were due are not done."""
        return len(self._open)

    @property
    def behind(self) -> int:
        return len(self._behind)
