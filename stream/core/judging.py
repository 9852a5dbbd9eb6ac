"""In which order the ladders of one service are judged, and what is decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, NamedTuple, TypeAlias

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

    @classmethod
    def of(cls, end: int, before: int | None) -> Moment:
        return cls(end, end - 1) if before is None or end > before else cls(before, before)


@dataclass(slots=True, eq=False)
class Judged:
    """A service, as far as its ladders know it.  `outcomes` collects what was decided since it was loaded, in order."""

    name: str
    incarnation: int
    revision: int
    ladders: list[Ladder]
    outcomes: list[Decision | QuotaWarning] = field(default_factory=list)

    @property
    def speed(self) -> Speed:
        """What is due: the least of all ladders."""
        dues = [ladder.due for ladder in self.ladders]
        return reduce(Speed.least, dues) if dues else ORIGINAL

    # ------------------------------------------------------------ what goes out

    def decide(
        self, cause: Cause, reason: Reason, at: int, ladder: Ladder | None = None, step: Step | None = None
    ) -> None:
        """The next revision: a step of one ladder, or what concerns them all."""
        self.revision += 1
        decision = Decision(
            self.name, self.incarnation, self.revision, at, reason, self.speed,
            cause.plans_version, cause.position, cause.partition,
            *explained(None if ladder is None else ladder.plan, step), cause.adjustment,
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

    # ------------------------------------------------------------ judging

    def next_due(self) -> int:
        return min([ladder.next_due() for ladder in self.ladders], default=NEVER)

    def judge_until(
        self, cause: Cause, now: int, end_as_of: int | None, before: int | None, pouring: Pouring | None = None
    ) -> None:
        """Every instant that is due up to `now`, in order, each with exactly the bytes before it; at `now` also a
        delta's end, as of `end_as_of`.  Nothing is judged before the service's time: what is overdue is made up there.
        """
        at, pouring = None, pouring or Pouring([], [], None)
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
        if len(self.ladders) == 1 and not self.ladders[0].adjusted:
            self._judge_only(cause, at, end_as_of, self.ladders[0])
            return
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

    def _judge_only(self, cause: Cause, at: int, end_as_of: int | None, ladder: Ladder) -> None:
        """As `judge`, of one ladder without credits and rests: what nearly all are."""
        if end_as_of is not None:
            ladder.advance(end_as_of)
        if self._rise(cause, at, ladder) or end_as_of is None:
            return
        if self._fall(cause, at, ladder, end_as_of):
            self._rise(cause, at, ladder)
        elif step := ladder.warn(end_as_of):
            self._warn(cause, at, ladder, step)

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


def explained(plan: Plan | None, step: Step | None) -> _Explained:
    """A decision's fields from its plan to its window."""
    if plan is None or step is None:
        return _UNEXPLAINED
    from_, to = step.from_, step.to
    return plan.name, from_.name, to.name, to.speed, step.usage_bytes, step.quota_bytes, step.window


class Pouring:
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
