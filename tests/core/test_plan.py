"""Plans: the normal form, there and back, and every problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.plan import CalendarWindow, Plan, PlanError, SlidingWindow
from tests.core.feeding import MONTH, VPN, small


@pytest.mark.parametrize("value", [VPN, MONTH, small(), small(count={"in": 0, "out": 1000}, warn=99)])
def test_there_and_back(value: dict[str, Any]) -> None:
    """What is written is read as the same plan, and defaults are filled in."""
    plan = Plan.from_json("p", value)
    assert Plan.from_json("p", plan.to_json()) == plan
    written = plan.to_json()
    assert {key: written[key] for key in value if key not in ("window", "profiles")} == {
        key: value[key] for key in value if key not in ("window", "profiles")
    }


def test_profiles_are_numbered() -> None:
    """Ways lead to numbers, names stay."""
    plan = Plan.from_json("vpn", VPN)
    assert [profile.down for profile in plan.profiles] == [1, 2, 3, None]
    assert plan.profiles[3].up is not None
    assert plan.profiles[3].up.below == ((349_525_333, 0), (699_050_666, 1))
    assert plan.profile_number("25Mbit") == 2
    assert plan.profile_number("1Mbit") is None
    assert plan.window == SlidingWindow(600_000, 6)


def test_what_a_service_must_bring() -> None:
    """`quota: service` and `anchor_day: service`."""
    value = small(window={"kind": "calendar", "unit": "month", "timezone": "UTC", "anchor_day": "service"})
    value["profiles"][1]["quota"] = "service"
    plan = Plan.from_json("p", value)
    assert plan.window == CalendarWindow("month", 1, "UTC", "service")
    assert (plan.needs_quota, plan.needs_anchor_day) == (True, True)
    assert (Plan.from_json("q", VPN).needs_quota, Plan.from_json("q", VPN).needs_anchor_day) == (False, False)


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    plan = Plan.from_json("p", small()).to_json()
    place: Any = plan
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return plan


SLIDING = {"kind": "sliding", "slice_ms": 1000, "slices": 1}
DAYS = {"kind": "calendar", "unit": "day", "timezone": "UTC"}


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("extra",), 1, ("extra",)),
        (("window",), None, ("window",)),
        (("window",), {"kind": "hopping"}, ("window",)),
        (("window",), SLIDING | {"slices": 401}, ("window", "slices")),
        (("window",), SLIDING | {"slices": True}, ("window", "slices")),
        (("window",), SLIDING | {"slice_ms": 999}, ("window", "slice_ms")),
        (("window",), SLIDING | {"timezone": "UTC"}, ("window", "timezone")),
        (("window",), DAYS | {"unit": "year"}, ("window", "unit")),
        (("window",), DAYS | {"timezone": "Europe/Bonn"}, ("window", "timezone")),
        (("window",), DAYS | {"timezone": "../../etc/passwd"}, ("window", "timezone")),
        (("window",), DAYS | {"anchor_day": 3}, ("window", "anchor_day")),
        (("window",), DAYS | {"unit": "month", "anchor_day": 32}, ("window", "anchor_day")),
        (("count",), {"in": 0, "out": 0}, ("count",)),
        (("count",), {"in": 1001}, ("count", "in")),
        (("count",), {"in": 1.5}, ("count", "in")),
        (("on_change",), "forget", ("on_change",)),
        (("warn",), 100, ("warn",)),
        (("profiles",), [], ("profiles",)),
        (("profiles",), [{"name": str(n), "speed": {}} for n in range(17)], ("profiles",)),
        (("profiles", 0), 7, ("profiles", 0)),
        (("profiles", 0, "name"), "", ("profiles", 0, "name")),
        (("profiles", 0, "name"), "a\nb", ("profiles", 0, "name")),
        (("profiles", 0, "name"), "slow", ("profiles", 1, "name")),
        (("profiles", 0, "speed"), None, ("profiles", 0, "speed")),
        (("profiles", 0, "speed"), {"in": 0, "out": 1}, ("profiles", 0, "speed", "in")),
        (("profiles", 0, "quota"), 0, ("profiles", 0, "quota")),
        (("profiles", 0, "quota"), None, ("profiles", 0, "quota")),
        (("profiles", 0, "at"), "after", ("profiles", 0, "at")),
        (("profiles", 0, "down"), "fast", ("profiles", 0, "down")),
        (("profiles", 0, "down"), "slower", ("profiles", 0, "down")),
        (("profiles", 0, "up"), {"else": "slow"}, ("profiles", 0, "stay")),
        (("profiles", 1, "down"), "fast", ("profiles", 0, "down")),
        (("profiles", 1, "stay"), None, ("profiles", 1, "stay")),
        (("profiles", 1, "stay"), 0, ("profiles", 1, "stay")),
        (("profiles", 1, "stay"), "period", ("profiles", 1, "stay")),
        (("profiles", 1, "up"), {"below": [], "else": None}, ("profiles", 1, "up")),
        (("profiles", 1, "up"), {"below": [[5, "fast"], [5, "fast"]]}, ("profiles", 1, "up", "below")),
        (("profiles", 1, "up"), {"below": [[5]], "else": "fast"}, ("profiles", 1, "up", "below", 0)),
        (("profiles", 1, "up"), {"below": [[5, "nobody"]], "else": "fast"}, ("profiles", 1, "up", "below", 0, 1)),
        (("profiles", 1, "up"), {"below": "fast", "else": "fast"}, ("profiles", 1, "up", "below")),
    ],
)
def test_problems(path: tuple[str | int, ...], value: Any, where: tuple[str | int, ...]) -> None:
    """Each names its place and a cure."""
    with pytest.raises(PlanError) as caught:
        Plan.from_json("p", changed(path, value))
    assert where in [problem.path for problem in caught.value.problems]
    assert all(problem.what and problem.cure for problem in caught.value.problems)


def test_all_problems_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(PlanError) as caught:
        Plan.from_json(
            "", {"window": DAYS | {"slices": 0}, "warn": 0, "profiles": [{"name": "a", "speed": {"in": -1}}]}
        )
    assert len(caught.value.problems) == 4


def test_ways_up_in_a_circle() -> None:
    """A ladder that climbs for ever would decide for ever."""
    value = changed(("profiles", 0, "up"), {"else": "slow"})
    value["profiles"][0] |= {"stay": 1000}
    with pytest.raises(PlanError, match="circle"):
        Plan.from_json("p", value)


@pytest.mark.parametrize("value", [None, 7, "plan", [], {"window": 3, "profiles": {"a": 1}, "count": []}])
def test_no_plan_at_all(value: Any) -> None:
    """Whatever it is, it is refused as one."""
    with pytest.raises(PlanError):
        Plan.from_json("p", value)
