"""Plans of a log world, of every kind, whose quotas the world's traffic crosses now and then."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, TypeAlias

from stream.core.plan import Plan
from tests.core.test_equal_fleet import profile

PlanSet: TypeAlias = Mapping[str, Plan]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
UNITS: Mapping[int, tuple[str, ...]] = {
    MINUTE_MS: ("hour",),
    5 * MINUTE_MS: ("hour", "hour", "day"),
    10 * MINUTE_MS: ("hour", "day"),
    HOUR_MS: ("hour", "day", "day"),
    6 * HOUR_MS: ("day", "week", "month"),
}
"""By the length of a tick: calendar units some of which roll over within a world."""

UNIT_MS = {"hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 168 * HOUR_MS, "month": 720 * HOUR_MS}
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
WEIGHTS = ((100, 100), (100, 100), (100, 0), (33, 250))
MOST_TICKS = 12
"""No quota is meant for a longer window, since no world lasts much longer."""

ALWAYS = "a"
"""The plan that every set has."""


class Drafter:
    """Draws sets of plans for traffic of about `rate` bytes a tick."""

    def __init__(self, rng: Random, tick_ms: int, rate: int) -> None:
        self._rng, self._tick_ms, self._rate = rng, tick_ms, rate
        self._weights = {name: rng.choice(WEIGHTS) for name in "abc"}

    def sets(self, changes: int) -> list[PlanSet]:
        """The first ones, and so many changes of them, one after the other."""
        names = "abc"[: self._rng.choice((1, 2, 2, 3))]
        drawn = [{name: self._plan(name) for name in names}]
        for number in range(changes):
            drawn.append(self._changed(drawn[-1], number))
        return [{name: Plan.from_json(name, plan) for name, plan in plans.items()} for plans in drawn]

    def renamed(self, plans: PlanSet, number: int) -> PlanSet:
        """The same with other names of profiles: every service that has one of them moves."""
        return {name: Plan.from_json(name, _renamed(plan.to_json(), number)) for name, plan in plans.items()}

    def _plan(self, name: str) -> dict[str, Any]:
        weights = self._weights[name]
        window = self._sliding() if self._rng.random() < 0.6 else self._calendar()
        slides = window["kind"] == "sliding"
        return {
            "window": window,
            "count": {"in": weights[0], "out": weights[1]},
            "on_change": "reset" if self._rng.random() < (0.8 if slides else 0.2) else "keep",
            "warn": self._rng.choice((None, 50, 80, 95)),
            "profiles": self._profiles(self._quota(window, sum(weights)), periods=not slides),
        }

    def _sliding(self) -> dict[str, Any]:
        slice_ms = self._tick_ms * self._rng.choice((1, 1, 2, 3))
        return {"kind": "sliding", "slice_ms": slice_ms, "slices": self._rng.randint(2, 6)}

    def _calendar(self) -> dict[str, Any]:
        unit = self._rng.choice(UNITS[self._tick_ms])
        window = {"kind": "calendar", "unit": unit, "slices": self._rng.choice((1, 1, 2, 3))}
        anchor = {"anchor_day": self._rng.choice((1, 31, "service"))} if unit == "month" else {}
        return window | {"timezone": self._rng.choice(ZONES)} | anchor

    def _quota(self, window: Mapping[str, Any], weight: int) -> int:
        """About what an ordinary service uses in the window."""
        size_ms: int = window["slices"] * window.get("slice_ms", UNIT_MS.get(window.get("unit", ""), 0))
        ticks = min(MOST_TICKS, max(1, size_ms // self._tick_ms))
        return max(1, round(self._rate * ticks * weight / 200 * self._rng.uniform(0.5, 1.5)))

    def _profiles(self, quota: int, *, periods: bool) -> list[dict[str, Any]]:
        names = ("p", "q", "r", "s")[: self._rng.choice((2, 2, 3, 4))]
        own = self._rng.random() < 0.2
        return [self._profile(names, place, quota, periods, own) for place in range(len(names))]

    def _profile(self, names: tuple[str, ...], place: int, quota: int, periods: bool, own: bool) -> dict[str, Any]:
        last = place == len(names) - 1
        stay = "period" if periods and self._rng.random() < 0.6 else self._tick_ms * self._rng.choice((1, 2, 3, 5))
        limits = [[quota // 2, names[0]]] if place > 1 and quota > 1 else []
        return profile(
            names[place],
            self._rng.choice((None, 100)) if place == 0 else 100 // (4 * place),
            quota=None if last and self._rng.random() < 0.5 else "service" if own else quota,
            at=self._rng.choice(("exceeded", "exceeded", "reached")),
            down=None if last else names[place + 1],
            stay=stay if place else None,
            up={"below": limits, "else": names[place - 1]} if place else None,
        )

    def _changed(self, plans: dict[str, dict[str, Any]], number: int) -> dict[str, dict[str, Any]]:
        changed = dict(plans)
        for name in plans:
            match self._rng.choice(("same", "anew", "quota", "names", "window", "lost")):
                case "anew":
                    changed[name] = self._plan(name)
                case "quota":
                    changed[name] = self._with_quota(plans[name])
                case "names":
                    changed[name] = _renamed(plans[name], number)
                case "window" if plans[name]["window"]["kind"] == "sliding":
                    changed[name] = plans[name] | {"window": self._sliding()}
                case "lost" if name != ALWAYS:
                    del changed[name]
        return changed if changed != plans else changed | {ALWAYS: self._with_quota(plans[ALWAYS])}

    def _with_quota(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Less or more in each profile."""
        factor = self._rng.choice((0.3, 0.6, 1.7))
        profiles = [
            each
            | (
                {"quota": max(2, round(each["quota"] * factor)), "up": _open(each)}
                if type(each["quota"]) is int
                else {}
            )
            for each in plan["profiles"]
        ]
        return plan | {"profiles": profiles}


def _open(described: Mapping[str, Any]) -> Any:
    """Its way up, without thresholds."""
    return described["up"] and {"below": [], "else": described["up"]["else"]}


def _renamed(plan: dict[str, Any], number: int) -> dict[str, Any]:
    def name(old: str | None) -> str | None:
        return old and f"{old[0]}{number}"

    profiles = []
    for each in plan["profiles"]:
        up = each["up"] and {
            "below": [[limit, name(target)] for limit, target in each["up"]["below"]],
            "else": name(each["up"]["else"]),
        }
        profiles.append(each | {"name": name(each["name"]), "down": name(each["down"]), "up": up})
    return plan | {"profiles": profiles}
