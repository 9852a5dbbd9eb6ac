"""What happened and why, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup, escape

from stream.config.units import duration_text, plural, rounded_size_text, size_text, speed_text
from stream.core.plan import CalendarWindow, Plan, Window
from stream.core.speed import Speed
from stream.replica import problems

_LENGTHS: Final = {
    3_600_000: "the hour",
    86_400_000: "a day",
    7 * 86_400_000: "a week",
}
TROUBLES: Final = {
    "braked": ("waits for the brake to let it be slowed", "wait for the brake to let them be slowed"),
    "unreturned": ("has not got its original speed back yet", "have not got their original speed back yet"),
} | problems.TROUBLES
"""What waits for somebody on a platform: how "1 service" and "3 services" go on."""

PLACES: Final = {
    "dead-letters": ("/dead-letters", "Dead letters"),
    "refused-adjustments": ("/dead-letters", "Dead letters"),
    "brake": ("/platforms", "To the brake"),
    "released": ("/platforms", "Platforms"),
    "unreturned": ("/platforms", "Platforms"),
    "stale-source": ("/platforms#sources", "Sources"),
    "plans-differ": ("/platforms#plans", "Plans in force"),
    "plans-of-configuration": ("/platforms#plans", "Plans in force"),
} | dict.fromkeys(problems.TROUBLES, ("/platforms", "Platforms"))
"""Where to look at a problem, by the first part of its id."""

DOWN: Final = frozenset({"exceeded", "reached"})
UP: Final = frozenset({"stay_over", "period"})


def speed_of(document: Mapping[str, int | None]) -> Speed:
    return Speed(document["in"], document["out"])


def share_of(usage: int, quota: int | None, plan: Plan | None) -> str:
    """ "1.2 GiB of 1000 MiB were used within the hour" """
    within = f" {within_text(plan.window)}" if plan else ""
    if quota is None:
        return f"{rounded_size_text(usage)} were used{within}"
    return f"{rounded_size_text(usage)} of {rounded_size_text(quota)} were used{within}"


def within_text(window: Window) -> str:
    """Over which time a window sums, as the end of a sentence."""
    if isinstance(window, CalendarWindow):
        if window.slices == 1:
            return "today" if window.unit == "day" else f"this {window.unit}"
        return f"within {window.slices} {window.unit}s"
    length = window.slice_ms * window.slices
    return f"within {_LENGTHS.get(length) or duration_text(length)}"


def window_text(window: Window) -> str:
    """What a window is made of: "6 slices of 10m", "1 month (Europe/Berlin)"."""
    if isinstance(window, CalendarWindow):
        unit = window.unit if window.slices == 1 else f"{window.unit}s"
        return f"{window.slices} {unit}, {window.timezone}"
    slices = f"{window.slices} {plural(window.slices, 'slice')}"
    return f"{slices} of {duration_text(window.slice_ms)}"


def because(decision: Mapping[str, Any], plan: Plan | None) -> str:
    """Why something was decided: what stands after "because", without a full stop."""
    usage, quota = decision["usage_bytes"], decision["quota_bytes"]
    used = share_of(usage, quota, plan) if usage is not None else ""
    if decision.get("adjustment") is not None:
        return _corrected(decision["adjustment"])
    return {
        "registered": "the service was registered",
        "exceeded": used,
        "reached": used,
        "stay_over": f"the stay in {decision['from']} was over and {used}",
        "period": "the period was over",
        "resumed": "the exemption or the pin had ended",
        "plans_changed": "the plans were changed",
        "deregistered": "the service was deregistered",
        "credit": "a credit was given or had ended",
        "exempt": "an exemption was given",
        "pin": "the plan was pinned",
        "unpinned": "the pin was removed",
        "reset": "the window was emptied",
    }.get(str(decision["reason"]), str(decision["reason"]))


def _corrected(adjustment: Mapping[str, Any]) -> str:
    given = {
        "credit": f"a credit of {size_text(adjustment['bytes'])} was given" if adjustment.get("bytes") else "credit",
        "exempt": "it was exempted",
        "pin": f"it was pinned to {adjustment.get('profile')}",
        "unpin": "its pin was removed",
        "reset": "it was reset",
    }.get(str(adjustment.get("kind")), "it was corrected")
    plan = f" in {adjustment['plan']}" if adjustment.get("plan") else ""
    by = f" by {adjustment['by']}" if adjustment.get("by") else ""
    why = f" ({adjustment['why']})" if adjustment.get("why") else ""
    return f"{given}{plan}{by}{why}"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def move_text(decision: Mapping[str, Any]) -> str:
    """What a decision did, in short."""
    if decision["plan"] is None:
        return {"registered": "Registered", "deregistered": "Deregistered"}.get(
            str(decision["reason"]), str(decision["reason"]).replace("_", " ").capitalize()
        )
    if decision["from"] == decision["to"]:
        return f"{decision['plan']}: stays in {decision['to']}"
    return f"{decision['plan']}: {decision['from']} → {decision['to']}"


def length_text(length_ms: int) -> str:
    """How long a slice is, to read: "10 min", "1 day", "31 days"."""
    for unit, name in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute")):
        if length_ms >= unit:
            number = round(length_ms / unit, 1)
            return f"{number:g} {name}{'' if number == 1 else 's'}"
    return f"{length_ms / 1000:g} s"


def with_code(text: str) -> Markup:
    """What stands between backticks, as code."""
    plain = str(escape(text)).split("`")
    return Markup("").join(Markup(f"<code>{part}</code>" if place % 2 else part) for place, part in enumerate(plain))


def due_text(speed: Speed) -> str:
    return "original speed" if speed == Speed(None, None) else speed_text(speed)
