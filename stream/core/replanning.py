"""What a change of plans does to a service that has them: nothing is lost that still has a place."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stream.core.judging import Cause
from stream.core.ladder import NO_HEAD, Amount, Ladder, Pin, Step
from stream.core.model import Reason
from stream.core.plan import Plan
from stream.core.service import Service


def replan(service: Service, plans: Mapping[str, Plan], changed: Collection[str], cause: Cause) -> None:
    """The new plans take effect as a whole; then come the decisions about it, then what shrunken quotas bring."""
    time, speed, count = service.time, service.speed, len(service.ladders)
    now = max((ladder.entered_at for ladder in service.ladders), default=0) if time is None else time
    service.ladders = [ladder for ladder in service.ladders if ladder.plan.name in plans]
    shaken = [ladder for ladder in service.ladders if ladder.plan.name in changed]
    told: list[tuple[Reason, Ladder | None, Step | None]] = []
    for ladder in shaken:
        step, unpinned = change_plan(ladder, plans[ladder.plan.name], service, now)
        told += [("plans_changed", ladder, step)] if step else []
        told += [("unpinned", None, None)] if unpinned else []
    if len(service.ladders) < count or (service.speed != speed and not told):
        told.insert(0, ("plans_changed", None, None))
    for reason, about, step in told:
        service.decide(cause, reason, now, about, step)
    if time is not None and not service.backfilling:
        service.judge_down(cause, now, shaken)


def change_plan(ladder: Ladder, plan: Plan, service: Service, now: int) -> tuple[Step | None, bool]:
    """Puts a ladder on another plan of its name.  Returns the move if its profile is gone, and whether its pin is."""
    former, pinned, accepted = ladder.here, ladder.pin, ladder.accepted(service.accepted_in, service.accepted_out)
    number = plan.profile_number(former.name)
    step = ladder.step("plans_changed", plan.profiles[0], now) if number is None else None
    if plan.window != ladder.plan.window:
        _reshape(ladder, plan, service.anchor_day, now)
    if pinned is not None:
        target = plan.profile_number(ladder.plan.profiles[pinned.profile].name)
        ladder.pin = None if target is None else Pin(target, pinned.until)
    ladder.plan = plan
    ladder.base += accepted - ladder.accepted(service.accepted_in, service.accepted_out)
    if number is None:
        ladder.profile, ladder.entered_at, ladder.entered_as_of_before, ladder.warned = 0, now, False, False
    else:
        ladder.profile = number
    ladder.await_way_up()
    return step, ladder.pin is None and pinned is not None


def _reshape(ladder: Ladder, plan: Plan, anchor_day: int | None, now: int) -> None:
    """Each old slice is counted into the new window like a delta over it, as far as it has passed.

    A warning that was given stays given, in a calendar window until its slice is over.
    """
    old = None if ladder.head == NO_HEAD else ladder.amounts_at(now)
    warned = ladder.warned and not ladder.rolled_over(now)
    ladder.slicer = plan.slicer(anchor_day)
    ladder.slices, ladder.head = [0] * plan.slices, NO_HEAD
    if old is None:
        return
    for start, end, value in old:
        if value:
            first = max(start, ladder.clip)
            last = max(first + 1, min(end, max(now, start + 1)))
            ladder.pour(Amount(value, first, last), first, last)
    ladder.advance(now)
    ladder.warned = warned
