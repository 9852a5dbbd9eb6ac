"""What a forecast says: what comes to a service by itself, exactly or at its present pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream.core.speed import Speed

ComingKind: TypeAlias = Literal["up", "down", "stay", "period", "credit_ends", "exempt_ends", "pin_ends"]
"""`stay`: the way up opens; `period`: a calendar window begins anew, with nothing used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """One thing that comes.  All of them presume that nobody intervenes: no adjustment, no other plans.

    Exact: it happens when the service's time reaches `at`, provided that from the forecast's instant until then less
    than `below` is counted (None: in any case); of several ways up at one instant, the first whose `below` holds.
    """

    plan: str
    kind: ComingKind
    at: int
    profile: str
    """That the plan is in then: of a move the one it leads to, else the present one."""
    speed: Speed
    """That the plan makes due then."""
    due: Speed
    """The speed of the service then, if its other plans stay as they are."""
    exact: bool
    """Else an estimate: it happens if what comes is like the forecast's pace."""
    below: int | None = None
    """Hundredths of a byte, as the plan weighs bytes."""

    @property
    def below_bytes(self) -> int | None:
        """`below` in bytes: fewer than these may be counted."""
        return None if self.below is None else -(-self.below // 100)


@dataclass(frozen=True, slots=True)
class Pace:
    """What was counted of late."""

    since: int
    until: int
    amount: int
    """Hundredths of a byte in `[since, until)`."""

    def over(self, duration_ms: int) -> int:
        """So much in another time of that length."""
        return self.amount * duration_ms // (self.until - self.since)


@dataclass(frozen=True, slots=True)
class PlanForecast:
    plan: str
    exact: tuple[Coming, ...]
    """By instant; at one instant by how little may be used."""
    pace: Pace | None
    """None while too little is known."""
    estimate: Coming | None
    """The next move at that pace; None if it leads to none."""


@dataclass(frozen=True, slots=True)
class Forecast:
    service: str
    as_of: int
    """The service's time."""
    speed: Speed
    """Due now, over all plans and adjustments."""
    plans: tuple[PlanForecast, ...]
    """In the service's order; none while it is filled with numbers of the past."""

    @property
    def exact(self) -> list[Coming]:
        """What comes to all plans together, in order."""
        return sorted((each for plan in self.plans for each in plan.exact), key=lambda each: each.at)

    @property
    def estimates(self) -> list[Coming]:
        return sorted((each.estimate for each in self.plans if each.estimate), key=lambda each: each.at)
