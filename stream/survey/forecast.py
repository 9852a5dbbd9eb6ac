"""Whom the plans would slow now: the platform's own numbers through the very tracker that decides in earnest.

window     |------------------ as far back as the plans of a machine reach ------------------|
read        one request per direction (more only where there would be too many points in it)
deltas      [==) [=====) [========)  ...   growing, up to each slice edge, marked as backfill; the last one judged
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from stream import wire
from stream.config.units import rounded_size_text
from stream.core.model import Decision
from stream.core.plan import Plan
from stream.core.tracker import Tracker
from stream.core.view import PlanView
from stream.ports import Machine, Message, Record
from stream.runtime.anchors import Windows
from stream.runtime.enrolment import Enrolment
from stream.survey.findings import Slowed
from stream.survey.points import HOUR_MS, Point, Stamp, known
from stream.survey.questions import RX, TX, Questions

MOST_POINTS = 10_000
"""Of one reply."""
MARGIN_MS = 2 * HOUR_MS
"""By how much more is asked than is wanted: an hour that the clocks show twice, and boundaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a platform's numbers are to be understood."""

    zone: ZoneInfo
    step_ms: int
    stamp: Stamp
    interval: str
    keeps_ms: int


class Verdict(NamedTuple):
    known: bool
    """Whether there are numbers of it."""
    slowed: Slowed | None = None
    """How its plans would slow it; None: they would not."""


class Forecast:
    """Judges machine after machine, each by itself."""

    def __init__(self, questions: Questions, plans: Mapping[str, Plan], reading: Reading) -> None:
        self._ask = questions
        self._plans = plans
        self._reading = reading
        self._windows = Windows(plans, reading.step_ms)

    async def judge(self, machine: Machine, enrolment: Enrolment) -> Verdict:
        step = self._reading.step_ms
        upto = self._ask.clock.now() // step * step
        since = self._windows.since(enrolment.plans, enrolment.anchor_day, upto)
        since = max(since, upto - self._reading.keeps_ms) // step * step
        number = int(machine.service.rpartition("/")[2])
        received, sent = [await self._read(number, target, since, upto) for target in (RX, TX)]
        if machine.running and not (received and sent):
            return Verdict(known=False)  # a stopped one without numbers had no traffic
        newest = min((points[-1].at for points in (received, sent) if points), default=since)
        end = newest // step * step + step
        edges = self._windows.edges(enrolment.plans, enrolment.anchor_day, since, end, upto)
        ends = [*(edge for edge in edges if edge < end), end]
        totals = [(edge, _sum(received, edge), _sum(sent, edge)) for edge in ends]
        return self._track(machine, enrolment, since, totals)

    async def _read(self, number: int, target: str, since: int, upto: int) -> list[Point]:
        """The points whose steps lie in `[since, upto)`, at the begin of their steps."""
        reading = self._reading
        shift = 0 if reading.stamp == "start" else reading.step_ms
        span = MOST_POINTS * reading.step_ms - 2 * MARGIN_MS
        found: dict[int, Point] = {}
        for start in range(since, upto, span):
            end = min(upto, start + span)
            asked = (self._local(start - MARGIN_MS), self._local(end + MARGIN_MS))
            for at, bytes_ in known(await self._ask.points(number, *asked, reading.interval, target)):
                if since <= at - shift < upto:
                    found[at - shift] = Point(at - shift, bytes_)
        return [found[at] for at in sorted(found)]

    def _local(self, instant: int) -> str:
        return f"{datetime.fromtimestamp(instant / 1000, self._reading.zone):%H:%M_%Y%m%d}"

    def _track(
        self, machine: Machine, enrolment: Enrolment, since: int, totals: Sequence[tuple[int, int, int]]
    ) -> Verdict:
        service = machine.service
        register = wire.encode_registration(
            service, enrolment.plans, quota=enrolment.quota, anchor_day=enrolment.anchor_day, at=since
        )
        deltas = [
            wire.encode_delta(service, since, end, in_, out, backfill=place < len(totals) - 1)
            for place, (end, in_, out) in enumerate(totals)
        ]
        tracker = Tracker(0, lambda _: 0)
        messages = [wire.encode_plans(1, self._plans), register, *deltas]
        tracker.apply(wire.Decoder().decode(_records(messages, self._ask.clock.now())), len(messages))
        view, drained = tracker.service(service), tracker.drain()
        assert view is not None, drained.dead_letters  # nothing here is anybody's input but the configuration's
        due = view.speed.least(machine.limits)
        if due == machine.limits:
            return Verdict(known=True)
        moves = {one.plan: one for one in drained.outcomes if isinstance(one, Decision)}
        slowing = [plan for plan in view.plans if plan.due.least(machine.limits) != machine.limits]
        why = tuple(_why(plan, moves.get(plan.plan)) for plan in slowing)
        return Verdict(known=True, slowed=Slowed(service, machine.name, machine.limits, due, why))


def _records(messages: Sequence[Message], now: int) -> list[Record]:
    """As the log would give them back."""
    return [Record(place, now, each.key, each.value, each.headers) for place, each in enumerate(messages)]


def _sum(points: Sequence[Point], end: int) -> int:
    return sum(round(point.bytes or 0) for point in points if point.at < end)


def _why(plan: PlanView, move: Decision | None) -> str:
    usage, quota = (plan.usage_bytes, plan.quota_bytes) if move is None else (move.usage_bytes or 0, move.quota_bytes)
    used = rounded_size_text(usage) + ("" if quota is None else f" of {rounded_size_text(quota)}")
    return f"{plan.plan}: {plan.profile}, {used} used"
