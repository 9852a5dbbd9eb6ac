"""A place where a process runs, and is started again whenever it has ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from stream.core.errors import Unavailable
from tests.simulation.client import Client
from tests.simulation.process import Process

Main: TypeAlias = Callable[[Client, random.Random, asyncio.Event], Coroutine[Any, Any, None]]
"""What a process does: with its log and its luck, until it is told to stop."""


class Surroundings(Protocol):
    """What a host needs of its world."""

    def connect(self, process: Process) -> Client: ...
    def rng(self, name: str) -> random.Random: ...
    def unheard(self, process: Process) -> None:
        """Nothing is heard of the process any more."""

    def heard(self, process: Process) -> None:
        """It is heard of again."""

    def note(self, process: Process, what: str, about: object = "") -> None: ...
    def accuse(self, what: str) -> None:
        """Something happened that must not."""


class Host:
    """Its process starts at once."""

    def __init__(self, world: Surroundings, name: str, main: Main) -> None:
        self._world, self._name, self._main = world, name, main
        self._rng = world.rng(f"host {name}")
        self._closing = False
        self.down_s = 1.0
        """How long it takes to start a process again, on the average."""
        self.processes: list[Process] = []
        """All that ever ran here."""
        self._told = asyncio.Event()
        self._runs = False
        """Whether the newest process has neither ended nor been killed."""
        self.life = asyncio.create_task(self._live())

    @property
    def process(self) -> Process | None:
        """The newest one, dead or alive."""
        return self.processes[-1] if self.processes else None

    def kill_soon(self, steps: int) -> None:
        """It dies after so many more steps of its tasks."""
        if (process := self.process) and self._runs:
            process.halting, process.halt_at = process.kill, process.steps + steps

    def stop_soon(self, steps: int, seconds: float) -> None:
        """It stands still for so long after so many more steps of its tasks."""
        if (process := self.process) and self._runs:
            process.halting, process.halt_at = lambda: self._stop(process, seconds), process.steps + steps

    def end(self) -> None:
        """Tell the process to end, in an orderly way; it will be started again."""
        if process := self.process:
            self._world.note(process, "is told to end")
            self._told.set()

    def calm(self) -> None:
        """No more trouble here."""
        self.down_s = 1.0
        if process := self.process:
            process.halt_at = None
            self._go_on(process)

    def close(self) -> None:
        """Tell the process to end, for good."""
        self._closing = True
        self._told.set()

    async def _live(self) -> None:
        while not self._closing:
            self._told.clear()
            process = Process(f"{self._name}.{len(self.processes) + 1}")
            self.processes.append(process)
            self._world.note(process, "starts")
            self._runs = True
            rng = self._world.rng(process.name)
            main = process.start(self._main(self._world.connect(process), rng, self._told))
            died = asyncio.create_task(process.died.wait())
            await asyncio.wait({main, died}, return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            self._runs, process.halt_at = False, None
            self._note_end(process, main)
            if not self._closing:
                await asyncio.sleep(self._rng.expovariate(1 / self.down_s))

    def _note_end(self, process: Process, main: asyncio.Task[None]) -> None:
        if process.state == "dead":
            self._world.note(process, "is killed")
            self._world.unheard(process)
        if not main.done():
            return
        error = main.exception()
        self._world.note(process, "ends", error or "")
        if error is not None and not isinstance(error, (Unavailable, TimeoutError)):
            self._world.accuse(f"{process.name} ended by itself: {error!r}")

    def _stop(self, process: Process, seconds: float) -> None:
        self._world.note(process, f"stands still for {seconds:.1f} s")
        process.stop()
        self._world.unheard(process)
        asyncio.get_running_loop().call_later(seconds, self._go_on, process)

    def _go_on(self, process: Process) -> None:
        if process.state == "stands":
            self._world.note(process, "goes on")
            process.go_on()
            self._world.heard(process)
