"""A circuit breaker: a platform that does not answer is left in peace for a while, then asked by one caller first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, TypeVar

from stream.core.errors import Busy, Refused, Unavailable
from stream.runtime.worker import Backoff

T = TypeVar("T")
BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


class Breaker:
    """closed --- `failures` times Unavailable in a row ---> open --- a while ---> half-open: one call goes through

    Its success closes the breaker, its failure opens it again, for longer.  Callers wait while it is not closed.
    """

    def __init__(self, backoff: Backoff, *, failures: int, changed: Callable[[BreakerState, float], None]) -> None:
        self._backoff = backoff
        self._most_failures = failures
        self._tell = changed
        self._failures = 0
        self._retry_at_s = 0.0
        self._change = asyncio.Event()
        self.state: BreakerState = "closed"

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result, as soon as it may be asked for.  Its errors pass through."""
        probing = await self._turn()
        try:
            result = await operation()
        except (Busy, Refused):
            self._become("closed")  # it does answer
            raise
        except Unavailable:
            self._failed(probing)
            raise
        except BaseException:  # nothing was learnt of the platform
            if probing:
                self._become("open")
            raise
        self._become("closed")
        return result

    async def _turn(self) -> bool:
        """Wait until a call may go through; true if it is the probe."""
        while self.state != "closed":
            wait_s = self._retry_at_s - asyncio.get_running_loop().time()
            if self.state == "open" and wait_s <= 0:
                self._become("half_open")
                return True
            try:
                async with asyncio.timeout(wait_s if self.state == "open" else None):
                    await self._change.wait()
            except TimeoutError:
                continue
        return False

    def _failed(self, probing: bool) -> None:
        self._failures += 1
        if probing or (self.state == "closed" and self._failures >= self._most_failures):
            self._retry_at_s = asyncio.get_running_loop().time() + self._backoff.next_s()
            self._become("open")

    def _become(self, state: BreakerState) -> None:
        if state == "closed":
            self._failures = 0
            self._backoff.reset()
        if state != self.state:
            self.state = state
            self._tell(state, max(0.0, self._retry_at_s - asyncio.get_running_loop().time()))
            self._change.set()
            self._change = asyncio.Event()
