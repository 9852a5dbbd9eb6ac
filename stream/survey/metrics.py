"""What the measurements of a platform's metrics come to, in findings and settings."""

from __future__ import annotations

from itertools import chain
from zoneinfo import ZoneInfo

from stream.config.platforms import Vmmanager
from stream.config.units import duration_text
from stream.survey.findings import PlatformReport
from stream.survey.measuring import FARTHEST_MS, Measuring
from stream.survey.points import DAY_MS, HOUR_MS, MINUTE_MS, Stamp, gaps, grows, lag_of, youngest_ms
from stream.survey.zones import offset_at, offset_text

SLACK_MS = 2_000
"""What clocks and replies may be late by without a meaning."""
NO_NUMBERS = "no machine that was asked has numbers of the last day; start one, give it traffic, and check again"


def tell(measuring: Measuring, settings: Vmmanager, report: PlatformReport) -> Stamp:
    """Add everything that was measured.  Returns what stamps mean, as far as is known."""
    if not measuring.sampled:
        for topic in ("timezone", "sampling", "stamp", "lag", "keeps"):
            report.add(topic, "unknown", "the metrics cannot be read" if measuring.failures else NO_NUMBERS)
        return settings.stamp
    _tell_zone(measuring, settings, report)
    if measuring.step_ms is None:
        words = "the points lie on no grid that divides an hour, or there are too few of them"
        report.add("sampling", "unknown", f"{words}; look at a machine's graph on the platform")
        return settings.stamp
    _tell_step(measuring.step_ms, settings, report)
    stamp = _tell_stamp(measuring, measuring.step_ms, settings, report)
    _tell_lag(measuring, measuring.step_ms, stamp, settings, report)
    _tell_gaps(measuring, settings, report)
    _tell_keeps(measuring, measuring.step_ms, stamp, settings, report)
    return stamp


def _tell_zone(measuring: Measuring, settings: Vmmanager, report: PlatformReport) -> None:
    configured, seen = str(settings.timezone), measuring.offsets
    if not seen:
        words = "the range that comes back is not the one that was asked for: too few numbers are kept"
        report.add("timezone", "unknown", f"{words}; run `date` on the platform's server and compare with {configured}")
        return
    now = measuring.now()
    offset = offset_at(ZoneInfo(measuring.zone), now) if measuring.zones else seen[max(seen)]
    half = "" if len(seen) > 1 else "; whether that holds all year cannot be seen, its numbers do not go back that far"
    if measuring.zones == [configured]:
        report.add("timezone", "ok", f"{configured}, as configured ({offset_text(offset)} now){half}", offset)
        return
    earlier = " and ".join(offset_text(each) for each in dict.fromkeys(seen.values()) if each != offset)
    words = f"the platform reads times in {offset_text(offset)} now{f', in {earlier} earlier' if earlier else ''}"
    words += f"; {configured} is {offset_text(offset_at(settings.timezone, now))} now"
    if not measuring.zones:
        report.add("timezone", "change", f"{words}; no zone is known that fits", offset)
        return
    first, *others = measuring.zones[:4] if measuring.zones[0] != "UTC" else ["UTC"]
    report.settings["timezone"] = first + (f"   # or another one that fits: {', '.join(others)}" if others else "")
    report.add("timezone", "change", f"{words}{half}", offset)


def _tell_step(step: int, settings: Vmmanager, report: PlatformReport) -> None:
    if step == settings.sampling:
        report.add("sampling", "ok", f"a point every {duration_text(step)}, as configured", step)
        return
    report.settings["sampling"] = duration_text(step)
    words = f"a point every {duration_text(step)}; the configuration says {duration_text(settings.sampling)}"
    report.add("sampling", "change", words, step)


def _tell_stamp(measuring: Measuring, step: int, settings: Vmmanager, report: PlatformReport) -> Stamp:
    """No point can be seen before its step is over: a stamp younger than a step is that of an end."""
    looks = list(chain.from_iterable(measuring.looks.values()))
    running = any(grows(each) for each in measuring.looks.values())
    if running:
        report.add(
            "running", "note", "the newest point still grows: steps are shown that are not over; keep settle long"
        )
    young = bool(looks) and not running and youngest_ms(looks) < step - SLACK_MS
    found: Stamp | None = "end" if young else measuring.stamp
    if found is None:
        words = "there is too little traffic, or none that varies, to tell; give a machine some, and check again"
        report.add("stamp", "unknown", words)
        return settings.stamp
    how = "its newest points are younger than a step" if young else "as its hourly sums show"
    if young and measuring.stamp == "start":
        how += ", although its hours are stamped at their start"
    if found == settings.stamp:
        report.add("stamp", "ok", f"a stamp is the {found} of its step, as configured ({how})", found)
        return found
    report.settings["stamp"] = found
    words = f"a stamp is the {found} of its step ({how}); the configuration says {settings.stamp}"
    report.add("stamp", "change", words, found)
    return found


def _tell_lag(measuring: Measuring, step: int, stamp: Stamp, settings: Vmmanager, report: PlatformReport) -> None:
    lags = [lag_of(looks, step, stamp) for looks in measuring.looks.values()]
    if not lags or not measuring.offsets:
        report.add("lag", "unknown", "it cannot be seen without the zone and a point of the last hours")
        return
    if _is_running(measuring):
        words = "the newest point still grows: steps are shown that are not over, so their lag cannot be seen"
        report.add("lag", "note", f"{words}; keep settle at a step, {duration_text(step)}, or more")
        return
    lag = min(lags, key=lambda each: (each.high, -each.low))  # of the machine whose numbers came first
    if lag.high < -SLACK_MS:
        words = f"the newest stamps lie {_seconds(-lag.high)} ahead of this machine's clock; let both follow NTP"
        report.add("ahead", "change", words, -lag.high)
    low, high = max(0, lag.low), max(0, lag.high)
    value = {"low_ms": low, "high_ms": high}
    words = f"a point can be read {_seconds(low)} to {_seconds(high)} after its step is over"
    settle = duration_text(settings.settle)
    if settings.settle >= high:
        report.add("lag", "ok", f"{words}; settle: {settle} is enough", value)
    elif settings.settle > low and not measuring.has_moved:
        report.add(
            "lag", "unknown", f"{words}; whether settle: {settle} is enough shows only by watching longer", value
        )
    else:
        report.settings["settle"] = duration_text(-(-(high + SLACK_MS) // MINUTE_MS) * MINUTE_MS)
        report.add("lag", "change", f"{words}; settle: {settle} is too short", value)


def _is_running(measuring: Measuring) -> bool:
    return any(grows(looks) for looks in measuring.looks.values())


def _tell_gaps(measuring: Measuring, settings: Vmmanager, report: PlatformReport) -> None:
    """Points that are missing among the latest ones alone are late; older ones are lost, or the machine was stopped."""
    now = measuring.now()
    missing = [now - at for points in measuring.steps.values() for at in gaps(points)]
    total = sum(len(points) for points in measuring.steps.values())
    if not missing:
        report.add("gaps", "ok", f"none of the {total} points of the last half day is missing", 0)
    elif max(missing) > 3 * HOUR_MS:
        words = f"{len(missing)} of the {total} points of the last half day are missing, older ones among them"
        report.add("gaps", "note", f"{words}: machines that were stopped, or numbers that are lost", len(missing))
    else:
        late = duration_text(-(-max(missing) // MINUTE_MS) * MINUTE_MS)
        words = f"{len(missing)} of the latest points are missing, up to {late} old, and none before: points come late"
        report.add("gaps", "note", f"{words}; final_after: {duration_text(settings.final_after)} waits for them",
                   len(missing))  # fmt: skip


def _tell_keeps(measuring: Measuring, step: int, stamp: Stamp, settings: Vmmanager, report: PlatformReport) -> None:
    if not measuring.oldest:
        report.add("keeps", "unknown", "no machine has numbers by the day")
        return
    back = measuring.now() - min(measuring.oldest.values()) + (step if stamp == "end" else 0)
    whole = max(HOUR_MS, back // DAY_MS * DAY_MS if back > 2 * DAY_MS else back // HOUR_MS * HOUR_MS)
    kept = duration_text(whole)
    if back > FARTHEST_MS - 2 * DAY_MS:
        report.add("keeps", "ok", f"numbers go back {back // DAY_MS} days at least", whole)
    elif not measuring.edge_moves:
        words = f"the oldest numbers seen are {kept} old; whether the platform keeps more cannot be seen"
        both = f"; those of all {len(measuring.oldest)} machines begin then, so write `keeps: {kept}` if they are older"
        report.add("keeps", "unknown", words + (both if measuring.oldest_are_alike else ""), whole)
    elif settings.keeps is not None and settings.keeps <= whole:
        words = f"the platform keeps {kept}; keeps: {duration_text(settings.keeps)} is within that"
        report.add("keeps", "ok", words, whole)
    else:
        report.settings["keeps"] = kept
        report.add("keeps", "change", f"the platform keeps {kept}: older numbers go as new ones come", whole)


def _seconds(length_ms: int) -> str:
    return f"{length_ms / 1000:.0f} s"
