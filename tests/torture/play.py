"""The torture itself: start everything, let the troubles come, let it settle, and look at the books."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from tests.torture import clock, pour, scene, stage
from tests.torture.audit import Auditor
from tests.torture.programs import Program
from tests.torture.stage import Failed, Stage, launched, read_along
from tests.torture.troubles import LONGEST_PAUSE_S, Trouble, draw

HOURS_AT_LEAST = 1.0


@dataclass
class Report(stage.Report):
    """And what came on the way."""

    troubles: Counter[str] = field(default_factory=Counter)
    longest_start_s: float = 0.0


class Play(Stage):
    """One torture of `run` on SQLite."""

    START_DEADLINE_S = 60.0
    SETTLE_DEADLINE_S = 120.0

    def __init__(
        self, seed: int, kills: int, folder: Path, tell: Callable[[Trouble], None] = lambda trouble: None
    ) -> None:
        """`tell` is called with each trouble as it begins.  `close` when all is over."""
        hours = HOURS_AT_LEAST + kills * LONGEST_PAUSE_S * scene.SPEED / 3600
        origin = scene.build(stage.journal_of(folder), random.Random(seed), hours)
        self.report = Report(seed)
        super().__init__(self.report, folder, origin)
        self.disk = scene.Disk(folder / "disk")
        self.log = folder / "disk" / "q.db"
        self._tell = tell
        self._troubles = draw(random.Random(seed), kills, scene.VMS)
        self._machine_clock, self._true_clock = folder / "clock", folder / "true-clock"
        for file in (self._machine_clock, self._true_clock):
            clock.make(file, origin)
        self._programs = {
            "simulator": self._simulator(),
            "run": Program("run", self._run_words, folder, started="event=started"),
            "publisher": Program("publisher", self._publisher_words, folder, started="minutes"),
        }
        self._programs["publisher"].heard = self._count
        for name in ("run", "publisher"):
            self._programs[name].excused_until_s = lambda: self.disk.full_until_s

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
            await self._settle(auditor, ["run"])
            await self._conclude(auditor)
        except Failed as failure:
            self.report.mistakes["the torture"] = str(failure)
        finally:
            await self._kill_all()
        self.report.seconds = time.monotonic() - began_s
        return self.report

    def close(self) -> None:
        self.disk.close()

    async def auditor(self) -> Auditor:
        """One that knows nothing yet.  Close its log."""
        log = await SqliteLog.open(self.log, clock=SystemClock(), poll_s=None)
        return Auditor(log, self.journal, lambda: pour.poured(self._minutes))

    # ------------------------------------------------------------ the processes

    def _configure(self, url: str, token: str) -> None:
        scene.configure(self.folder, url, token)

    def _run_words(self) -> Sequence[str]:
        return launched(self._machine_clock, "stream.cli:main", "run")

    def _publisher_words(self) -> Sequence[str]:
        return launched(self._true_clock, "tests.torture.pour:main", str(self.log), str(self._minutes))

    # ------------------------------------------------------------ act one

    async def _suffer(self, auditor: Auditor) -> None:
        """The troubles, one after the other; those that last go on meanwhile."""
        async with asyncio.TaskGroup() as lasting:
            reading = lasting.create_task(read_along(auditor))
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

    # ------------------------------------------------------------ act three

    async def _conclude(self, auditor: Auditor) -> None:
        """End everything in order, and look at the books for the last time."""
        await self._end("run")
        await self._end("simulator")
        await self._run_once(self._machine_clock, "run", "--drain")
        await auditor.compare_all()
        await auditor.close()
        self._note(auditor)
        self.report.longest_start_s = max(self._programs["run"].starts_s)
