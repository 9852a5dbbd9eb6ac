"""One partition of a topic, read as it grows and through whatever happens to the brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from stream.core.errors import Unavailable
from stream.ports import Log, Record

WAIT_S = 1.0
RETRY_S = 0.2
REACH_S = 20.0


class Tail:
    """Reads in a task of its own, from the first record on."""

    def __init__(self, log: Log, topic: str, partition: int, seen: Callable[[Record], None]) -> None:
        """`seen` is called with each record, in order and once."""
        self._log, self._topic, self._partition, self._seen = log, topic, partition, seen
        self._next_offset = 0
        self._moved = asyncio.Event()
        self._task = asyncio.create_task(self._follow(), name=f"tail of {topic}/{partition}")

    def check(self) -> None:
        """Raises what has ended it, which nothing may."""
        if self._task.done():
            self._task.result()
            raise RuntimeError(f"{self._task.get_name()} has ended")

    async def catch_up(self) -> None:
        """Until everything has been seen that is in the log now.  Raises Unavailable."""
        _, end = await self._log.bounds(self._topic, self._partition)
        try:
            async with asyncio.timeout(REACH_S):
                while self._next_offset < end:
                    self.check()
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError as error:
            raise Unavailable(f"{self._topic}/{self._partition}: read to {self._next_offset} of {end}") from error

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _follow(self) -> None:
        while True:
            try:
                reading = self._log.read(self._topic, self._partition, self._next_offset, wait_s=WAIT_S)
                async with aclosing(reading) as fetches:
                    async for fetch in fetches:
                        for record in fetch.records:
                            self._seen(record)
                        self._next_offset = fetch.next_offset
                        self._moved.set()
            except Unavailable:
                await asyncio.sleep(RETRY_S)
