"""The wall clock, and an event loop whose time is warped: it jumps ahead whenever there is nothing else to do.

The same code runs on both.  Whatever waits does so through asyncio (`sleep`, `timeout`, the loop's time), and reads
the wall clock through `ports.Clock`; so a simulated month takes as long as its work, and every time-out fires in order.

    real time     |=work=||=work=||=work=|
                          :       :
    loop.time()   0 ------> 60 ---> 3600        nothing is ready: straight to the next timer
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

GRACE_S = 0.001
"""How long, in real time, a socket gets to show that it is ready before time jumps."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class WarpClock:
    """Wall-clock time of a warped loop: `start_ms` when the loop's time was 0."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms

    def now(self) -> int:
        return self._start_ms + round(self._loop.time() * 1000)


class WarpLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything is ready, and else jumps to the next timer.

    It does not jump while a job of `run_in_executor` is under way, nor before the sockets, if there are any, had
    `grace_s` of real time to become ready (0: they are polled once; enough when both ends live in this loop).
    `max_speed` is the most seconds of loop time in a second of real time, for those who want to watch.  Without threads
    and sockets the order of all events depends on the program alone.

    What takes time elsewhere and is not known here (another process behind a socket, a thread of one's own) seems
    infinitely slow to it: give it more grace, or a `max_speed`.
    """

    def __init__(self, *, grace_s: float = GRACE_S, max_speed: float | None = None) -> None:
        self._warp = _WarpSelector(grace_s, max_speed)
        super().__init__(self._warp)
        # The loop fires what is due within its clock's resolution.  It takes that from the system's clock: 1 ns, which
        # is lost in the rounding after 100 days, so that a timer could be reached and yet never be due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the loop was made, as it counts them."""
        return self._warp.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        future = super().run_in_executor(executor, func, *args)
        self._warp.jobs += 1
        future.add_done_callback(self._job_ended)
        return future

    async def shutdown_default_executor(self, *timeout_s: float | None) -> None:
        self._warp.jobs += 1  # its threads are joined in real time
        try:
            await super().shutdown_default_executor(*timeout_s)
        finally:
            self._warp.jobs -= 1

    def _job_ended(self, _: asyncio.Future[Any]) -> None:
        self._warp.jobs -= 1


class _WarpSelector(selectors.DefaultSelector):
    """A selector that, asked to wait for a timer, lets the loop's time jump there instead."""

    def __init__(self, grace_s: float, max_speed: float | None) -> None:
        super().__init__()
        self.now = 0.0
        self.jobs = 0
        """How many executor jobs are under way: until one of them ends, time stands still."""
        self._grace_s = grace_s
        self._max_speed = max_speed
        self._moved_at = time.monotonic()  # in real time, when `now` last moved

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.jobs:
            return super().select(None)
        ready = super().select(self._real_wait_s(timeout))
        self._move(timeout, interrupted=bool(ready))
        return ready

    def _real_wait_s(self, timeout: float) -> float:
        grace_s = self._grace_s if len(self.get_map()) > 1 else 0.0  # one is the loop's own, by which threads wake it
        if self._max_speed is None:
            return grace_s
        spent_s = time.monotonic() - self._moved_at
        return max(grace_s, timeout / self._max_speed - spent_s)

    def _move(self, timeout: float, *, interrupted: bool) -> None:
        """Jump; or, if a socket was first, by as much as the real time allows at this speed."""
        moved_at = time.monotonic()
        if not interrupted:
            self.now += timeout
        elif self._max_speed is not None:
            self.now += min(timeout, (moved_at - self._moved_at) * self._max_speed)
        self._moved_at = moved_at


def run_warped(
    main: Callable[[WarpClock], Coroutine[Any, Any, _T]],
    *,
    start_ms: int,
    grace_s: float = GRACE_S,
    max_speed: float | None = None,
) -> _T:
    """Run `main(clock)` to its end on a loop of its own whose time is warped; `clock` shows `start_ms` at its start."""
    loop = WarpLoop(grace_s=grace_s, max_speed=max_speed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(WarpClock(loop, start_ms)))
