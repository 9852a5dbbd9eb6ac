"""The torture itself: start everything, let the troubles come, let it settle, and look at the books."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.core.errors import QuotaStreamError
from tests.processes.running import PROGRAM
from tests.torture import clock, pour, scene
from tests.torture.audit import Auditor, Figures
from tests.torture.programs import ROOT, Program
from tests.torture.troubles import LONGEST_PAUSE_S, Trouble, draw

START_DEADLINE_S = 60.0
SETTLE_DEADLINE_S = 120.0
STILL_MS = 10_000 * scene.SPEED
"""So long, in the world's time, nothing must be due any more when it is ended."""
LOOK_S = 1.0
REST_S = 4.0
"""Within this `run` has compared everything with the platform once it has started, and would have changed it."""
HOURS_AT_LEAST = 1.0


@dataclass
class Report:
    """What a torture ends with."""

    seed: int
    troubles: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=lambda: Figures(0, 0, 0, 0, 0))
    seconds: float = 0.0
    settling_s: float = 0.0
    longest_start_s: float = 0.0
    mistakes: dict[str, object] = field(default_factory=dict)
    """By what it is about: (must be, is), or what a process said."""


class Failed(Exception):
    """It cannot go on."""


class Play:
    """One torture, in a folder of its own."""

    def __init__(
        self, seed: int, kills: int, folder: Path, tell: Callable[[Trouble], None] = lambda trouble: None
    ) -> None:
        """`tell` is called with each trouble as it begins.  `close` when all is over."""
        self.report = Report(seed)
        self.folder = folder
        self.disk = scene.Disk(folder / "disk")
        self.journal = folder / "world.jsonl"
        self.log = folder / "disk" / "q.db"
        self._tell = tell
        self._troubles = draw(random.Random(seed), kills, scene.VMS)
        hours = HOURS_AT_LEAST + kills * LONGEST_PAUSE_S * scene.SPEED / 3600
        self.origin = scene.build(self.journal, random.Random(seed), hours)
        self._machine_clock, self._true_clock = folder / "clock", folder / "true-clock"
        for file in (self._machine_clock, self._true_clock):
            clock.make(file, self.origin)
        self._listen = "127.0.0.1:0"
        self._minutes = 0
        """So many of the publisher's are in the log, at least."""
        self._programs = {
            "simulator": Program("simulator", self._simulator_words, folder, started='"url"'),
            "run": Program("run", self._run_words, folder, started="event=started"),
            "publisher": Program("publisher", self._publisher_words, folder, started="minutes"),
        }
        self._programs["simulator"].heard = self._address
        self._programs["publisher"].heard = self._count
        for name in ("run", "publisher"):
            self._programs[name].excused_until_s = lambda: self.disk.full_until_s
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def perform(self) -> Report:
        """All of it, to its end."""
        began_s = time.monotonic()
        try:
            await self._start("simulator")
            await self._run_once(self._true_clock, "publish", stdin=pour.registrations())
            auditor = await self.auditor()
            await self._start("run")
            await self._start("publisher")
            await self._suffer(auditor)
            await self._settle(auditor)
            await self._conclude(auditor)
        except Failed as failure:
            self.report.mistakes["the torture"] = str(failure)
        finally:
            for name, keeping in self._keeping.items():
                self._programs[name].kill()
                keeping.cancel()
            await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        self.report.seconds = time.monotonic() - began_s
        return self.report

    def close(self) -> None:
        self.disk.close()

    async def auditor(self) -> Auditor:
        """One that knows nothing yet.  Close its log."""
        log = await SqliteLog.open(self.log, clock=SystemClock(), poll_s=None)
        return Auditor(log, self.journal, lambda: pour.poured(self._minutes))

    # ------------------------------------------------------------ the processes

    def _simulator_words(self) -> Sequence[str]:
        tasks = ("--knob", "task_ms=60000", "--knob", "task_absent_ms=5000")
        world = ("--state", str(self.journal), "--timezone", scene.ZONE)
        return (str(PROGRAM), "simulator", "--json", "--listen", self._listen, *world, *tasks)

    def _run_words(self) -> Sequence[str]:
        return _launched(self._machine_clock, "stream.cli:main", "run")

    def _publisher_words(self) -> Sequence[str]:
        return _launched(self._true_clock, "tests.torture.pour:main", str(self.log), str(self._minutes))

    def _address(self, line: str) -> None:
        """Where the simulator is the first time is where it stays."""
        if line.startswith("{") and self._listen.endswith(":0"):
            address = json.loads(line)
            scene.configure(self.folder, address["url"], address["token"])
            self._listen = address["url"].removeprefix("http://")

    def _count(self, line: str) -> None:
        word, _, number = line.partition(" ")
        if word == "minutes":
            self._minutes = int(number)

    async def _start(self, name: str) -> None:
        self._keeping[name] = asyncio.create_task(self._programs[name].keep(), name=name)
        await self._is_up(name)

    async def _is_up(self, name: str) -> None:
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._programs[name].is_up.wait()
        except TimeoutError:
            raise Failed(f"{name} did not start within {START_DEADLINE_S:g} s") from None

    async def _run_once(self, file: Path, *words: str, stdin: str = "") -> None:
        """A command of ours that ends by itself."""
        process = await asyncio.create_subprocess_exec(
            *_launched(file, "stream.cli:main", *words),
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=PIPE, stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip
        _, said = await process.communicate(stdin.encode())
        if process.returncode:
            self.report.mistakes[f"quota-stream {' '.join(words)}"] = said.decode()

    # ------------------------------------------------------------ act one

    async def _suffer(self, auditor: Auditor) -> None:
        """The troubles, one after the other; those that last go on meanwhile."""
        async with asyncio.TaskGroup() as lasting:
            reading = lasting.create_task(_read_along(auditor))
            for trouble in self._troubles:
                await asyncio.sleep(trouble.after_s)
                if trouble.kind == "full disk" and not self.disk.is_small:
                    continue
                self._tell(trouble)
                self.report.troubles[trouble.name] += 1
                if trouble.kind == "kill":
                    await self._kill(trouble)
                else:
                    lasting.create_task(self._inflict(trouble))
            reading.cancel()

    async def _kill(self, trouble: Trouble) -> None:
        """While the simulator is down, the owner of a VM does something."""
        for name in trouble.whom:
            await self._programs[name].is_alive.wait()
            self._programs[name].kill()
        if "simulator" in trouble.whom:
            await self._programs["simulator"].hold()
            with scene.changed(self.journal, self.origin) as world:
                scene.toggle(world, trouble.place)
            self._programs["simulator"].release()

    async def _inflict(self, trouble: Trouble) -> None:
        for name in trouble.whom:
            await self._programs[name].is_alive.wait()
        with self._suffering(trouble):
            await asyncio.sleep(trouble.lasts_s)

    @contextmanager
    def _suffering(self, trouble: Trouble) -> Iterator[None]:
        match trouble.kind:
            case "stop":
                for name in trouble.whom:
                    self._programs[name].stand_still()
                yield
                for name in trouble.whom:
                    self._programs[name].go_on()
            case "full disk":
                self.disk.fill()
                yield
                self.disk.make_room()
            case "clock":
                clock.set_ahead(self._machine_clock, trouble.ahead_ms)
                yield
                clock.set_ahead(self._machine_clock, 0)

    # ------------------------------------------------------------ acts two and three

    async def _settle(self, auditor: Auditor) -> None:
        """Nobody sends anything any more: wait until everything is as it must be, and will be so for a while.

        Then once more there is a kill, after which nothing must change: what was set stays as it is.
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
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S):
                await self._settled(auditor)
                run = self._programs["run"]
                await run.hold()
                run.release()
                await run.is_up.wait()
                await asyncio.sleep(REST_S)
                await self._settled(auditor)
        except TimeoutError:
            self.report.mistakes["settling"] = f"not all was as it must be within {SETTLE_DEADLINE_S:g} s"
        self.report.settling_s = time.monotonic() - began_s

    async def _settled(self, auditor: Auditor) -> None:
        while True:
            with suppress(QuotaStreamError):
                if not await auditor.compare() and auditor.is_still(self.origin.now() + STILL_MS):
                    return
            await asyncio.sleep(LOOK_S)

    async def _conclude(self, auditor: Auditor) -> None:
        """End everything in order, and look at the books for the last time."""
        await self._end("run")
        await self._end("simulator")
        await self._run_once(self._machine_clock, "run", "--drain")
        await auditor.compare_all()
        await auditor.close()
        report = self.report
        report.mistakes |= auditor.mistakes
        report.figures = auditor.figures
        report.longest_start_s = max(self._programs["run"].starts_s)
        for name, program in self._programs.items():
            report.mistakes |= {f"{name} ({number})": fault for number, fault in enumerate(program.faults, 1)}

    async def _end(self, name: str) -> None:
        await self._programs[name].end(self._keeping.pop(name))


async def _read_along(auditor: Auditor) -> None:
    """Spread the work of the oracle over the time."""
    while True:
        with suppress(QuotaStreamError):
            await auditor.read()
        await asyncio.sleep(LOOK_S)


def _launched(file: Path, program: str, *words: str) -> Sequence[str]:
    """A program of ours that lives by the clock in the file."""
    return (sys.executable, "-m", "tests.torture.launch", str(file), program, *words)
