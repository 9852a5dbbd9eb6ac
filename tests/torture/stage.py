"""What every torture stands on: its processes, the simulator's world, and the look at the books when all is quiet."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rich.table import Table

from stream.core.errors import QuotaStreamError
from stream.simulator.journal import Origin
from tests.processes.running import PROGRAM
from tests.torture import scene
from tests.torture.audit import Auditor, Figures
from tests.torture.programs import ROOT, Program

STILL_MS = 10_000 * scene.SPEED
"""So long, in the world's time, nothing must be due any more when it is ended."""
LOOK_S = 1.0
REST_S = 4.0
"""Within this an enforcer has compared everything with the platform once it has started, and would have changed it."""


@dataclass
class Report:
    """What a torture ends with."""

    seed: int
    figures: Figures = field(default_factory=lambda: Figures(0, 0, 0, 0, 0))
    seconds: float = 0.0
    settling_s: float = 0.0
    mistakes: dict[str, object] = field(default_factory=dict)
    """By what it is about: (must be, is), or what a process said."""

    def table(self, before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]] = ()) -> Table:
        """The totals, with rows of one's own."""
        table = Table(box=None, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        rows = [
            *before,
            *((name.replace("_", " "), f"{number:,}") for name, number in self.figures._asdict().items()),
            ("seconds", f"{self.seconds:.0f}"),
            ("  of them, until all was settled", f"{self.settling_s:.0f}"),
            *after,
            ("mistakes", f"{len(self.mistakes):,}"),
        ]
        for row in rows:
            table.add_row(*row)
        return table


class Failed(Exception):
    """It cannot go on."""


class Stage(ABC):
    """The processes of one torture, in a folder of its own."""

    START_DEADLINE_S: ClassVar[float]
    SETTLE_DEADLINE_S: ClassVar[float]

    def __init__(self, report: Report, folder: Path, origin: Origin) -> None:
        """`origin` is of the world that the simulator plays; both come from the file `journal_of(folder)`."""
        self._outcome = report
        self.folder = folder
        self.journal = journal_of(folder)
        self.origin = origin
        self._listen = "127.0.0.1:0"
        self._minutes = 0
        """So many of the publisher's are in the log, at least."""
        self._programs: dict[str, Program] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}

    @abstractmethod
    def _configure(self, url: str, token: str) -> None:
        """Write the configuration, now that the simulator's address is known."""

    # ------------------------------------------------------------ the processes

    def _simulator(self) -> Program:
        simulator = Program("simulator", self._simulator_words, self.folder, started='"url"')
        simulator.heard = self._address
        return simulator

    def _simulator_words(self) -> Sequence[str]:
        tasks = ("--knob", "task_ms=60000", "--knob", "task_absent_ms=5000")
        world = ("--state", str(self.journal), "--timezone", scene.ZONE)
        return (str(PROGRAM), "simulator", "--json", "--listen", self._listen, *world, *tasks)

    def _address(self, line: str) -> None:
        """Where the simulator is the first time is where it stays."""
        if line.startswith("{") and self._listen.endswith(":0"):
            address = json.loads(line)
            self._configure(address["url"], address["token"])
            self._listen = address["url"].removeprefix("http://")

    def _count(self, line: str) -> None:
        """What the publisher says."""
        word, _, number = line.partition(" ")
        if word == "minutes":
            self._minutes = int(number)

    async def _start(self, name: str) -> None:
        self._keeping[name] = asyncio.create_task(self._programs[name].keep(), name=name)
        await self._is_up(name)

    async def _is_up(self, name: str) -> None:
        try:
            async with asyncio.timeout(self.START_DEADLINE_S):
                await self._programs[name].is_up.wait()
        except TimeoutError:
            raise Failed(f"{name} did not start within {self.START_DEADLINE_S:g} s") from None

    async def _run_once(self, clock: Path, *words: str, stdin: str = "") -> None:
        """A command of ours that ends by itself."""
        process = await asyncio.create_subprocess_exec(
            *launched(clock, "stream.cli:main", *words),
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=PIPE, stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip
        _, said = await process.communicate(stdin.encode())
        if process.returncode:
            raise Failed(f"quota-stream {' '.join(words)}: {said.decode()}")

    async def _end(self, name: str) -> None:
        await self._programs[name].end(self._keeping.pop(name))

    async def _kill_all(self) -> None:
        for name, keeping in self._keeping.items():
            self._programs[name].kill()
            keeping.cancel()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    # ------------------------------------------------------------ the end

    async def _settle(self, auditor: Auditor, workers: Sequence[str]) -> None:
        """Nobody sends anything any more: wait until everything is as it must be, and will be so for a while.

        Then the workers are killed once more, after which nothing must change: what was set stays as it is.
        """
        began_s = time.monotonic()
        for name in self._programs:
            await self._is_up(name)
        await self._end("publisher")
        simulator = self._programs["simulator"]
        await simulator.hold()
        with scene.changed(self.journal, self.origin) as world:
            scene.quieten(world)
        simulator.release()
        programs = [self._programs[name] for name in workers]
        try:
            async with asyncio.timeout(self.SETTLE_DEADLINE_S):
                await self._settled(auditor)
                await asyncio.gather(*(program.hold() for program in programs))
                for program in programs:
                    program.release()
                await asyncio.gather(*(program.is_up.wait() for program in programs))
                await asyncio.sleep(REST_S)
                await self._settled(auditor)
        except TimeoutError:
            self._outcome.mistakes["settling"] = f"not all was as it must be within {self.SETTLE_DEADLINE_S:g} s"
        self._outcome.settling_s = time.monotonic() - began_s

    async def _settled(self, auditor: Auditor) -> None:
        while True:
            with suppress(QuotaStreamError):
                if not await auditor.compare() and auditor.is_still(self.origin.now() + STILL_MS):
                    return
            await asyncio.sleep(LOOK_S)

    def _note(self, auditor: Auditor) -> None:
        """What is in the books, and what the processes said that they should not."""
        self._outcome.mistakes |= auditor.mistakes
        self._outcome.figures = auditor.figures
        for name, program in self._programs.items():
            self._outcome.mistakes |= {f"{name} ({number})": fault for number, fault in enumerate(program.faults, 1)}


def journal_of(folder: Path) -> Path:
    """Where the simulator's world is kept."""
    return folder / "world.jsonl"


async def read_along(auditor: Auditor) -> None:
    """Spread the work of the oracle over the time."""
    while True:
        with suppress(QuotaStreamError):
            await auditor.read()
        await asyncio.sleep(LOOK_S)


def launched(clock: Path, program: str, *words: str) -> Sequence[str]:
    """A program of ours that lives by the clock in the file."""
    return (sys.executable, "-m", "tests.torture.launch", str(clock), program, *words)
