"""One service, taken out of the tables: what its deltas add, and in which order its ladders are judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, NamedTuple, TypeAlias

from stream.core.counting import Anchor, Delta, Tally, added_by
from stream.core.errors import Rejected
from stream.core.ladder import NEVER, Amount, Ladder, Step
from stream.core.model import Decision, Position, QuotaWarning, Reason, Slice
from stream.core.plan import Plan
from stream.core.speed import ORIGINAL, Speed

_Explained: TypeAlias = tuple[
    str | None, str | None, str | None, Speed | None, int | None, int | None, tuple[Slice, ...] | None
]
"""Of a decision: from its plan to its window."""
_UNEXPLAINED: Final[_Explained] = (None, None, None, None, None, None, None)


class Cause(NamedTuple):
    """The input that is being applied, as a decision names it."""

    position: Position
    partition: int
    plans_version: int
    adjustment: Mapping[str, Any] | None = None


class Moment(NamedTuple):
    """When a delta's end is judged, and as of when: at the service's time, which was `before` until it came."""

    now: int
    as_of: int
    before: int | None

    @classmethod
    def of(cls, end: int, before: int | None) -> Moment:
        return cls(end, end - 1, before) if before is None or end > before else cls(before, before, before)


@dataclass(slots=True, eq=False)
class Service:
    """`outcomes` collects what was decided since it was loaded, in order."""

    name: str
    incarnation: int
    source: str
    revision: int = 0
    mark: int | None = None
    """The watermark of its source."""
    floor: int | None = None
    """An instant that its time does not lie before, though no delta says so (of a former source)."""
    current: Anchor | None = None
    previous: Anchor | None = None
    accepted_in: int = 0
    accepted_out: int = 0
    stale_in: int = 0
    stale_out: int = 0
    backfilling: bool = False
    quota: int | None = None
    anchor_day: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ladders: list[Ladder] = field(default_factory=list)
    outcomes: list[Decision | QuotaWarning] = field(default_factory=list)

    @property
    def own_time(self) -> int | None:
        """What its own deltas say; None before the first."""
        ends = [instant for instant in (self.current and self.current.end, self.floor) if instant is not None]
        return max(ends, default=None)

    @property
    def time(self) -> int | None:
        known = [instant for instant in (self.own_time, self.mark) if instant is not None]
        return max(known, default=None)

    @property
    def speed(self) -> Speed:
        """What is due: the least of all ladders."""
        dues = [ladder.due for ladder in self.ladders]
        return reduce(Speed.least, dues) if dues else ORIGINAL

    def ladder(self, plan: str) -> Ladder | None:
        return next((ladder for ladder in self.ladders if ladder.plan.name == plan), None)

    def begin(self, plan: Plan, at: int, since: int | None) -> Ladder:
        """A ladder of a plan that it gets; `since`: its time if it runs already."""
        ladder = Ladder.begin(plan, plan.slicer(self.anchor_day), self.quota, at, since)
        ladder.base = -ladder.accepted(self.accepted_in, self.accepted_out)
        return ladder

    # ------------------------------------------------------------ what goes out

    def decide(
        self, cause: Cause, reason: Reason, at: int, ladder: Ladder | None = None, step: Step | None = None
    ) -> None:
        """The next revision: a step of one ladder, or what concerns them all."""
        self.revision += 1
        decision = Decision(
            self.name, self.incarnation, self.revision, at, reason, self.speed,
            cause.plans_version, cause.position, cause.partition,
            *_explained(ladder, step), cause.adjustment,
        )  # fmt: skip
        self.outcomes.append(decision)

    def _warn(self, cause: Cause, at: int, ladder: Ladder, step: Step) -> None:
        assert ladder.plan.warn is not None, "nobody asked for a warning"
        assert step.quota_bytes is not None, "no quota to warn of"
        self.outcomes.append(
            QuotaWarning(
                self.name, self.incarnation, ladder.plan.name, step.from_.name, at, ladder.plan.warn,
                step.usage_bytes, step.quota_bytes, step.window, cause.plans_version, cause.position, cause.partition,
            )
        )  # fmt: skip

    # ------------------------------------------------------------ deltas

    def delta(self, delta: Delta, cause: Cause, tally: Tally) -> None:
        """Count it and judge.  Raises Rejected, having changed nothing, if a window would overflow."""
        added = added_by(delta, self.current, self.previous)
        end = delta.end
        now, as_of, before = Moment.of(end, self.time)
        amounts = [ladder.plan.weight_in * added.in_ + ladder.plan.weight_out * added.out for ladder in self.ladders]
        if not all(ladder.fits(value, as_of) for ladder, value in zip(self.ladders, amounts, strict=True)):
            raise Rejected(
                f"too much in one window: {self.name}", "no window holds more than 23 PB: check the bytes sent"
            )
        tally.delta(delta, added)
        if added.outcome == "stale":
            self.stale_in += delta.in_
            self.stale_out += delta.out
            return
        self.current, self.previous = added.current, added.previous
        self.accepted_in += added.in_
        self.accepted_out += added.out
        judged_down = added.in_ > 0 or added.out > 0 or self.backfilling
        self.backfilling = delta.backfill
        before_late, before_clipped = self._lost()
        pouring = _Pouring(self.ladders, [Amount(value, added.since, end) for value in amounts], before)
        if not delta.backfill:
            self._judge_until(cause, now, as_of if judged_down else None, before, pouring)
        pouring.until(end)
        late, clipped = self._lost()
        tally.add("late_hundredths", late - before_late)
        tally.add("clipped_hundredths", clipped - before_clipped)

    def judge_counted(self, moment: Moment, cause: Cause) -> None:
        """What `delta` judges of one with bytes that was counted elsewhere, if nothing was due before its end."""
        now, as_of, before = moment
        self._judge_until(cause, now, as_of, before, _NOTHING)

    def _lost(self) -> tuple[int, int]:
        return sum(ladder.late for ladder in self.ladders), sum(ladder.clipped for ladder in self.ladders)

    def watermark(self, at: int, cause: Cause) -> None:
        """No traffic before `at` is still to come: what is due until then is judged, unless it is being backfilled."""
        before = self.time
        self.mark = at
        if not self.backfilling:
            self._judge_until(cause, at if before is None else max(before, at), None, before, _NOTHING)

    # ------------------------------------------------------------ judging

    def next_due(self) -> int:
        dues = [ladder.next_due() for ladder in self.ladders]
        return min([due for due in dues if due is not None], default=NEVER)

    def _judge_until(
        self, cause: Cause, now: int, end_as_of: int | None, before: int | None, pouring: _Pouring
    ) -> None:
        """Every instant that is due up to `now`, in order, each with exactly the bytes before it; at `now` also a
        delta's end, as of `end_as_of`.  Nothing is judged before the service's time: what is overdue is made up there.
        """
        at = None
        while (due := self.next_due()) <= now:
            at = due if before is None else max(due, before)
            pouring.until(at)
            self.judge(cause, at, end_as_of if at == now else None)
            pouring.pass_over()
        pouring.until(now)
        if end_as_of is not None and at != now:
            self.judge(cause, now, end_as_of)

    def judge(self, cause: Cause, at: int, end_as_of: int | None = None) -> None:
        """One instant: rests that end and ways up, then ways down, then ups that these open at once, then warnings.

        `end_as_of`: a delta ends here and is judged with the window as of then.
        """
        adjusted = [ladder for ladder in self.ladders if ladder.adjusted]
        shaken = {ladder for ladder in adjusted if ladder.rest_ends(at) or ladder.credit_ends(at)}
        risen = []
        for ladder in self.ladders:
            if end_as_of is not None:
                ladder.advance(end_as_of)
            if ladder.resting:
                self._end_rests(cause, at, ladder)
            if self._rise(cause, at, ladder):
                risen.append(ladder)
        standing = [ladder for ladder in self.ladders if not ladder.resting and ladder not in risen]
        end = () if end_as_of is None else (end_as_of,)
        fallen = [each for each in standing if self._fall(cause, at, each, *((at,) if each in shaken else ()), *end)]
        for ladder in fallen:
            self._rise(cause, at, ladder)
        for ladder in standing:
            if end_as_of is not None and ladder not in fallen and (step := ladder.warn(end_as_of)):
                self._warn(cause, at, ladder, step)
        for ladder in adjusted:
            ladder.drop_credits(at)

    def judge_released(self, cause: Cause, at: int, released: Sequence[Ladder]) -> None:
        """Ladders that an operator has just unpinned: up, or else down, at the service's time."""
        risen = [ladder for ladder in released if self._rise(cause, at, ladder)]
        self.judge_down(cause, at, [ladder for ladder in released if ladder not in risen])

    def judge_down(self, cause: Cause, at: int, ladders: Sequence[Ladder]) -> None:
        """The ways down alone, at the service's time: quotas may have shrunk."""
        for ladder in ladders:
            if not ladder.resting:
                self._fall(cause, at, ladder, at)

    def _end_rests(self, cause: Cause, at: int, ladder: Ladder) -> None:
        """Pins and exemptions that end by themselves; exemptions of several ladders end as one."""
        if ladder.pin_ends(at):
            ladder.set_pin(None)
            self.decide(cause, "unpinned", at)
        if ladder.exemption_ends(at):
            for each in self.ladders:
                if each.exemption_ends(at):
                    each.set_exemption(None)
            self.decide(cause, "resumed", at)

    def _rise(self, cause: Cause, at: int, ladder: Ladder) -> bool:
        step = ladder.rise(at)
        if step is not None:
            self.decide(cause, step.reason, at, ladder, step)
        return step is not None

    def _fall(self, cause: Cause, at: int, ladder: Ladder, *as_of: int) -> bool:
        before = self.revision
        for instant in as_of:
            for step in ladder.fall(at, instant):
                self.decide(cause, step.reason, at, ladder, step)
        return self.revision > before


def _explained(ladder: Ladder | None, step: Step | None) -> _Explained:
    if ladder is None or step is None:
        return _UNEXPLAINED
    from_, to = step.from_, step.to
    return ladder.plan.name, from_.name, to.name, to.speed, step.usage_bytes, step.quota_bytes, step.window


class _Pouring:
    """A delta's amounts on their way into the ladders: before an instant is judged, exactly what lies before it."""

    def __init__(self, ladders: Collection[Ladder], amounts: Collection[Amount], before: int | None) -> None:
        self._shares = [(ladder, amount) for ladder, amount in zip(ladders, amounts, strict=True) if amount.value]
        self._before = before
        self._done: int | None = None

    def until(self, instant: int) -> None:
        for ladder, amount in self._shares:
            from_ = amount.start if self._done is None else self._done
            ladder.add(amount, max(from_, amount.start), min(instant, amount.end), self._before)
        self._done = instant

    def pass_over(self) -> None:
        """Where nothing but this delta is in the windows."""
        for ladder, amount in self._shares:
            if self._before is None or self._before <= amount.start:
                ladder.pass_over(amount)


_NOTHING: Final = _Pouring([], [], None)
