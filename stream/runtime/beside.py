"""Work beside what its owner does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Beside:
    """At most one piece of work at a time.  What it raises is raised to its owner, who asks; leaving the context gives
    it up."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        """The piece that is under way, or has ended and nobody has asked yet."""

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        assert self.task is None, "one at a time"
        self.task = asyncio.create_task(work)

    def is_free(self) -> bool:
        """Whether nothing is under way."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            task.result()
        return self.task is None

    async def end(self) -> None:
        """Wait until nothing is under way."""
        if self.task is not None:
            await asyncio.wait({self.task})
        self.is_free()

    async def __aenter__(self) -> Beside:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
