"""One service, taken out of the tables: what its deltas add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.counting import Anchor, Delta, Tally, added_by
from stream.core.errors import Rejected
from stream.core.judging import Cause, Judged, Moment, Pouring
from stream.core.ladder import Amount, Ladder
from stream.core.plan import Plan


@dataclass(slots=True, eq=False, kw_only=True)
class Service(Judged):
    source: str
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

    @property
    def own_time(self) -> int | None:
        """What its own deltas say; None before the first."""
        ends = [instant for instant in (self.current and self.current.end, self.floor) if instant is not None]
        return max(ends, default=None)

    @property
    def time(self) -> int | None:
        known = [instant for instant in (self.own_time, self.mark) if instant is not None]
        return max(known, default=None)

    def ladder(self, plan: str) -> Ladder | None:
        return next((ladder for ladder in self.ladders if ladder.plan.name == plan), None)

    def begin(self, plan: Plan, at: int, since: int | None) -> Ladder:
        """A ladder of a plan that it gets; `since`: its time if it runs already."""
        ladder = Ladder.begin(plan, plan.slicer(self.anchor_day), self.quota, at, since)
        ladder.base = -ladder.accepted(self.accepted_in, self.accepted_out)
        return ladder

    # ------------------------------------------------------------ deltas

    def delta(self, delta: Delta, cause: Cause, tally: Tally) -> None:
        """Count it and judge.  Raises Rejected, having changed nothing, if a window would overflow."""
        added = added_by(delta, self.current, self.previous)
        end = delta.end
        before = self.time
        now, as_of = Moment.of(end, before)
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
        pouring = Pouring(self.ladders, [Amount(value, added.since, end) for value in amounts], before)
        if not delta.backfill:
            self.judge_until(cause, now, as_of if judged_down else None, before, pouring)
        pouring.until(end)
        late, clipped = self._lost()
        tally.add("late_hundredths", late - before_late)
        tally.add("clipped_hundredths", clipped - before_clipped)

    def _lost(self) -> tuple[int, int]:
        return sum(ladder.late for ladder in self.ladders), sum(ladder.clipped for ladder in self.ladders)

    def watermark(self, at: int, cause: Cause) -> None:
        """No traffic before `at` is still to come: what is due until then is judged, unless it is being backfilled."""
        before = self.time
        self.mark = at
        if not self.backfilling:
            self.judge_until(cause, at if before is None else max(before, at), None, before)
