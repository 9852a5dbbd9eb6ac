"""How the topics are read: each partition of each topic for ever, from where its reader says, over all trouble.

begin ---> read ... read ---> (the log cannot answer: wait, begin again)
  ^                  |
  +------------------+        (what is next to read is gone, or the log is another one: begin with nothing)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from stream.core.errors import Corrupt, Misconfigured, Truncated, Unavailable
from stream.ports import Fetch, Log, Record
from stream.runtime.worker import Backoff

log_ = structlog.get_logger()

WAIT_S = 1.0
"""A read that finds nothing looks up so often."""
DEADLINE_S = 60.0
"""For each call on the log."""


class Reader(Protocol):
    """What is made of one partition of a topic."""

    topic: str
    partition: int

    @property
    def damage(self) -> str:
        """Why something that was read cannot be shown; empty if all is well."""
        ...

    async def begin(self, first: int, end: int) -> int:
        """Where to read from: at `first`, the oldest offset kept, or later."""
        ...

    async def take(self, records: Sequence[Record], next_offset: int) -> None:
        """What was read; everything before `next_offset` is taken then.  Raises Corrupt for what cannot be read on."""
        ...


@dataclass(slots=True)
class Progress:
    """Of one reader."""

    next_offset: int = -1
    """Everything before it is taken; -1: nothing yet."""
    seen: int = 0
    """What was in the log at the probe of this number is taken."""
    as_of: int | None = None
    """What was in the log at this instant (ms) is taken."""
    trouble: str = ""
    """Why nothing can be read now."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    _probe: tuple[int, int, int] | None = None

    def probe(self, number: int, at: int, end: int) -> None:
        """At this instant the partition ended there."""
        if self._probe is None:
            self._probe = number, at, end
        self._look()

    def restart(self) -> None:
        self.next_offset, self._probe = -1, None

    def moved_to(self, next_offset: int) -> None:
        self.next_offset, self.trouble = next_offset, ""
        self._look()

    def _look(self) -> None:
        if self._probe is not None and self.next_offset >= self._probe[2]:
            self.seen, self.as_of, _ = self._probe
            self._probe = None
            self.moved.set()


async def follow(log: Log, reader: Reader, progress: Progress, rng: random.Random) -> None:
    """For ever.  Trouble is noted and waited for.  Raises Misconfigured: what somebody must mend does not pass."""
    backoff = Backoff(random=rng)
    while True:
        try:
            await _read(log, reader, progress, backoff)
        except Truncated as error:  # it begins anew with what there is
            log_.warning("replica.begins_anew", topic=reader.topic, partition=reader.partition, cause=str(error))
        except (Unavailable, Corrupt, TimeoutError) as error:
            progress.trouble = str(error) or f"the log has not answered within {DEADLINE_S:g} s"
        except Misconfigured:  # a right that is missing, another number of partitions
            raise
        except Exception as error:  # a defect of ours: what was read is dropped, and others go on
            log_.exception("replica.defect", topic=reader.topic, partition=reader.partition)
            progress.trouble = f"a defect of quota-stream, please report it: {error!r}"
        progress.restart()
        wait_s = backoff.next_s()
        if progress.trouble:
            log_.warning("replica.cannot_read", topic=reader.topic, partition=reader.partition,
                         cause=progress.trouble, retry_in_s=round(wait_s, 1))  # fmt: skip
        await asyncio.sleep(wait_s)


async def _read(log: Log, reader: Reader, progress: Progress, backoff: Backoff) -> None:
    async with asyncio.timeout(DEADLINE_S):
        first, end = await log.bounds(reader.topic, reader.partition)
        offset = await reader.begin(first, end)
    if offset >= end:  # nothing is there that a read would give
        await _take(reader, progress, Fetch((), offset))
    async with aclosing(log.read(reader.topic, reader.partition, offset, wait_s=WAIT_S)) as fetches:
        while True:
            async with asyncio.timeout(DEADLINE_S):
                fetch = await anext(fetches)
            await _take(reader, progress, fetch)
            backoff.reset()


async def _take(reader: Reader, progress: Progress, fetch: Fetch) -> None:
    if fetch.records or fetch.next_offset != progress.next_offset:
        await reader.take(fetch.records, fetch.next_offset)
    progress.moved_to(fetch.next_offset)
