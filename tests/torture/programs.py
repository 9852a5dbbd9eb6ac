"""A process that is started again whenever it ends, as a service manager does."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
END_DEADLINE_S = 40.0
RESTART_S = 0.1
LINE_LIMIT = 1 << 20
RECENT = 30


class Program:
    """`keep` is its life."""

    def __init__(self, name: str, words: Callable[[], Sequence[str]], folder: Path, *, started: str) -> None:
        """`words` are program and arguments, asked for at each start; `started` is in the line that says that it
        has."""
        self.name = name
        self._words, self._folder, self._started = words, folder, started
        self._process: Process | None = None
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._killed = self._ending = False
        self._is_down = asyncio.Event()
        self.is_alive = asyncio.Event()
        self.is_up = asyncio.Event()
        self.starts_s: list[float] = []
        """How long each start took, until it said so."""
        self.heard: Callable[[str], None] = lambda line: None
        """Called with each line that it says."""
        self.excused_until_s: Callable[[], float] = lambda: -math.inf
        """One that was started before then (on the loop's clock) may end by itself instead of saying that it has."""
        self.retry_s = RESTART_S
        """How long it stays down when it has ended by itself."""
        self.excused_words: tuple[str, ...] = ()
        """A line with one of them may show a traceback."""
        self.faults: list[str] = []
        """What it must not do: end by itself, or show an error of ours."""
        self._recent: deque[str] = deque(maxlen=RECENT)

    async def keep(self) -> None:
        """Until `end`."""
        while not self._ending:
            self._is_down.set()
            await self._may_start.wait()
            self._is_down.clear()
            await self._live()
            await asyncio.sleep(RESTART_S if self._killed else self.retry_s)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._killed = False
        with (self._folder / f"{self.name}.log").open("ab", buffering=0) as record:
            self._process = await asyncio.create_subprocess_exec(
                *self._words(), cwd=self._folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, limit=LINE_LIMIT,
            )  # fmt: skip
            assert self._process.stdout is not None
            self.is_alive.set()
            if not self._may_start.is_set():
                self.kill()
            while line := await self._process.stdout.readline():
                record.write(line)
                if line.endswith(b"\n"):  # else it was killed in the midst of it
                    self._hear(line.decode(), began_s)
        self.is_alive.clear()
        status = await self._process.wait()
        excused = not self.is_up.is_set() and began_s <= self.excused_until_s()
        self.is_up.clear()
        if not (self._killed or excused or (self._ending and status == 0)):
            self.faults.append(f"{self.name} ended with status {status}: {''.join(self._recent)}")

    def _hear(self, line: str, began_s: float) -> None:
        self._recent.append(line)
        if self._started in line and not self.is_up.is_set():
            self.starts_s.append(asyncio.get_running_loop().time() - began_s)
            self.is_up.set()
        if "Traceback" in line and not any(words in line for words in self.excused_words):
            self.faults.append(f"{self.name}: {line}")
        self.heard(line)

    # ------------------------------------------------------------ what happens to it

    def kill(self) -> None:
        self._killed = True
        self._signal(signal.SIGKILL)

    def stand_still(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def hold(self) -> None:
        """Kill it, and do not start it before `release`."""
        self._may_start.clear()
        self.kill()
        await self._is_down.wait()

    def release(self) -> None:
        self._may_start.set()

    async def end(self, keeping: asyncio.Task[None]) -> None:
        """Ask it to end; that it does, and well, is seen in `faults`."""
        self._ending = True
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_DEADLINE_S):
                await asyncio.shield(keeping)
        except TimeoutError:
            self.faults.append(f"{self.name} did not end within {END_DEADLINE_S:g} s: {''.join(self._recent)}")
            self.kill()
            await keeping
