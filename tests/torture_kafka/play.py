"""The torture itself: start everything, let the faults come, let it settle, and look at the books."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
import time
import traceback
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from stream.adapters.kafka.log import KafkaLog
from stream.core.errors import QuotaStreamError
from tests.kafka.cluster import Cluster, NotStarted, until
from tests.processes.running import PROGRAM
from tests.torture import clock, pour
from tests.torture import scene as machine
from tests.torture.audit import Figures
from tests.torture.programs import ROOT, Program
from tests.torture_kafka.audit import KafkaAuditor, Mover
from tests.torture_kafka.brokers import Brokers
from tests.torture_kafka.faults import Fault, draw
from tests.torture_kafka.scene import COMMANDS, ROLES, log_lines

START_DEADLINE_S = 120.0
MOVE_DEADLINE_S = 150.0
SETTLE_DEADLINE_S = 180.0
STILL_MS = 10_000 * machine.SPEED
"""So long, in the world's time, nothing must be due any more when it is ended."""
LOOK_S = 1.0
REST_S = 4.0
"""Within this an enforcer has compared everything with the platform once it has started, and would have changed it."""
EXCUSED = ("Unexpected error in sender routine",)
"""aiokafka says so, at length, when a broker answers with an error; ours gets the same error, and takes over anew."""
RETRY_S = 2.0
"""A service manager leaves what has ended by itself down for some seconds."""
HOURS_AT_LEAST = 4.0
HOURS_A_FAULT = 0.5


class Suffered(NamedTuple):
    """What came of a fault."""

    fault: Fault
    began_ms: int
    moved_s: float
    """From its end until every tracker and collector had moved again in every partition."""
    pause_s: float
    """The longest time that one of them did not move meanwhile, a part of the fault itself included."""
    mover: Mover
    """Whose that was."""


@dataclass
class Report:
    """What a torture ends with."""

    seed: int
    suffered: list[Suffered] = field(default_factory=list)
    figures: Figures = field(default_factory=lambda: Figures(0, 0, 0, 0, 0))
    seconds: float = 0.0
    settling_s: float = 0.0
    restarts: dict[str, int] = field(default_factory=dict)
    mistakes: dict[str, object] = field(default_factory=dict)
    """By what it is about: (must be, is), or what a process said."""


class Failed(Exception):
    """It cannot go on."""


class Play:
    """One torture, in a folder of its own."""

    def __init__(
        self, seed: int, faults: int, folder: Path, tell: Callable[[Suffered], None] = lambda suffered: None
    ) -> None:
        """`tell` is called with each fault when everything moves again."""
        self.report = Report(seed)
        self.folder = folder
        self.journal = folder / "world.jsonl"
        self._tell = tell
        self._faults = draw(random.Random(seed), faults)
        self._rng = random.Random(seed + 1)
        self._hours = HOURS_AT_LEAST + faults * HOURS_A_FAULT
        self.origin = machine.build(self.journal, self._rng)
        self._clock = folder / "clock"
        clock.make(self._clock, self.origin)
        (folder / "brokers").mkdir()
        self.cluster = Cluster(folder / "brokers", nodes=3)
        self._listen = "127.0.0.1:0"
        self._minutes = 0
        """So many of the publisher's are in the log, at least."""
        self._unwell_until_s = -math.inf
        """When brokers were last troubled; infinite while they are."""
        self._programs = self._make_programs()
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def perform(self) -> Report:
        """All of it, to its end."""
        began_s = time.monotonic()
        try:
            async with self.cluster, self.cluster.proxied() as proxies:
                self._brokers = Brokers(self.cluster, proxies, self.cluster.settings())
                await self._play()
        except Failed as failure:
            self.report.mistakes["the torture"] = str(failure)
        except Exception as error:  # whatever it is, seed and logs are to be told
            self.report.mistakes["the torture"] = "".join(traceback.format_exception(error))
        self.report.seconds = time.monotonic() - began_s
        return self.report

    async def _play(self) -> None:
        try:
            await self._start("simulator")
            await self._run_once("topics", "create")
            await self._run_once("plans", "apply")
            auditor = await self.auditor()
            try:
                async with asyncio.TaskGroup() as starts:
                    for name in self._programs:
                        if name not in self._keeping:
                            starts.create_task(self._start(name))
                await self._animate()
                await self._suffer(auditor)
                await self._settle(auditor)
                await self._conclude(auditor)
            finally:
                await auditor.close()
        finally:
            for name, keeping in self._keeping.items():
                self._programs[name].kill()
                keeping.cancel()
            await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    async def auditor(self) -> KafkaAuditor:
        """One that knows nothing yet."""
        log = await KafkaLog.open(self.cluster.settings())
        return KafkaAuditor(log, self.journal, lambda: pour.poured(self._minutes))

    # ------------------------------------------------------------ the processes

    def _make_programs(self) -> dict[str, Program]:
        programs = {
            "simulator": Program("simulator", self._simulator_words, self.folder, started='"url"'),
            "publisher": Program("publisher", self._publisher_words, self.folder, started="minutes"),
        }
        for role, names in ROLES.items():
            started = "event=started" if role == "collector" else "event=partitions.assigned"
            for name in names:
                words = self._launched("stream.cli:main", COMMANDS[role])
                programs[name] = Program(name, lambda words=words: words, self.folder, started=started)  # type: ignore[misc]
        for program in programs.values():
            program.retry_s = RETRY_S
            program.excused_words = EXCUSED
            program.excused_until_s = lambda: self._unwell_until_s
        programs["simulator"].heard = self._address
        programs["publisher"].heard = self._count
        return programs

    def _launched(self, program: str, *words: str) -> Sequence[str]:
        """A program of ours that lives by the world's clock."""
        return (sys.executable, "-m", "tests.torture.launch", str(self._clock), program, *words)

    def _simulator_words(self) -> Sequence[str]:
        tasks = ("--knob", "task_ms=60000", "--knob", "task_absent_ms=5000")
        world = ("--state", str(self.journal), "--timezone", machine.ZONE)
        return (str(PROGRAM), "simulator", "--json", "--listen", self._listen, *world, *tasks)

    def _publisher_words(self) -> Sequence[str]:
        servers = self.cluster.servers("PROXY")
        return self._launched("tests.torture_kafka.pour:main", servers, str(self._minutes))

    def _address(self, line: str) -> None:
        """Where the simulator is the first time is where it stays."""
        if line.startswith("{") and self._listen.endswith(":0"):
            address = json.loads(line)
            log = log_lines(self.cluster.servers("PROXY"))
            machine.configure(self.folder, address["url"], address["token"], log)
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

    async def _run_once(self, *words: str) -> None:
        """A command of ours that ends by itself."""
        process = await asyncio.create_subprocess_exec(
            *self._launched("stream.cli:main", *words),
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        if process.returncode:
            raise Failed(f"quota-stream {' '.join(words)}: {said.decode()}")

    # ------------------------------------------------------------ act one

    async def _animate(self) -> None:
        """Every VM is known by now; what it wants from now on is counted, whatever its plan's window."""
        simulator = self._programs["simulator"]
        await simulator.hold()
        with machine.changed(self.journal, self.origin) as world:
            machine.animate(world, machine.soon(world), self._hours, random.Random(self.report.seed))
        simulator.release()
        await self._is_up("simulator")

    async def _suffer(self, auditor: KafkaAuditor) -> None:
        """The faults, one after the other; the next one waits until everything moves again, or does not."""
        try:
            async with asyncio.TaskGroup() as lasting:
                reading = lasting.create_task(_read_along(auditor))
                await self._all_moved(auditor, "the start", _now_ms())
                enduring = []
                for fault in self._faults:
                    enduring.append(lasting.create_task(self._endure(auditor, fault)))
                    if not fault.at_once:
                        await asyncio.gather(*enduring)
                    await asyncio.sleep(fault.pause_s)
                await asyncio.gather(*enduring)
                reading.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _endure(self, auditor: KafkaAuditor, fault: Fault) -> None:
        began_ms = _now_ms()
        match fault.kind:
            case "kill":
                for name in fault.whom:
                    self._programs[name].kill()
            case "stop":
                for name in fault.whom:
                    self._programs[name].stand_still()
                await asyncio.sleep(fault.lasts_s)
                for name in fault.whom:
                    self._programs[name].go_on()
            case _:
                self._unwell_until_s = math.inf
                try:
                    await self._brokers.suffer(fault, self._rng)
                except (AssertionError, TimeoutError, NotStarted, QuotaStreamError) as error:
                    raise Failed(f"fault {fault.number}, {fault}: {error!r}") from error
                if self._brokers.are_well:
                    self._unwell_until_s = asyncio.get_running_loop().time()
        ended_ms = _now_ms()
        await self._all_moved(auditor, f"fault {fault.number}, {fault}", ended_ms)
        moved_ms = auditor.moved_at(ended_ms)
        pauses_s = auditor.pauses_s(began_ms, moved_ms)
        mover = max(pauses_s, key=pauses_s.__getitem__)
        suffered = Suffered(fault, began_ms, (moved_ms - ended_ms) / 1000, pauses_s[mover], mover)
        self.report.suffered.append(suffered)
        self._tell(suffered)

    async def _all_moved(self, auditor: KafkaAuditor, what: str, since_ms: int) -> None:
        async def moved() -> bool:
            return not auditor.still(since_ms)

        try:
            await until(moved, MOVE_DEADLINE_S)
        except TimeoutError:
            still = ", ".join(f"{role} {number}" for role, number in auditor.still(since_ms))
            raise Failed(f"{MOVE_DEADLINE_S:g} s after {what} these stand still: {still}") from None

    # ------------------------------------------------------------ acts two and three

    async def _settle(self, auditor: KafkaAuditor) -> None:
        """Nobody sends anything any more: wait until everything is as it must be, and will be so for a while.

        Then everybody is killed once more, after which nothing must change: what was set stays as it is.
        """
        began_s = time.monotonic()
        for name in self._programs:
            await self._is_up(name)
        await self._end("publisher")
        simulator = self._programs["simulator"]
        await simulator.hold()
        with machine.changed(self.journal, self.origin) as world:
            machine.quieten(world)
        simulator.release()
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S):
                await self._settled(auditor)
                workers = [self._programs[name] for names in ROLES.values() for name in names]
                await asyncio.gather(*(worker.hold() for worker in workers))
                for worker in workers:
                    worker.release()
                await asyncio.gather(*(worker.is_up.wait() for worker in workers))
                await asyncio.sleep(REST_S)
                await self._settled(auditor)
        except TimeoutError:
            self.report.mistakes["settling"] = f"not all was as it must be within {SETTLE_DEADLINE_S:g} s"
        self.report.settling_s = time.monotonic() - began_s

    async def _settled(self, auditor: KafkaAuditor) -> None:
        while True:
            with suppress(QuotaStreamError):
                if not await auditor.compare() and auditor.is_still(self.origin.now() + STILL_MS):
                    return
            await asyncio.sleep(LOOK_S)

    async def _conclude(self, auditor: KafkaAuditor) -> None:
        """End everything in order, and look at the books for the last time."""
        for names in (ROLES["collector"], ROLES["tracker"], ROLES["enforcer"], ("simulator",)):
            await asyncio.gather(*map(self._end, names))
        await auditor.compare_all()
        report = self.report
        report.mistakes |= auditor.mistakes
        report.figures = auditor.figures
        for name, program in self._programs.items():
            report.restarts[name] = len(program.starts_s) - 1
            report.mistakes |= {f"{name} ({number})": fault for number, fault in enumerate(program.faults, 1)}

    async def _end(self, name: str) -> None:
        await self._programs[name].end(self._keeping.pop(name))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _read_along(auditor: KafkaAuditor) -> None:
    """Spread the work of the oracle over the time."""
    while True:
        with suppress(QuotaStreamError):
            await auditor.read()
        await asyncio.sleep(LOOK_S)
