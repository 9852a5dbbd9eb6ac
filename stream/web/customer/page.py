"""One service as its customer sees it: every text ready, nothing of anybody else in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from stream.core.coming import Forecast
from stream.core.plan import CalendarWindow, Plan
from stream.core.speed import Speed
from stream.core.view import PlanView, ServiceView
from stream.replica.model import Entry, PlatformStatus, Status
from stream.web.customer.language import Calendar
from stream.web.customer.words import DAY_MS, coming_texts, counts_text, happened_text, speed_of, why_text, window_text
from stream.web.in_force import is_slowed, other_speed, wanted_of
from stream.web.pictures import Span, history_band, shades_of, usage_bar

MOST_LINES: Final = 50
"""Of the history's list."""

BAND_DAYS: Final = (1, 7, 31)
"""How much the picture shows: the shortest of these that shows some changes."""

FEW: Final = 5


@dataclass(frozen=True, slots=True)
class Usage:
    """One plan: what is used of how much, over which time."""

    used: Markup
    left: Markup | None
    bar: Markup
    counts: str


@dataclass(frozen=True, slots=True)
class Line:
    """One change, or one warning."""

    at: Markup
    what: Markup
    speed: str
    """That was due from then on; empty for a warning."""


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    speed: str
    slowed: bool
    why: Sequence[Markup]
    notices: Sequence[Markup]
    usages: Sequence[Usage]
    coming: Sequence[tuple[Markup, bool]]
    band: Markup | None
    lines: Sequence[Line]
    counted: Markup


def page_of(
    status: Status,
    platform: PlatformStatus | None,
    entries: Sequence[Entry],
    forecast: Forecast | None,
    calendar: Calendar,
    *,
    shadow: bool,
) -> Page:
    """`platform`: the service's; `entries` are the service's, newest first; those of an earlier service of that id are
    left out."""
    view, plans = status.view, status.plans
    told = (one for one in entries if one.incarnation == view.incarnation and one.kind != "enforcement")
    own = list(_in_order(told))
    other = other_speed(status, platform)
    is_released = platform is not None and platform.released
    has = wanted_of(status) if other is None else other
    speed = calendar.language.speed(has)
    return Page(
        title=title_of(view),
        speed=speed[:1].upper() + speed[1:],
        slowed=is_slowed(status, has),
        why=() if is_released or other is not None else _why(calendar, status, own),
        notices=tuple(_notices(calendar, status, is_other=other is not None, is_released=is_released, shadow=shadow)),
        usages=[_usage(calendar, plan, plans[plan.plan]) for plan in view.plans],
        coming=() if forecast is None or is_released else tuple(coming_texts(calendar, forecast)),
        band=None if is_released else _band(calendar, own, plans),
        lines=[_line(calendar, entry, plans) for entry in own[:MOST_LINES]],
        counted=_counted(calendar, view),
    )


def _in_order(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Newest first, and none later than the one before it: what numbers of the past brought about lies before the
    registration that made them count, and time runs one way for who reads it."""
    latest: int | None = None
    for entry in entries:
        latest = entry.at if latest is None else min(latest, entry.at)
        yield replace(entry, at=latest)


def title_of(view: ServiceView) -> str:
    """Its name, or else its id without the platform, which is the provider's own affair."""
    return view.labels.get("name", "").strip() or view.service.partition("/")[2]


def zone_of(status: Status, otherwise: tzinfo) -> tzinfo:
    """That in which its months or days are counted, if they are: then a period ends at midnight."""
    for plan in status.plans.values():
        if isinstance(plan.window, CalendarWindow):
            return ZoneInfo(plan.window.timezone)
    return otherwise


def _why(calendar: Calendar, status: Status, entries: Sequence[Entry]) -> Sequence[Markup]:
    """Of each plan that is not where it began; of none of them if all are."""
    texts = [why_text(calendar, plan, status.plans[plan.plan], entries) for plan in status.view.plans]
    if not texts:
        return [calendar.language.text("No limit applies to this service.")]
    at_rest = calendar.language.text("You are within your allowance.")
    return list(dict.fromkeys(text for text in texts if text != at_rest)) or [at_rest]


def _notices(
    calendar: Calendar, status: Status, *, is_other: bool, is_released: bool, shadow: bool
) -> Iterator[Markup]:
    text = calendar.language.text
    if shadow:
        yield text("This is a trial: the speed is calculated, and not changed.")
    elif is_released:
        yield text("Your provider does not limit speeds at present.")
    elif is_other:
        yield text("It will be {speed}; that is not set yet.", speed=calendar.language.speed(wanted_of(status)))
    if status.view.backfilling:
        yield text("Earlier traffic is still being added.")


def _usage(calendar: Calendar, view: PlanView, plan: Plan) -> Usage:
    text, window = calendar.language.text, window_text(calendar.language, plan.window)
    used = {"used": calendar.size(view.usage_bytes), "window": window}
    counts = counts_text(calendar.language, plan)
    if view.quota_bytes is None:
        return Usage(text("{used} used {window}; no limit at this speed", **used), None, usage_bar(0, None), counts)
    left = calendar.language.size_at_least(max(0, view.quota_bytes - view.usage_bytes))
    return Usage(
        text("{used} of {allowed} used {window}", allowed=calendar.size(view.quota_bytes), **used),
        text("{left} left", left=left),
        usage_bar(view.usage_bytes, view.quota_bytes),
        counts,
    )


def _counted(calendar: Calendar, view: ServiceView) -> Markup:
    if view.time is None:
        return calendar.language.text("Nothing was counted yet.")
    return calendar.language.text("Counted until {when}.", when=calendar.alone(view.time))


def _line(calendar: Calendar, entry: Entry, plans: Mapping[str, Plan]) -> Line:
    speed = calendar.language.speed(speed_of(entry.document)) if entry.kind == "decision" else ""
    return Line(calendar.alone(entry.at), happened_text(calendar, entry, plans), speed)


def _band(calendar: Calendar, entries: Sequence[Entry], plans: Mapping[str, Plan]) -> Markup | None:
    """The speeds of the last days; None without a change to show."""
    decisions = [entry for entry in reversed(entries) if entry.kind == "decision"]
    if not decisions:
        return None
    until = calendar.now
    days = next((days for days in BAND_DAYS if _changes(decisions, until - days * DAY_MS) >= FEW), BAND_DAYS[-1])
    since = max(until - days * DAY_MS, decisions[0].at)
    speeds = sorted({speed_of(entry.document) for entry in decisions}, key=_slowness)
    shades = shades_of(plans.values())
    spans: list[Span] = []
    for entry, after in zip(decisions, [*decisions[1:], None], strict=True):
        end, speed = until if after is None else after.at, speed_of(entry.document)
        if end > max(since, entry.at):
            start = spans.pop().start if spans and spans[-1].rank == speeds.index(speed) else max(since, entry.at)
            spans.append(replace(_span(calendar, start, end, speeds.index(speed), speed), shade=shades.get(speed)))
    if not spans:
        return None
    return history_band(spans, since, until, calendar, calendar.language.text("Speeds so far"))


def _changes(decisions: Sequence[Entry], since: int) -> int:
    return sum(entry.at >= since for entry in decisions)


def _span(calendar: Calendar, start: int, end: int, rank: int, speed: Speed) -> Span:
    name = calendar.language.speed(speed)
    return Span(
        start, end, rank, name, f"{name}, {calendar.instant(start, 'minute')} – {calendar.instant(end, 'minute')}"
    )


def _slowness(speed: Speed) -> tuple[float, float]:
    fast = float("inf")
    ways = [fast if way is None else float(way) for way in speed]
    return -min(ways), -max(ways)
