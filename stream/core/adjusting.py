"""What operators do to a service: credit, exempt, pin, unpin, reset.  Each acts at the service's time."""

from __future__ import annotations

from typing import Any, Final

from stream.core.errors import Rejected
from stream.core.judging import Cause
from stream.core.ladder import Credit, Ladder, Pin
from stream.core.model import Adjustment
from stream.core.service import Service

MOST_CREDIT: Final = 1 << 56
"""Bytes of credit that a ladder may have at a time."""


def adjust(service: Service, adjustment: Adjustment, cause: Cause) -> None:
    """One decision of its kind, then the moves that follow.  Raises Rejected, having changed nothing."""
    now = adjustment.at if service.time is None else service.time
    ladders = [ladder for ladder in service.ladders if adjustment.plan in (None, ladder.plan.name)]
    if adjustment.plan is not None and not ladders:
        known = ", ".join(ladder.plan.name for ladder in service.ladders) or "none"
        raise Rejected(f"not a plan of the service: {adjustment.plan}", f"its plans are: {known}")
    if adjustment.kind in ("exempt", "pin") and adjustment.until is not None and adjustment.until <= now:
        raise Rejected(f"until is over: {adjustment.until}", f"name an instant after the service's time, {now}")
    cause = cause._replace(adjustment=_told(adjustment))
    KINDS[adjustment.kind](service, ladders, adjustment, cause, now)


def _told(adjustment: Adjustment) -> dict[str, Any]:
    """As the decisions that it causes repeat it."""
    names = ("id", "kind", "by", "why", "bytes", "until", "plan", "profile")
    return {name: value for name in names if (value := getattr(adjustment, name)) is not None}


def _credit(service: Service, ladders: list[Ladder], adjustment: Adjustment, cause: Cause, now: int) -> None:
    if adjustment.bytes is None:
        raise Rejected("credit without bytes", "give bytes, a whole number from 1 to 2^50")
    takers = [
        ladder
        for ladder in ladders
        if any(profile.quota is not None for profile in ladder.plan.profiles) and ladder.credit_end(adjustment.at) > now
    ]
    if not takers:
        cure = "name a plan that has a quota, and an `at` whose slice has not left its window"
        raise Rejected("credit raises no quota", cure)
    if any(sum(credit.bytes for credit in ladder.credits) + adjustment.bytes > MOST_CREDIT for ladder in takers):
        raise Rejected("too much credit", f"no more than {MOST_CREDIT} bytes at a time")
    for ladder in takers:
        ladder.credits.append(Credit(ladder.credit_end(adjustment.at), adjustment.bytes))
    service.decide(cause, "credit", now)
    for ladder in takers:
        step = ladder.judge_anew(now)
        if step is not None:
            service.decide(cause, step.reason, now, ladder, step)


def _exempt(service: Service, ladders: list[Ladder], adjustment: Adjustment, cause: Cause, now: int) -> None:
    if adjustment.until is None:
        raise Rejected("exemption without until", "give until, in milliseconds since 1970 (UTC)")
    for ladder in ladders:
        ladder.set_exemption(adjustment.until)
    service.decide(cause, "exempt", now)


def _pin(service: Service, ladders: list[Ladder], adjustment: Adjustment, cause: Cause, now: int) -> None:
    if adjustment.plan is None or adjustment.profile is None:
        raise Rejected("pin without plan or profile", "name the plan and one of its profiles")
    number = ladders[0].plan.profile_number(adjustment.profile)
    if number is None:
        known = ", ".join(profile.name for profile in ladders[0].plan.profiles)
        raise Rejected(f"unknown profile: {adjustment.profile}", f"the profiles of {adjustment.plan} are: {known}")
    ladders[0].set_pin(Pin(number, adjustment.until))
    service.decide(cause, "pin", now)


def _unpin(service: Service, ladders: list[Ladder], _: Adjustment, cause: Cause, now: int) -> None:
    released = [ladder for ladder in ladders if ladder.pin is not None]
    if not released:
        raise Rejected("not pinned", "nothing to do: no ladder named here is pinned")
    for ladder in released:
        ladder.set_pin(None)
    service.decide(cause, "unpinned", now)
    service.judge_released(cause, now, released)


def _reset(service: Service, ladders: list[Ladder], adjustment: Adjustment, cause: Cause, now: int) -> None:
    steps = [ladder.start_over(now) for ladder in ladders]
    if adjustment.plan is None:
        service.decide(cause, "reset", now)
    else:
        service.decide(cause, "reset", now, ladders[0], steps[0])


KINDS = {"credit": _credit, "exempt": _exempt, "pin": _pin, "unpin": _unpin, "reset": _reset}
