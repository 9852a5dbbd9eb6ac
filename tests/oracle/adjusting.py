"""What operators do to a service: credit, exempt, pin, unpin, reset."""

from __future__ import annotations

from typing import Any

from tests.oracle.ladder import NEVER, Ladder
from tests.oracle.service import Refused, Service

Adjustment = dict[str, Any]


def adjust(service: Service, adjustment: Adjustment) -> None:
    """Acts at the service's time.  Each gives one decision of its kind, then the moves that follow from it."""
    now = adjustment["at"] if service.time is None else service.time
    named = adjustment["plan"]
    ladders = [ladder for ladder in service.ladders if named in (None, ladder.name)]
    if named is not None and not ladders:
        raise Refused("not a plan of the service")
    if adjustment["until"] is not None and adjustment["until"] <= now and adjustment["kind"] in ("exempt", "pin"):
        raise Refused("until is over")
    KINDS[adjustment["kind"]](service, ladders, adjustment, now)


def credit(service: Service, ladders: list[Ladder], adjustment: Adjustment, now: int) -> None:
    """More quota until the slice of the credit's own instant leaves the window."""
    if adjustment["bytes"] is None:
        raise Refused("a credit without bytes")
    with_quota = [ladder for ladder in ladders if any(each["quota"] is not None for each in ladder.plan["profiles"])]
    takers = [ladder for ladder in with_quota if ladder.credit_end(adjustment["at"]) > now]
    if not takers:
        raise Refused("a credit that raises nothing")
    for ladder in takers:
        ladder.credits.append((ladder.credit_end(adjustment["at"]), adjustment["bytes"]))
    service.decide("credit", now)
    for ladder in takers:
        if ladder.keeps and not ladder.resting and ladder.profile != ladder.first:
            judge_anew(service, ladder, now)


def judge_anew(service: Service, ladder: Ladder, now: int) -> None:
    """Where the bytes are kept: the profile in which they would leave a service that begins in the first one."""
    usage, target = ladder.usage(now, now), ladder.first
    while (down := ladder.step_down(usage, now, target)) is not None:
        target = down
    if target != ladder.profile:
        service.move(ladder, target, "credit", now, now, empty=False)


def exempt(service: Service, ladders: list[Ladder], adjustment: Adjustment, now: int) -> None:
    if adjustment["until"] is None:
        raise Refused("an exemption without until")
    for ladder in ladders:
        ladder.exempt_until = adjustment["until"]
    service.decide("exempt", now)


def pin(service: Service, ladders: list[Ladder], adjustment: Adjustment, now: int) -> None:
    if adjustment["plan"] is None or adjustment["profile"] is None:
        raise Refused("a pin without plan or profile")
    [ladder] = ladders
    if not ladder.has(adjustment["profile"]):
        raise Refused("not a profile of the plan")
    ladder.pin = (adjustment["profile"], NEVER if adjustment["until"] is None else adjustment["until"])
    service.decide("pin", now)


def unpin(service: Service, ladders: list[Ladder], adjustment: Adjustment, now: int) -> None:
    pinned = [ladder for ladder in ladders if ladder.pin is not None]
    if not pinned:
        raise Refused("not pinned")
    for ladder in pinned:
        ladder.end_rest(pin=True)
    service.decide("unpinned", now)
    service.judge_released(pinned, now)


def reset(service: Service, ladders: list[Ladder], adjustment: Adjustment, now: int) -> None:
    if adjustment["plan"] is not None:
        service.move(ladders[0], ladders[0].first, "reset", now, now, empty=True)
        return
    for ladder in ladders:
        ladder.enter(ladder.first, now, now)
        ladder.clip = now
    service.decide("reset", now)


KINDS = {"credit": credit, "exempt": exempt, "pin": pin, "unpin": unpin, "reset": reset}
