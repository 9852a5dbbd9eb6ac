"""What one platform's collector publishes into one partition: in order, in batches, until the log has it.

Growing deltas make repeats harmless, so an append that failed half-way is simply made again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from stream import wire
from stream.core.errors import Unavailable
from stream.ports import DELTAS, Log, Message
from stream.runtime.meter import Delta
from stream.runtime.worker import Backoff

log = structlog.get_logger()

LINGER_S = 5.0
"""Longest that a delta waits for others."""
CHUNK = 5_000
"""So many waiting deltas are published without waiting for more."""
LIMIT = 50_000
"""From so many on, nothing more is read for this partition until the log has taken what waits."""
MESSAGES_AT_ONCE = 500
DEADLINE_S = 30.0

_ORDER = itemgetter(0, 1, 2, 3)
_GROUP = itemgetter(0, 1, 2)


class PublisherObserver(Protocol):
    """What metrics want to know of publishing."""

    def published(self, platform: str, deltas: int) -> None: ...
    def append_failed(self, platform: str, partition: int) -> None: ...


class Publisher:
    """`run` is its life; whatever was handed over and not published when it ends is read again by the next owner."""

    def __init__(
        self, appends_to: Log, partition: int, source: str, rng: random.Random, observer: PublisherObserver
    ) -> None:
        self._log = appends_to
        self._partition = partition
        self._source = source
        self._backoff = Backoff(random=rng)
        self._observer = observer
        self._deltas: list[Delta] = []
        self._registrations: list[Message] = []
        self._deregistrations: list[Message] = []
        self._waiting = asyncio.Event()
        self._urgent = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._deltas) >= LIMIT

    def add(self, deltas: Iterable[Delta]) -> None:
        """A service's deltas in order of time."""
        self._deltas.extend(deltas)
        self._waiting.set()
        if len(self._deltas) >= CHUNK:
            self._urgent.set()

    def register(self, message: Message) -> None:
        """Goes before any delta that is added later."""
        self._registrations.append(message)
        self._waiting.set()

    def deregister(self, message: Message) -> None:
        """Goes after any delta that was added before."""
        self._deregistrations.append(message)
        self._waiting.set()

    def flush(self) -> None:
        """Nothing more is to come for now: what waits need not wait longer."""
        if self._waiting.is_set():
            self._urgent.set()

    async def run(self) -> None:
        """Publish what comes, for ever."""
        while True:
            await self._waiting.wait()
            await _set_within(self._urgent, LINGER_S)
            messages, deltas = self._take()
            for first in range(0, len(messages), MESSAGES_AT_ONCE):
                await self._append(messages[first : first + MESSAGES_AT_ONCE])
            self._observer.published(self._source, deltas)

    def _take(self) -> tuple[list[Message], int]:
        """Everything that waits: registrations, batches in order of time, deregistrations."""
        deltas, self._deltas = sorted(self._deltas, key=_ORDER), []
        messages = [*self._registrations, *self._batches(deltas), *self._deregistrations]
        self._registrations, self._deregistrations = [], []
        self._waiting.clear()
        self._urgent.clear()
        return messages, len(deltas)

    def _batches(self, deltas: Sequence[Delta]) -> Iterable[Message]:
        """One batch for each interval, so that the tracker has one start and one end for all its services."""
        for (start, end, judged), alike in groupby(deltas, key=_GROUP):
            _, _, _, _, services, in_, out = zip(*alike, strict=True)
            yield from wire.encode_batches(self._source, start, end, services, in_, out, backfill=not judged)

    async def _append(self, messages: Sequence[Message]) -> None:
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._log.append(DELTAS, self._partition, messages)
            except (Unavailable, TimeoutError) as error:
                wait_s = self._backoff.next_s()
                self._observer.append_failed(self._source, self._partition)
                log.warning(
                    "publish.failed", platform=self._source, partition=self._partition,
                    cause=str(error) or type(error).__name__, retry_in_s=round(wait_s, 1),
                )  # fmt: skip
                await asyncio.sleep(wait_s)
            else:
                self._backoff.reset()
                return


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
