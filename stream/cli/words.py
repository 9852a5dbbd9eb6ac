"""Plans and mappings in words."""

from __future__ import annotations

from collections.abc import Iterator

from stream.config.units import duration_text, size_text, speed_text
from stream.core.mapping import FieldMapping, Scaled, Timed
from stream.core.plan import CalendarWindow, Plan, Profile, Up


def describe(plan: Plan) -> list[str]:
    """A plan in a few lines: what it counts and over which time, then a line for each profile."""
    change = "what was used stays counted after a change" if plan.keep else "each change begins with an empty window"
    warn = f", a warning at {plan.warn} %" if plan.warn is not None else ""
    width = max(len(profile.name) for profile in plan.profiles)
    return [
        f"{plan.name}: {_count(plan)} over {_window(plan)}; {change}{warn}",
        *(f"  {profile.name:<{width}}  {_profile(plan, profile)}" for profile in plan.profiles),
    ]


def _count(plan: Plan) -> str:
    if plan.weight_in == plan.weight_out == 100:
        return "bytes in and out"
    ways = [
        f"{weight} % of bytes {way}" for weight, way in ((plan.weight_in, "in"), (plan.weight_out, "out")) if weight
    ]
    return " and ".join(ways).replace("100 % of ", "")


def _window(plan: Plan) -> str:
    window = plan.window
    if not isinstance(window, CalendarWindow):
        return (
            f"the last {duration_text(window.slice_ms * window.slices)} in slices of {duration_text(window.slice_ms)}"
        )
    span = f"the {window.unit}" if window.slices == 1 else f"the last {window.slices} {window.unit}s"
    day = ""
    if window.unit == "month" and window.anchor_day != 1:
        day = " from the service's own day" if window.anchor_day == "service" else f" from day {window.anchor_day}"
    return f"{span}{day} in {window.timezone}"


def _profile(plan: Plan, profile: Profile) -> str:
    parts = [f"{speed_text(profile.speed)}"]
    if profile.quota is not None:
        quota = "the service's own quota" if profile.quota == "service" else size_text(profile.quota)
        over = f"{quota} reached" if profile.at == "reached" else f"more than {quota}"
        parts.append(
            f"{over}: down to {plan.profiles[profile.down].name}" if profile.down is not None else f"quota {quota}"
        )
    if profile.up is not None:
        stay = "at the rollover" if profile.stay == "period" else f"after {duration_text(profile.stay or 0)}"
        parts.append(f"{stay} up to {', '.join(_targets(plan, profile, profile.up))}")
    return "; ".join(parts)


def _targets(plan: Plan, profile: Profile, up: Up) -> Iterator[str]:
    for limit, number in up.below:
        yield f"{plan.profiles[number].name} below {size_text(limit)}"
    if up.otherwise is not None:
        most = "" if profile.quota is None else " below the quota"
        yield f"{plan.profiles[up.otherwise].name}{most}"


def describe_mapping(mapping: FieldMapping) -> str:
    """A mapping in a line: which fields of a foreign record make which delta."""
    told = [f"service {mapping.service}"]
    told += [f"{way} {_timed(timed)}" for way, timed in (("start", mapping.start), ("end", mapping.end)) if timed]
    if mapping.duration is not None:
        length = mapping.duration
        told.append(f"duration {_timed(length) if isinstance(length, Timed) else duration_text(length)}")
    told += [f"{way} {_scaled(scaled)}" for way, scaled in (("in", mapping.in_), ("out", mapping.out)) if scaled]
    return f"mapping {mapping.name}: {', '.join(told)}"


def _timed(timed: Timed) -> str:
    return f"{timed.field} ({timed.format})"


def _scaled(scaled: Scaled) -> str:
    return scaled.field if scaled.factor == 1 else f"{scaled.field} * {scaled.factor:f}"
