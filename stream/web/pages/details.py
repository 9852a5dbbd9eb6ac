"""One service: what is due and why, how each plan stands, what the platform made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stream.config.units import rounded_size_text
from stream.core.enforced import Enforcement
from stream.core.plan import Plan, Profile
from stream.core.view import PlanView, ServiceView, is_slowed
from stream.replica.model import PlatformStatus, Status
from stream.web.pages.words import due_text, share_of, window_text, within_text
from stream.web.pictures import Labels, Line, shade, usage_bar, window_picture
from stream.web.rendering import limit_text


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCard:
    view: PlanView
    speed: str
    """Of what this plan makes due."""
    used: str
    percent: int | None
    within: str
    window: str
    bar: Markup
    picture: Markup | None
    """None where there is but a number: one slice, and nothing that it could reach."""
    most: int
    """The bytes of the fullest slice."""
    ways_up: Sequence[str]
    """What the way up asks for, best first."""
    below: str | None
    """Where the way down leads."""
    profiles: Sequence[str]
    decides: bool
    """Its speed is the one that is due."""


def plan_cards(status: Status, labels: Labels) -> list[PlanCard]:
    return [_card(status.view, view, status.plans.get(view.plan), labels) for view in status.view.plans]


def _card(service: ServiceView, view: PlanView, plan: Plan | None, labels: Labels) -> PlanCard:
    profiles = plan.profiles if plan else ()
    names = [profile.name for profile in profiles]
    here = profiles[names.index(view.profile)] if plan and view.profile in names else None
    place = names.index(view.profile) if view.profile in names else 0
    used = share_of(view.usage_bytes, view.quota_bytes, plan)
    lines = _lines(view, here, profiles)
    return PlanCard(
        view=view,
        speed=due_text(view.due),
        used=used,
        percent=None if not view.quota_bytes else 100 * view.usage_bytes // view.quota_bytes,
        within=within_text(plan.window) if plan else "",
        window=window_text(plan.window) if plan else "",
        bar=usage_bar(view.usage_bytes, view.quota_bytes, shade(place, len(names))),
        picture=window_picture(view.window, lines, labels, f"{view.plan}: {used}")
        if lines or len(view.window) > 1
        else None,
        most=max([part.bytes for part in view.window] + [1]),
        ways_up=_ways_up(here, profiles),
        below=None if here is None or here.down is None else profiles[here.down].name,
        profiles=names,
        decides=len(service.plans) > 1 and view.due == service.speed,
    )


def _lines(view: PlanView, here: Profile | None, profiles: Sequence[Profile]) -> list[Line]:
    """The quota, with credit, and the thresholds of the way up from here."""
    lines = []
    if view.quota_bytes is not None:
        credit = sum(credit.bytes for credit in view.credits)
        including = f" with {rounded_size_text(credit)} of credit" if credit else ""
        lines.append(Line(view.quota_bytes, f"quota {rounded_size_text(view.quota_bytes)}{including}", quota=True))
    if here is not None and here.up is not None:
        for limit, target in here.up.below:
            lines.append(Line(limit, f"below {rounded_size_text(limit)} back to {profiles[target].name}"))
    return lines


def _ways_up(here: Profile | None, profiles: Sequence[Profile]) -> list[str]:
    if here is None or here.up is None:
        return []
    ways = [f"{profiles[target].name} below {rounded_size_text(limit)}" for limit, target in here.up.below]
    if here.up.otherwise is not None:
        name = profiles[here.up.otherwise].name
        ways.append(f"else {name}" if ways else name)
    return ways


@dataclass(frozen=True, slots=True)
class Comparison:
    """The platform's own total beside ours."""

    start: int
    end: int
    ours: int
    theirs: int


def comparison_of(month: Mapping[str, Any] | None) -> Comparison | None:
    if month is None:
        return None
    ours, theirs = (month[f"{whose}_in"] + month[f"{whose}_out"] for whose in ("ours", "theirs"))
    return Comparison(month["start"], month["end"], ours, theirs)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between the speed that is due and the one that the service has."""

    tone: str
    text: str


def standing_of(status: Status, platform: PlatformStatus | None) -> Standing | None:
    """None while the platform shows what is due, as far as is known, or nobody enforces."""
    if platform is None:
        return None
    if platform.released:
        return Standing("warning", f"Not enforced: {platform.name} is released, it gets its original speed back.")
    if platform.shadow:
        return Standing("warning", "Not enforced: in shadow nothing is changed on a platform.")
    enforcement = status.enforcement
    intent = None if enforcement is None else enforcement.intent
    wanted = status.view.speed if enforcement is None else status.view.speed.least(enforcement.original)
    if intent is None or intent.wanted != wanted:
        held = platform.standing.get("braked")
        named = held is not None and status.view.service in held.some
        if platform.braked and (named or is_slowed(status.view, status.plans)):
            return Standing("failed", f"Not enforced yet: the brake of {platform.name} holds.")
        return None if intent is None else Standing("warning", "The platform was not asked for it yet.")
    return None if enforcement is None or enforcement.settled else _unsettled(enforcement)


def _unsettled(enforcement: Enforcement) -> Standing:
    last = enforcement.receipts[-1] if enforcement.receipts else None
    if last is None or last.result == "applied":
        return Standing("warning", "The platform was asked for it, and does not show it yet.")
    shown = "" if last.shown is None else f", and shows {limit_text(last.shown)}"
    return Standing("failed", f"The platform did not take it{shown}.")


def enforcement_tone(enforcement: Enforcement) -> str:
    """How the platform stands to what it was asked for."""
    if enforcement.intent is None or enforcement.settled:
        return "good"
    failed = bool(enforcement.receipts) and enforcement.receipts[-1].result != "applied"
    return "failed" if failed else "warning"
