"""A process that can be killed or stopped at any await, as the real one can at any instruction.

Each task that is created within a process is stepped by us.  Between two steps the process may die: then no task of
it takes another step, no `finally` runs, and nobody is told.  Or it stands still: whatever comes meanwhile, answers,
cancellations and time-outs alike, reaches it when it goes on.

    task    --step--await        await--step-->
    world            |  dies here  |            what it had asked for may still happen; it never hears of it
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Literal, TypeVar

T = TypeVar("T")

_CURRENT: ContextVar[Process | None] = ContextVar("_CURRENT", default=None)


class Process:
    """Tasks that live and die together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Literal["runs", "stands", "dead"] = "runs"
        self.steps = 0
        """How many steps its tasks have taken."""
        self.halt_at: int | None = None
        """Before the step with this number `halting` is called, which may kill or stop it."""
        self.halting: Callable[[], None] = self.kill
        self.died = asyncio.Event()
        self._parked: list[asyncio.Future[None]] = []

    def start(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        context = copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(main, context=context)

    def kill(self) -> None:
        self.state = "dead"
        self.died.set()

    def stop(self) -> None:
        if self.state == "runs":
            self.state = "stands"

    def go_on(self) -> None:
        if self.state == "stands":
            self.state = "runs"
            self._wake()

    def bury(self) -> None:
        """When all is over: its tasks may take the steps that they need to be cancelled."""
        self.state, self.halt_at = "runs", None
        self._wake()

    def may_step(self) -> bool:
        if self.state == "runs":
            self.steps += 1
            if self.steps == self.halt_at:
                self.halting()
        return self.state == "runs"

    def park(self) -> asyncio.Future[None]:
        """What a task waits for that may not go on."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append(future)
        return future

    def _wake(self) -> None:
        parked, self._parked = self._parked, []
        for future in parked:
            if not future.done():
                future.set_result(None)


class _Stepped(Coroutine[Any, Any, T]):
    """A coroutine that takes a step only when its process may."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], process: Process) -> None:
        self._coroutine = coroutine
        self.process = process
        self._thrown: BaseException | None = None

    def send(self, value: Any) -> Any:
        return self._advance()

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> Any:
        self._thrown = error
        return self._advance()

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, None, T]:
        raise NotImplementedError("a task takes its steps, nobody awaits it")

    def _advance(self) -> Any:
        if not self.process.may_step():
            parked = self.process.park()
            parked._asyncio_future_blocking = True
            return parked
        thrown, self._thrown = self._thrown, None
        return self._coroutine.send(None) if thrown is None else self._coroutine.throw(thrown)


def task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> asyncio.Task[Any]:
    """For `loop.set_task_factory`: tasks belong to the process within which they are created."""
    process = _CURRENT.get() if context is None else context.get(_CURRENT)
    main = coroutine if process is None else _Stepped(coroutine, process)
    return asyncio.Task(main, loop=loop, context=context)


def bury() -> None:
    """Bury all processes that have tasks left on this loop."""
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        if isinstance(coroutine, _Stepped):
            coroutine.process.bury()


def current() -> str:
    """The name of the process within which this runs."""
    process = _CURRENT.get()
    return "" if process is None else process.name


def outside() -> Context:
    """A context of the world itself: what runs in it belongs to no process."""
    return Context()
