"""One service: which bytes a delta adds, and the order in which its ladders are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.oracle.ladder import LONG_AGO, NEVER, Ladder, Speed, least, part

MOST_IN_WINDOW = 1 << 61
"""Hundredths of a byte."""


class Refused(Exception):
    """Dead letter; the text is the class of its reason."""


@dataclass
class Counted:
    """What was counted under one `start`: up to which end, and the greatest bytes seen."""

    start: int
    end: int
    in_: int
    out: int


@dataclass(frozen=True)
class Added:
    """What a delta adds: bytes per direction from `since` to its end, and how the service will remember it."""

    since: int
    in_: int
    out: int
    remember: Callable[[], None]


@dataclass(eq=False)
class Service:
    name: str
    incarnation: int
    source: str
    quota: int | None
    anchor_day: int | None
    labels: dict[str, str]
    marks: dict[str, int]
    """The watermarks of all sources, shared."""
    tell: Callable[..., None]
    """Takes what goes out: kind ("decision" or "warning"), service, and the fields of the output."""

    def __post_init__(self) -> None:
        self.revision = 0
        self.own_time: int | None = None
        self.current: Counted | None = None
        self.previous: Counted | None = None
        self.accepted = (0, 0)
        self.stale = (0, 0)
        self.backfilling = False
        self.ladders: list[Ladder] = []

    @property
    def time(self) -> int | None:
        known = [at for at in (self.own_time, self.marks.get(self.source)) if at is not None]
        return max(known, default=None)

    def speed(self) -> Speed:
        """What is due: the least of all ladders."""
        return least(*(ladder.speed() for ladder in self.ladders))

    def decide(self, reason: str, at: int, **fields: Any) -> None:
        self.revision += 1
        self.tell("decision", self, **{"reason": reason, "at": at, "speed": self.speed(), **fields})

    # ------------------------------------------------------------ deltas

    def delta(self, start: int, end: int, in_: int, out: int, backfill: bool) -> None:
        added = self.adds(start, end, in_, out)
        if added is None:
            self.stale = (self.stale[0] + in_, self.stale[1] + out)
            return
        before = self.time
        now, as_of = (end, end - 1) if before is None or end > before else (before, before)
        for ladder in self.ladders:
            if ladder.usage(as_of + 1, as_of) + ladder.amount(added.in_, added.out) > MOST_IN_WINDOW:
                raise Refused("too much in one window")
        added.remember()
        self.accepted = (self.accepted[0] + added.in_, self.accepted[1] + added.out)
        self.own_time = end if self.own_time is None else max(self.own_time, end)
        for ladder in self.ladders:
            ladder.add(ladder.amount(added.in_, added.out), added.since, end, before)
        judged_down = added.in_ > 0 or added.out > 0 or self.backfilling
        self.backfilling = backfill
        if not backfill:
            self.judge_until(before, now, as_of if judged_down else None)

    def adds(self, start: int, end: int, in_: int, out: int) -> Added | None:
        """What a delta adds; None when it is stale.  The first rule that fits holds."""
        current, previous = self.current, self.previous

        def as_current(kept: Counted | None) -> Callable[[], None]:
            def remember() -> None:
                self.current, self.previous = Counted(start, end, in_, out), kept

            return remember

        if current is None:
            return Added(start, in_, out, as_current(None))
        if start == current.start:
            return grown(current, end, in_, out)
        if previous is not None and start == previous.start and end <= current.start:
            return grown(previous, end, in_, out)
        if start >= current.end:
            return Added(start, in_, out, as_current(current))
        if end > current.end:
            rest_in, rest_out = (part(bytes_, start, end, current.end, end) for bytes_ in (in_, out))
            return Added(current.end, rest_in, rest_out, as_current(None))
        return None

    # ------------------------------------------------------------ judging

    def judge_until(self, before: int | None, now: int, end_as_of: int | None = None) -> None:
        """Judges every instant that is due up to `now`, in order, and at `now` the way down at the end of a delta.

        Nothing is judged before the service's time: what was missed is made up for there.
        """
        earliest = LONG_AGO if before is None else before
        while (instant := max(self.next_due(), earliest)) < now:
            self.judge(instant)
        if self.next_due() <= now or end_as_of is not None:
            self.judge(now, end_as_of)

    def next_due(self) -> int:
        return min((ladder.next_due() for ladder in self.ladders), default=NEVER)

    def judge(self, at: int, end_as_of: int | None = None) -> None:
        """Everything of one instant: ups, then downs, then ups that these bring about at once, then warnings.

        `end_as_of`: a delta that adds bytes ends here; its way down is judged with the window as of that instant.
        """
        rested = {ladder for ladder in self.ladders if ladder.rest_ends(at)}
        lost_credit = {ladder for ladder in self.ladders if any(end <= at for end, _ in ladder.credits)}
        risen, fallen = set(), set()
        for ladder in self.ladders:
            self.end_rest(ladder, at)
            if ladder.next_up() <= at and self.go_up(ladder, at):
                risen.add(ladder)
        standing = [ladder for ladder in self.ladders if not ladder.resting and ladder not in risen]
        for ladder in standing:
            if ladder in rested | lost_credit and self.go_down(ladder, at, at):
                fallen.add(ladder)
            if end_as_of is not None and self.go_down(ladder, at, end_as_of):
                fallen.add(ladder)
        for ladder in standing:
            if ladder in fallen and ladder.next_up() <= at:
                self.go_up(ladder, at)
        for ladder in standing:
            if end_as_of is not None and ladder not in fallen and ladder.warns(at, end_as_of):
                described = {"plan": ladder.name, "profile": ladder.profile, "percent": ladder.plan["warn"]}
                self.tell("warning", self, at=at, **described, **ladder.account(at, end_as_of))
        for ladder in self.ladders:
            ladder.credits = [credit for credit in ladder.credits if credit[0] > at]

    def judge_released(self, ladders: list[Ladder], at: int) -> None:
        """Ladders that an operator has unpinned."""
        risen = {ladder for ladder in ladders if ladder.next_up() <= at and self.go_up(ladder, at)}
        for ladder in ladders:
            if not ladder.resting and ladder not in risen:
                self.go_down(ladder, at, at)

    def end_rest(self, ladder: Ladder, at: int) -> None:
        """Pins and exemptions that end by themselves; exemptions of several ladders end as one."""
        if ladder.pin is not None and ladder.pin[1] <= at:
            ladder.end_rest(pin=True)
            self.decide("unpinned", at)
        if ladder.exemption_ends(at):
            for each in self.ladders:
                if each.exemption_ends(at):
                    each.end_rest(exemption=True)
            self.decide("resumed", at)

    # ------------------------------------------------------------ moves

    def go_up(self, ladder: Ladder, at: int) -> bool:
        ladder.up_judged = at
        target = ladder.step_up(at)
        if target is not None:
            self.move(ladder, target, "period" if ladder.described()["stay"] == "period" else "stay_over", at, at)
        return target is not None

    def go_down(self, ladder: Ladder, at: int, as_of: int) -> bool:
        """One step, or where the window is kept as many as it takes."""
        fell = False
        while (target := ladder.step_down(ladder.usage(at, as_of), as_of)) is not None:
            self.move(ladder, target, ladder.described()["at"], at, as_of)
            fell = True
            if not ladder.keeps:
                break
        return fell

    def move(self, ladder: Ladder, target: str, reason: str, at: int, as_of: int, *, empty: bool | None = None) -> None:
        """`empty`: whether the window is emptied; by default the plan says so."""
        account = ladder.account(at, as_of)
        former = ladder.profile
        ladder.enter(target, at, as_of)
        if empty or (empty is None and not ladder.keeps):
            ladder.clip = at
        named = {"plan": ladder.name, "from": former, "to": target, "profile_speed": ladder.speed(target)}
        self.decide(reason, at, **named, **account)


def grown(anchor: Counted, end: int, in_: int, out: int) -> Added:
    """What more bytes under the same start add; an earlier end is a repeat."""
    if end < anchor.end:
        return Added(end - 1, 0, 0, lambda: None)

    def remember() -> None:
        anchor.end, anchor.in_, anchor.out = end, max(anchor.in_, in_), max(anchor.out, out)

    since = min(anchor.end, end - 1)
    return Added(since, max(0, in_ - anchor.in_), max(0, out - anchor.out), remember)
