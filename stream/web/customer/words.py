"""What a customer reads: how much, how fast, why, and what comes.  Of operators only that it was "your provider"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from stream.core.coming import Coming, Forecast
from stream.core.plan import CalendarWindow, Plan, SlidingWindow, Window
from stream.core.speed import Speed
from stream.core.view import PlanView
from stream.replica.model import Entry
from stream.web.customer.language import Calendar, Language, marked

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


def window_text(language: Language, window: Window) -> str:
    """Over which time usage is summed, as the end of a sentence."""
    if isinstance(window, SlidingWindow):
        return _sliding(language, window.slice_ms * window.slices)
    return _period(language, window) if window.slices == 1 else _periods(language, window)


def _sliding(language: Language, length_ms: int) -> str:
    if length_ms % DAY_MS == 0 and length_ms > DAY_MS:
        return language.plural("in the last {n} day", "in the last {n} days", length_ms // DAY_MS)
    if length_ms == HOUR_MS:
        return language.text("in the last hour")
    if length_ms % HOUR_MS == 0:
        return language.plural("in the last {n} hour", "in the last {n} hours", length_ms // HOUR_MS)
    return language.plural("in the last {n} minute", "in the last {n} minutes", -(-length_ms // MINUTE_MS))


def _period(language: Language, window: CalendarWindow) -> str:
    match window.unit:
        case "hour":
            return language.text("this hour")
        case "day":
            return language.text("today")
        case "week":
            return language.text("this week")
        case "month":
            return language.text("this month")


def _periods(language: Language, window: CalendarWindow) -> str:
    match window.unit:
        case "hour":
            return language.plural("in the last {n} hour", "in the last {n} hours", window.slices)
        case "day":
            return language.plural("in the last {n} day", "in the last {n} days", window.slices)
        case "week":
            return language.plural("in the last {n} week", "in the last {n} weeks", window.slices)
        case "month":
            return language.plural("in the last {n} month", "in the last {n} months", window.slices)


def counts_text(language: Language, plan: Plan) -> str:
    """Which traffic counts."""
    if plan.weight_in == plan.weight_out == 100:
        return language.text("Incoming and outgoing traffic count.")
    if plan.weight_out == 0 and plan.weight_in == 100:
        return language.text("Incoming traffic alone counts.")
    if plan.weight_in == 0 and plan.weight_out == 100:
        return language.text("Outgoing traffic alone counts.")
    ways = {"percent_in": language.percent(plan.weight_in), "percent_out": language.percent(plan.weight_out)}
    return language.text("Incoming traffic counts with {percent_in}, outgoing with {percent_out}.", **ways)


def why_text(calendar: Calendar, view: PlanView, plan: Plan, entries: Sequence[Entry]) -> Markup:
    """Why a plan makes due what it does.  `entries` are the service's, newest first."""
    text = calendar.language.text
    if view.pinned is not None:
        if view.pinned_until is None:
            return text("Your provider has set this speed.")
        return text("Your provider has set this speed; that ends {when}.", when=calendar.at(view.pinned_until))
    if view.exempt_until is not None:
        return text("Your provider has lifted the limit; that ends {when}.", when=calendar.at(view.exempt_until))
    if view.profile == plan.profiles[0].name:
        return text("You are within your allowance.")
    entered = next((one for one in entries if _enters(one, view)), None)
    if entered is not None and entered.document["reason"] in ("exceeded", "reached"):
        return text(
            "The speed was lowered {when}, because you used more than your allowance.", when=calendar.at(entered.at)
        )
    return text("The speed is still lowered, because you used more than your allowance.")


def _enters(entry: Entry, view: PlanView) -> bool:
    document = entry.document
    moved = entry.kind == "decision" and document["plan"] == view.plan and document["from"] != document["to"]
    return moved and document["to"] == view.profile


# ---------------------------------------------------------------- what comes


COMING: Final = {
    "up": marked("Back to {speed} {when}."),
    "down": marked("Down to {speed} {when}."),
    "period": marked("Usage is counted from zero again {when}."),
    "credit_ends": marked("The extra allowance from your provider ends {when}."),
    "exempt_ends": marked("The limit applies again {when}."),
    "pin_ends": marked("The speed set by your provider ends {when}."),
}
"""That a stay ends (`stay`) changes nothing for a customer: the way up that it opens is told."""


def coming_texts(calendar: Calendar, forecast: Forecast) -> Iterator[tuple[Markup, bool]]:
    """Sentences, what is certain first, each with whether it is.  An estimate that a certain move will come adds
    nothing to it."""
    for coming in forecast.exact:
        if coming.kind in COMING:
            yield _exact(calendar, coming), True
    certain = {(coming.plan, coming.at, coming.profile) for coming in forecast.exact}
    for coming in forecast.estimates:
        if (coming.plan, coming.at, coming.profile) not in certain:
            speed, when = calendar.language.speed(coming.due), calendar.at(coming.at)
            yield calendar.language.text("If you go on as now: {speed} {when}.", speed=speed, when=when), False


def _exact(calendar: Calendar, coming: Coming) -> Markup:
    text, speed, when = calendar.language.text, calendar.language.speed(coming.due), calendar.at(coming.at)
    if coming.below_bytes is None:
        return text(COMING[coming.kind], speed=speed, when=when)
    size = calendar.language.size_at_least(coming.below_bytes)
    if coming.kind == "up":
        return text(
            "Back to {speed} {when}, if you use less than {size} until then.", speed=speed, when=when, size=size
        )
    told = text(COMING[coming.kind], speed=speed, when=when)
    return Markup("{} {}").format(told, text("That holds if you use less than {size} until then.", size=size))


# ---------------------------------------------------------------- what was


def happened_text(calendar: Calendar, entry: Entry, plans: Mapping[str, Plan]) -> Markup:
    """One line of the history."""
    document = entry.document
    if entry.kind == "warning":
        percent = calendar.language.percent(document["percent"])
        return calendar.language.text("{percent} of the allowance used", percent=percent)
    reason, text = document["reason"], calendar.language.text
    if reason in ("exceeded", "reached"):
        return _exceeded(calendar, document, plans.get(document["plan"]))
    if reason == "credit" and (document.get("adjustment") or {}).get("bytes"):
        size = calendar.size(document["adjustment"]["bytes"])
        return text("Your provider added {size} to your allowance", size=size)
    return text(HAPPENED.get(reason, HAPPENED["plans_changed"]))


def _exceeded(calendar: Calendar, document: Mapping[str, Any], plan: Plan | None) -> Markup:
    text = calendar.language.text
    if document["usage_bytes"] is None or document["quota_bytes"] is None or plan is None:
        return text("More used than allowed")
    return text(
        "{used} used {window}, {allowed} allowed",
        used=calendar.size(document["usage_bytes"]),
        window=window_text(calendar.language, plan.window),
        allowed=calendar.size(document["quota_bytes"]),
    )


HAPPENED: Final = {
    "registered": marked("Start"),
    "stay_over": marked("Little enough was used"),
    "period": marked("A new period began"),
    "credit": marked("Your provider raised your allowance"),
    "exempt": marked("Your provider lifted the limit"),
    "pin": marked("Your provider set the speed"),
    "unpinned": marked("Your provider ended the set speed"),
    "resumed": marked("An exception by your provider ended"),
    "reset": marked("Your provider set the usage to zero"),
    "plans_changed": marked("The rules changed"),
    "deregistered": marked("The service ended"),
}


def speed_of(document: Mapping[str, Any]) -> Speed:
    """Due after a decision, over everything."""
    return Speed(document["speed"]["in"], document["speed"]["out"])
