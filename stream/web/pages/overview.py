"""The overview: who is in which profile now and over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.replica.model import Population
from stream.web.pages.words import within_text
from stream.web.pictures import Labels, Layer, population_picture, shade

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Step:
    """One profile of a plan."""

    profile: str
    speed: Speed | None
    services: int
    percent: str
    shade: int


@dataclass(frozen=True, slots=True)
class PlanPopulation:
    plan: str
    within: str
    services: int
    steps: Sequence[Step]
    picture: Markup | None
    """None until there is a course of time to show."""


def populations(
    plans: Mapping[str, Plan],
    now: Mapping[tuple[str, str], int],
    course: Sequence[Population],
    span: tuple[int, int],
    labels: Labels,
) -> list[PlanPopulation]:
    """Of each plan that has services, in the order of the plans in force."""
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    for (plan, profile), services in now.items():
        counted[plan][profile] = services
    order = [name for name in plans if counted.get(name)] + [name for name in counted if name not in plans]
    return [_population(name, plans.get(name), counted[name], course, span, labels) for name in order]


def _population(
    name: str,
    plan: Plan | None,
    counted: Mapping[str, int],
    course: Sequence[Population],
    span: tuple[int, int],
    labels: Labels,
) -> PlanPopulation:
    known = [profile.name for profile in plan.profiles] if plan else []
    profiles = known + sorted(set(counted) - set(known))
    speeds = {profile.name: profile.speed for profile in plan.profiles} if plan else {}
    whole = sum(counted.values())
    steps = [
        Step(
            profile,
            speeds.get(profile),
            counted.get(profile, 0),
            _share(counted.get(profile, 0), whole),
            shade(place, len(profiles)),
        )
        for place, profile in enumerate(profiles)
    ]
    picture = _picture(name, steps, [one for one in course if one.plan == name], span, labels)
    return PlanPopulation(name, within_text(plan.window) if plan else "", whole, steps, picture)


def _picture(
    plan: str, steps: Sequence[Step], course: Sequence[Population], span: tuple[int, int], labels: Labels
) -> Markup | None:
    """The last value is the one of now."""
    by_instant: dict[int, dict[str, int]] = defaultdict(dict)
    for one in course:
        by_instant[one.at][one.profile] = one.services
    by_instant[span[1]] = {step.profile: step.services for step in steps}
    instants = sorted(by_instant)
    if len(instants) < 2:
        return None
    layers = [Layer(step.shade, [by_instant[at].get(step.profile, 0) for at in instants]) for step in reversed(steps)]
    now = ", ".join(f"{step.services} in {step.profile}" for step in steps)
    title = f"Services of the plan {plan} by profile over the last 24 hours; now {now}"
    return population_picture(instants, layers, span, labels, title)


def _share(services: int, whole: int) -> str:
    """Percent with enough digits to tell few from none."""
    percent = 100 * services / whole if whole else 0.0
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"
