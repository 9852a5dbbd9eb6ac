"""What comes to a service, in plain sentences around an instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stream.core.coming import Coming, Forecast, Pace
from stream.core.forecast import forecast
from stream.core.speed import Speed
from stream.replica.model import Status
from stream.web.foretelling import rounded_down_text
from stream.web.pages.words import due_text
from stream.web.rendering import age_text


@dataclass(frozen=True, slots=True)
class Foretold:
    """`before` the instant `at`, `after`: one sentence."""

    before: str
    at: int
    after: str
    exact: bool


def foretold(status: Status) -> list[Foretold]:
    """What is certain first; nothing while its windows are being filled with numbers of the past."""
    if status.view.backfilling:
        return []
    coming = forecast(status.view, status.plans)
    return [*_exact(coming), *_estimates(coming)]


def _exact(told: Forecast) -> Iterator[Foretold]:
    several = len(told.plans) > 1
    opened = {(coming.plan, coming.at) for coming in told.exact if coming.kind == "up"}
    for coming in told.exact:
        if coming.kind == "stay" and (coming.plan, coming.at) in opened:
            continue  # the way up that it opens says it better
        before = f"{coming.plan}: {_what(coming, told.speed)}" if several else _what(coming, told.speed)
        limit = coming.below_bytes
        after = "" if limit is None else f" if less than {rounded_down_text(limit)} is used until then"
        yield Foretold(f"{before[:1].upper()}{before[1:]}" if not several else before, coming.at, f"{after}.", True)


def _estimates(told: Forecast) -> Iterator[Foretold]:
    certain = {(coming.plan, coming.at, coming.profile) for coming in told.exact if coming.below is None}
    paces = {plan.plan: plan.pace for plan in told.plans}
    for coming in told.estimates:
        if (coming.plan, coming.at, coming.profile) in certain:
            continue
        pace = _pace_text(paces[coming.plan])
        yield Foretold(f"At the pace of {pace}: {_move(coming, told.speed)}", coming.at, ".", False)


def _what(coming: Coming, now: Speed) -> str:
    """Up to the instant."""
    return {
        "up": f"back to {_move(coming, now)}",
        "down": f"down to {_move(coming, now)}",
        "stay": "the way up opens",
        "period": "a new period begins with nothing used",
        "credit_ends": "the credit ends",
        "exempt_ends": "the exemption ends",
        "pin_ends": "the pin ends",
    }[coming.kind]


def _move(coming: Coming, now: Speed) -> str:
    """Where a move leads: to a speed, or to a profile whose speed another plan keeps down."""
    return f"{coming.profile} (still {due_text(now)})" if coming.due == now else due_text(coming.due)


def _pace_text(pace: Pace | None) -> str:
    return "late" if pace is None else f"the last {age_text(pace.until - pace.since)}"
