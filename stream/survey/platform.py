"""The survey of one platform, from its door to whom the plans would slow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import TypeAlias
from zoneinfo import ZoneInfo

import httpx

from stream.adapters.vmmanager import replies
from stream.bootstrap import client_secret, client_settings, make_match
from stream.config.model import Config
from stream.config.platforms import Vmmanager
from stream.config.units import duration_text
from stream.core.errors import QuotaStreamError, Refused, Unavailable
from stream.ports import Clock, Machine
from stream.survey import listed, metrics
from stream.survey.findings import PlatformReport
from stream.survey.forecast import Forecast, Reading
from stream.survey.measuring import FARTHEST_MS, Measuring
from stream.survey.points import HOUR_MS, Stamp, clock_text, known
from stream.survey.questions import Questions, in_words, is_closed

Told: TypeAlias = Callable[[str, str], None]
"""Platform, and what is done there now."""

AHEAD_LIMIT_MS = 5_000
MOST_FAILURES = 5
UNSEEN = (
    "whether rx is the VM's or its network port's: download something large inside a VM and see which direction grows",
    "the least and greatest speed, what a busy VM answers, and what becomes of the numbers of an id that is used "
    "again: these show only when something is changed",
)
"""What reading alone cannot show, and how to find out."""


class PlatformSurvey:
    def __init__(
        self, config: Config, name: str, clock: Clock, transport: httpx.AsyncBaseTransport | None, told: Told
    ) -> None:
        self._config = config
        self._settings: Vmmanager = config.platforms[name]
        self._ask = Questions(name, client_settings(self._settings), client_secret(self._settings), clock, transport)
        self._told = told
        self.report = PlatformReport(name, self._settings.url)

    async def run(self, *, watch: bool, most_judged: int) -> PlatformReport:
        """Never raises our errors: what stops a part of the survey is a finding."""
        report = self.report
        try:
            rows: replies.Rows | None = None
            async with self._part("answer"):
                rows = await self._enter()
            if rows is not None:
                await self._examine(rows, watch=watch, most_judged=most_judged)
        finally:
            await self._ask.close()
        self._tell_wire()
        report.requests = self._ask.wire.requests
        return report

    @asynccontextmanager
    async def _part(self, topic: str) -> AsyncIterator[None]:
        """What goes wrong in it is told, and hides nothing else."""
        try:
            yield
        except QuotaStreamError as error:
            self.report.add(topic, "change", in_words(error))

    async def _enter(self) -> replies.Rows:
        self._told(self.report.name, "login")
        await self._ask.login()
        reply = await self._ask.hosts()
        words = "the token is taken" if self._settings.email is None else "e-mail and password are taken"
        self.report.add("login", "ok", words)
        return listed.read(reply, self._settings, self.report)

    async def _examine(self, rows: replies.Rows, *, watch: bool, most_judged: int) -> None:
        report, settings, machines = self.report, self._settings, rows.machines
        matched = listed.sort(self._config, machines, report)
        async with self._part("list"):
            await listed.tell_complete(self._ask, rows, report)
        running = [each for each in [*matched, *machines.values()] if each.running]
        measuring = Measuring(self._ask, settings, lambda what: self._told(report.name, what))
        async with self._part("metrics"):
            await measuring.all([*dict.fromkeys(map(_number, running))], watch=watch)
        stamp = metrics.tell(measuring, settings, report)
        for failure in [*dict.fromkeys(measuring.failures)][:MOST_FAILURES]:
            report.add("odd", "note" if measuring.sampled else "change", failure)
        if measuring.failures and not measuring.sampled:
            return
        async with self._part("odd"):
            await self._tell_oddities(measuring, machines)
        self._tell_pace(measuring, len(matched))
        await self._forecast(measuring, stamp, matched[:most_judged], len(matched))

    # ------------------------------------------------------------ oddities

    async def _tell_oddities(self, measuring: Measuring, machines: Mapping[str, Machine]) -> None:
        """What is of no consequence for us, and good to know all the same."""
        report, now = self.report, self._ask.clock.now()
        if measuring.step_ms is not None:
            begin, finish = (now // HOUR_MS * HOUR_MS - hours * HOUR_MS for hours in (4, 2))
            number = measuring.sampled[0]
            if measuring.offsets:
                await self._tell_bounds(measuring, number, begin, finish)
            await self._tell_epoch(measuring, number, begin, finish)
        stopped = next((machine for machine in machines.values() if not machine.running), None)
        if stopped is not None:
            local = measuring.local(now)
            times = clock_text(local - HOUR_MS), clock_text(local)
            values = {point.bytes for point in await self._ask.points(_number(stopped), *times, measuring.interval)}
            shown = "nothing" if values <= {None} else "zeros" if values <= {None, 0} else "traffic of the last hour"
            report.add("stopped", "ok", f"a machine that is stopped shows {shown}", shown)
        else:
            report.add("stopped", "unknown", "no machine is stopped")
        if self._ask.empty:
            shown = " and ".join(self._ask.empty)
            report.add("no_data", "ok", f"no data looks like {shown}", shown)
        for words in UNSEEN:
            report.add("unseen", "unknown", words)

    async def _tell_bounds(self, measuring: Measuring, number: int, begin: int, finish: int) -> None:
        times = clock_text(measuring.local(begin)), clock_text(measuring.local(finish))
        points = await self._ask.points(number, *times, measuring.interval)
        if points:
            from_, until = points[0].at == begin, points[-1].at == finish
            words = f"from {'is' if from_ else 'is not'} included, until {'is' if until else 'is not'}; we ask for more"
            self.report.add("bounds", "ok", f"{words} and choose by stamps", {"from": from_, "until": until})

    async def _tell_epoch(self, measuring: Measuring, number: int, begin: int, finish: int) -> None:
        try:
            points = await self._ask.points(number, str(begin // 1000), str(finish // 1000), measuring.interval)
        except (Refused, Unavailable):
            taken = False
        else:
            taken = bool(known(points)) and begin <= points[0].at <= begin + HOUR_MS
        words = "taken" if taken else "not taken"
        self.report.add("epoch", "ok", f"times as seconds since 1970 are {words}; we never ask so", taken)

    # ------------------------------------------------------------ pace

    def _tell_pace(self, measuring: Measuring, matched: int) -> None:
        """Two requests a machine whenever there can be something new, which is once in a step at most."""
        report, settings = self.report, self._settings
        answered = self._ask.seconds.get("metrics", [])
        if not answered:
            return
        typical_s = median(answered)
        value = {
            "requests": len(answered),
            "median_ms": round(typical_s * 1000),
            "most_ms": round(max(answered) * 1000),
        }
        rate = settings.max_requests_per_second
        able = min(rate, settings.concurrency / typical_s) if typical_s else rate
        every_s = max(settings.poll, measuring.step_ms or settings.sampling) / 1000
        needs_s = (2 * matched + 1) / able
        words = f"a request takes {typical_s * 1000:.0f} ms; the {2 * matched} of a round take {needs_s:.0f} s"
        words += f" at {able:.0f} a second, and there is a round every {every_s:.0f} s"
        if needs_s <= every_s * 0.8:
            report.add("pace", "ok", words, value)
            return
        wanted = -(-int((2 * matched + 1) / every_s * 1.5 + 1) // 5) * 5
        if wanted > rate:
            report.settings["max_requests_per_second"] = str(wanted)
        if wanted * typical_s > settings.concurrency:
            report.settings["concurrency"] = str(min(256, int(wanted * typical_s) + 1))
        report.add("pace", "change", f"{words}: too slow; allow more, or poll less often", value)

    def _tell_wire(self) -> None:
        """What went on below the questions: clocks, suspension, refusals, certificates."""
        report, wire = self.report, self._ask.wire
        if wire.ahead_ms:
            ahead = round(median(wire.ahead_ms))
            words = f"the platform's clock is {abs(ahead) / 1000:.1f} s {'ahead of' if ahead > 0 else 'behind'} ours"
            cure = "; let both follow NTP" if abs(ahead) > AHEAD_LIMIT_MS else ""
            report.add("clock", "change" if cure else "ok", words + cure, ahead)
        elif report.answers:
            report.add("clock", "unknown", "its replies have no date; compare `date` on both machines")
        if self._ask.suspended:
            words = f"it was suspended and answered 503 to {self._ask.suspended} requests"
            report.add("suspended", "note", f"{words}; we wait up to {duration_text(self._settings.suspended)}",
                       self._ask.suspended)  # fmt: skip
        if wire.statuses[429]:
            rate = self._settings.max_requests_per_second
            words = f"it answered 429 (too many requests) {wire.statuses[429]} times at up to {rate:g} a second"
            report.add("rate", "change", f"{words}; lower max_requests_per_second", wire.statuses[429])
        if not self._settings.verify:
            report.add("certificate", "note", "it is not verified (verify: false); `ca_file: FILE` would be safer")

    # ------------------------------------------------------------ whom it would slow

    async def _forecast(self, measuring: Measuring, stamp: Stamp, machines: Sequence[Machine], matched: int) -> None:
        report, settings = self.report, self._settings
        if not machines:
            return
        reading = Reading(
            zone=ZoneInfo(measuring.zone),
            step_ms=measuring.step_ms or settings.sampling,
            stamp=stamp,
            interval=measuring.interval,
            keeps_ms=settings.keeps or FARTHEST_MS,
        )
        forecast = Forecast(self._ask, self._config.plans, reading)
        match = make_match(self._config, report.name)
        silent, failures = 0, []
        for place, machine in enumerate(machines, 1):
            self._told(report.name, f"whom the plans would slow: {place} of {len(machines)}")
            enrolment = match(machine)
            assert enrolment is not None  # they are those that a rule matches
            try:
                verdict = await forecast.judge(machine, enrolment)
            except (Refused, Unavailable) as error:
                failures.append(in_words(error))
                if is_closed(error) or len(failures) > MOST_FAILURES:
                    break
                continue
            report.judged += verdict.known
            silent += not verdict.known
            if verdict.slowed is not None:
                report.slowed.append(verdict.slowed)
        words = f"{len(report.slowed)} of {report.judged} machines with plans would be slowed now"
        words += f"; {silent} have no numbers" if silent else ""
        words += f"; {matched - len(machines)} more were not looked at, see --vms" if matched > len(machines) else ""
        report.add("forecast", "ok", words, len(report.slowed))
        for failure in failures:
            report.add("odd", "change", failure)


def _number(machine: Machine) -> int:
    return int(machine.service.rpartition("/")[2])
