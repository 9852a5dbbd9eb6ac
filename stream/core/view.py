"""What one can ask of a tracker about one service: everything that has a meaning, nothing of how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from stream.core.counting import Anchor
from stream.core.ladder import Credit, Ladder
from stream.core.model import Slice
from stream.core.plan import Plan
from stream.core.service import Service
from stream.core.speed import ORIGINAL, Speed


@dataclass(frozen=True, slots=True)
class Ledger:
    """Hundredths of a byte; accepted = counted + late + clipped."""

    accepted: int
    counted: int
    late: int
    clipped: int


@dataclass(frozen=True, slots=True)
class PlanView:
    """One plan of a service, as of the service's time."""

    plan: str
    profile: str
    speed: Speed
    """Of the profile."""
    due: Speed
    """What this plan makes due: the profile's speed, or a pin's, or `original` while exempt."""
    entered_at: int
    stay_until: int | None
    """When the way up opens; None where there is none."""
    next_up: int | None
    """When the way up is judged next; None without one, or at rest."""
    usage_bytes: int
    quota_bytes: int | None
    """With credit."""
    window: tuple[Slice, ...]
    """Oldest first, in whole bytes."""
    amounts: tuple[int, ...]
    """The same sums in hundredths of a byte."""
    warned: bool
    since: int | None
    """When the plan came to the running service: nothing before it counts."""
    counted_from: int | None
    """Nothing before it is in the window: the last reset, or `since`; None if there was neither."""
    credits: tuple[Credit, ...]
    exempt_until: int | None
    pinned: str | None
    pinned_until: int | None
    """None with a pin: until unpinned."""
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class ServiceView:
    service: str
    incarnation: int
    revision: int
    source: str
    labels: Mapping[str, str]
    quota: int | None
    anchor_day: int | None
    time: int | None
    """The service's time: None before its first delta or watermark."""
    speed: Speed
    """Due, over all plans and adjustments."""
    plans: tuple[PlanView, ...]
    current: Anchor | None
    previous: Anchor | None
    accepted_in: int
    accepted_out: int
    stale_in: int
    stale_out: int
    backfilling: bool

    def to_json(self) -> dict[str, Any]:
        """The canonical export: equal for equal states, however they came about and were stored."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counted:
    """How far a service is counted, as its collector asks for it."""

    service: str
    source: str
    plans: tuple[str, ...]
    current: Anchor | None
    previous: Anchor | None
    quota: int | None
    anchor_day: int | None
    labels: Mapping[str, str]
    backfilling: bool
    """Its last delta carried the mark `backfill`."""


def is_slowed(view: ServiceView, plans: Mapping[str, Plan]) -> bool:
    """Whether it is due less than where its plans begin.  `plans`: those in force, by name."""
    first = reduce(Speed.least, (plans[plan.plan].profiles[0].speed for plan in view.plans), ORIGINAL)
    return view.speed.least(first) != first


def view_of(service: Service) -> ServiceView:
    plans = tuple(_plan_view(service, ladder) for ladder in service.ladders)
    return ServiceView(
        service.name,
        service.incarnation,
        service.revision,
        service.source,
        dict(service.labels),
        service.quota,
        service.anchor_day,
        service.time,
        service.speed,
        plans,
        service.current,
        service.previous,
        service.accepted_in,
        service.accepted_out,
        service.stale_in,
        service.stale_out,
        service.backfilling,
    )


def _plan_view(service: Service, ladder: Ladder) -> PlanView:
    as_of = ladder.entered_at if service.time is None else service.time
    accepted = ladder.accepted(service.accepted_in, service.accepted_out)
    amounts = tuple(value for _, _, value in ladder.amounts_at(as_of))
    begun_at = ladder.clip if ladder.clip >= 0 else None
    return PlanView(
        plan=ladder.plan.name,
        profile=ladder.here.name,
        speed=ladder.here.speed,
        due=ladder.due,
        entered_at=ladder.entered_at,
        stay_until=ladder.stay_end(),
        next_up=ladder.next_up,
        usage_bytes=sum(amounts) // 100,
        quota_bytes=ladder.quota_at(as_of),
        window=ladder.window_at(as_of),
        amounts=amounts,
        warned=ladder.warned and not ladder.rolled_over(as_of),
        since=ladder.since,
        counted_from=begun_at,
        credits=tuple(ladder.credits),
        exempt_until=ladder.exempt_until,
        pinned=ladder.pin and ladder.plan.profiles[ladder.pin.profile].name,
        pinned_until=ladder.pin and ladder.pin.until,
        ledger=Ledger(accepted, accepted - ladder.late - ladder.clipped, ladder.late, ladder.clipped),
    )
