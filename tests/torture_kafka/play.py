"""The torture itself: start everything, let the faults come, let it settle, and look at the books."""

from __future__ import annotations

import asyncio
import math
import random
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stream.adapters.kafka.log import KafkaLog
from stream.core.errors import QuotaStreamError
from tests.kafka.cluster import Cluster, NotStarted, until
from tests.torture import clock, pour, stage
from tests.torture import scene as machine
from tests.torture.programs import Program
from tests.torture.stage import Failed, Stage, launched, read_along
from tests.torture_kafka.audit import KafkaAuditor, Mover
from tests.torture_kafka.brokers import Brokers
from tests.torture_kafka.faults import Fault, draw
from tests.torture_kafka.scene import COMMANDS, ROLES, log_lines

MOVE_DEADLINE_S = 150.0
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
class Report(stage.Report):
    """And what came on the way."""

    suffered: list[Suffered] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)


class Play(Stage):
    """One torture of a cluster and of all that works on it."""

    START_DEADLINE_S = 120.0
    SETTLE_DEADLINE_S = 180.0

    def __init__(
        self, seed: int, faults: int, folder: Path, tell: Callable[[Suffered], None] = lambda suffered: None
    ) -> None:
        """`tell` is called with each fault when everything moves again."""
        self._rng = random.Random(seed + 1)
        origin = machine.build(stage.journal_of(folder), self._rng)
        self.report = Report(seed)
        super().__init__(self.report, folder, origin)
        self._tell = tell
        self._faults = draw(random.Random(seed), faults)
        self._hours = HOURS_AT_LEAST + faults * HOURS_A_FAULT
        self._clock = folder / "clock"
        clock.make(self._clock, origin)
        (folder / "brokers").mkdir()
        self.cluster = Cluster(folder / "brokers", nodes=3)
        self._unwell_until_s = -math.inf
        """When brokers were last troubled; infinite while they are."""
        self._programs = self._make_programs()

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
            await self._run_once(self._clock, "topics", "create")
            await self._run_once(self._clock, "plans", "apply")
            auditor = await self.auditor()
            try:
                async with asyncio.TaskGroup() as starts:
                    for name in self._programs:
                        if name not in self._keeping:
                            starts.create_task(self._start(name))
                await self._animate()
                await self._suffer(auditor)
                await self._settle(auditor, [name for names in ROLES.values() for name in names])
                await self._conclude(auditor)
            finally:
                await auditor.close()
        finally:
            await self._kill_all()

    async def auditor(self) -> KafkaAuditor:
        """One that knows nothing yet."""
        log = await KafkaLog.open(self.cluster.settings())
        return KafkaAuditor(log, self.journal, lambda: pour.poured(self._minutes))

    # ------------------------------------------------------------ the processes

    def _make_programs(self) -> dict[str, Program]:
        programs = {
            "simulator": self._simulator(),
            "publisher": Program("publisher", self._publisher_words, self.folder, started="minutes"),
        }
        for role, names in ROLES.items():
            started = "event=started" if role == "collector" else "event=partitions.assigned"
            for name in names:
                words = partial(launched, self._clock, "stream.cli:main", COMMANDS[role])
                programs[name] = Program(name, words, self.folder, started=started)
        for program in programs.values():
            program.retry_s = RETRY_S
            program.excused_words = EXCUSED
            program.excused_until_s = lambda: self._unwell_until_s
        programs["publisher"].heard = self._count
        return programs

    def _publisher_words(self) -> Sequence[str]:
        servers = self.cluster.servers("PROXY")
        return launched(self._clock, "tests.torture_kafka.pour:main", servers, str(self._minutes))

    def _configure(self, url: str, token: str) -> None:
        machine.configure(self.folder, url, token, log_lines(self.cluster.servers("PROXY")))

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
                reading = lasting.create_task(read_along(auditor))
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

    # ------------------------------------------------------------ act three

    async def _conclude(self, auditor: KafkaAuditor) -> None:
        """End everything in order, and look at the books for the last time."""
        for names in (ROLES["collector"], ROLES["tracker"], ROLES["enforcer"], ("simulator",)):
            await asyncio.gather(*map(self._end, names))
        await auditor.compare_all()
        self._note(auditor)
        self.report.restarts = {name: len(program.starts_s) - 1 for name, program in self._programs.items()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
