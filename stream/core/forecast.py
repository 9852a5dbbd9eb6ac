"""The forecast of a service, from nothing but its own state: what comes exactly, and what comes at its present pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from stream.core.coming import Coming, ComingKind, Forecast, Pace, PlanForecast
from stream.core.ladder import LONG_AGO, Ladder, Pin
from stream.core.pacing import at_pace, pace_of
from stream.core.plan import CalendarWindow, Plan
from stream.core.promising import ENDLESS, may_still_use, promises
from stream.core.speed import ORIGINAL, Speed
from stream.core.view import PlanView, ServiceView


def forecast(view: ServiceView, plans: Mapping[str, Plan]) -> Forecast:
    """`plans`: those of the service, by name, as in force.

    Works a few milliseconds at most: it is bounded by the number of slices.
    """
    begun = max((plan.entered_at for plan in view.plans), default=0)
    now = begun if view.time is None else view.time
    told: tuple[PlanForecast, ...] = ()
    if not view.backfilling:
        ladders = [ladder_of(view, plan, plans[plan.plan]) for plan in view.plans]
        told = tuple(_Foretold.of(ladder, ladders, now).told() for ladder in ladders)
    return Forecast(view.service, now, view.speed, told)


def ladder_of(view: ServiceView, told: PlanView, plan: Plan) -> Ladder:
    """A ladder as the tracker has it, but for its ledger."""
    slicer, count = plan.slicer(view.anchor_day), plan.slices
    number, pinned = plan.profile_number(told.profile), told.pinned and plan.profile_number(told.pinned)
    assert number is not None, f"{view.service}: {plan.name} has no profile {told.profile}"
    assert len(told.amounts) == count, f"{view.service}: {plan.name} has another window"
    as_of = told.entered_at if view.time is None else view.time
    newest = max(slicer.ordinal(as_of), slicer.ordinal(told.window[-1].start))
    slices = [0] * count
    for back, amount in enumerate(reversed(told.amounts)):
        slices[(newest - back) % count] = amount
    clip = LONG_AGO if told.counted_from is None else told.counted_from
    ladder = Ladder(plan, slicer, view.quota, told.entered_at, number, since=told.since, clip=clip, slices=slices)
    ladder.head, ladder.warned, ladder.next_up = newest, told.warned, told.next_up
    ladder.credits, ladder.exempt_until = list(told.credits), told.exempt_until
    ladder.pin = Pin(pinned, told.pinned_until) if isinstance(pinned, int) else None
    ladder.entered_as_of_before = ladder.stay_end() != told.stay_until
    return ladder


@dataclass(frozen=True, slots=True)
class _Foretold:
    """One plan's part."""

    ladder: Ladder
    now: int
    others: Speed
    """Due by the service's other plans."""

    @classmethod
    def of(cls, ladder: Ladder, ladders: Sequence[Ladder], now: int) -> _Foretold:
        return cls(ladder, now, reduce(Speed.least, [each.due for each in ladders if each is not ladder], ORIGINAL))

    def told(self) -> PlanForecast:
        pace = pace_of(self.ladder, self.now)
        exact = sorted(self._exact(), key=lambda each: (each.at, each.kind in ("up", "down")))
        estimate = None if pace is None else self._estimate(pace)
        return PlanForecast(self.ladder.plan.name, tuple(exact), pace, estimate)

    def _exact(self) -> Iterator[Coming]:
        yield from self._rests()
        ladder, now = self.ladder, self.now
        for expires_at in sorted({credit.expires_at for credit in ladder.credits}):
            yield self._coming("credit_ends", max(now, expires_at))
        if isinstance(ladder.plan.window, CalendarWindow) and ladder.plan.slices == 1:
            yield self._coming("period", ladder.edge_after(now))
        moves = promises(ladder, now)
        stay_end = None if ladder.resting else ladder.stay_end()
        falls = any(move.kind == "down" and move.at < (stay_end or now) for move in moves)
        if stay_end is not None and stay_end > now and not falls:
            shaken = (credit.expires_at for credit in ladder.credits if credit.expires_at < stay_end)
            yield self._coming("stay", stay_end, below=min(may_still_use(ladder, at) for at in (now, *shaken)))
        for kind, at, number, below in moves:
            yield self._coming(kind, at, number, below=below)

    def _rests(self) -> Iterator[Coming]:
        """Pin and exemption; the pin wins while both hold."""
        ladder, now = self.ladder, self.now
        here, exempt, pin = ladder.here.speed, ladder.exempt_until, ladder.pin
        if pin is not None and pin.until is not None:
            still = exempt is not None and exempt > pin.until
            yield self._coming("pin_ends", max(now, pin.until), speed=ORIGINAL if still else here)
        if exempt is not None:
            pinned = pin is not None and (pin.until is None or pin.until > exempt)
            yield self._coming("exempt_ends", max(now, exempt), speed=ladder.due if pinned else here)

    def _estimate(self, pace: Pace) -> Coming | None:
        move = at_pace(self.ladder, self.now, pace)
        if move is None or move.to is None:
            return None
        number = self.ladder.plan.profile_number(move.to)
        return self._coming("up" if move.reason in ("stay_over", "period") else "down", move.at, number, exact=False)

    def _coming(
        self,
        kind: ComingKind,
        at: int,
        number: int | None = None,
        *,
        speed: Speed | None = None,
        exact: bool = True,
        below: int = ENDLESS,
    ) -> Coming:
        """`number`: of the profile that it leads to."""
        ladder = self.ladder
        profile = ladder.here if number is None else ladder.plan.profiles[number]
        speed = speed or (ladder.due if number is None else profile.speed)
        return Coming(
            plan=ladder.plan.name,
            kind=kind,
            at=at,
            profile=profile.name,
            speed=speed,
            due=speed.least(self.others),
            exact=exact,
            below=None if below == ENDLESS else below,
        )
