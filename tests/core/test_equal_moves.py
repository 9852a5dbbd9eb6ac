"""Where many services move at the ends of their deltas, columns give what each delta by itself gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from stream.core.model import Adjustment, Deltas, Plans, Position, Registration, Watermark
from stream.core.plan import Plan
from stream.core.tracker import Tracker

SERVICES = [f"vm1/{number}" for number in range(40)]
MINUTE_MS = 60_000
T0 = 1_764_543_000_000
ALL_BY_COLUMNS, NONE_BY_COLUMNS = 1, 1_000
FAST, SLOW = {"in": 1000, "out": 1000}, {"in": 10, "out": 10}


def ladder(stay: int | str, *, below: int | None = None, **changes: Any) -> dict[str, Any]:
    up = {"below": [] if below is None else [[below, "fast"]], "else": "fast" if below is None else None}
    fast = {"name": "fast", "speed": FAST, "quota": "service", "down": "slow"}
    slow = {"name": "slow", "speed": SLOW, "quota": "service", "stay": stay, "up": up}
    window = {"kind": "sliding", "slice_ms": 5 * MINUTE_MS, "slices": 3}
    return {"window": window, "profiles": [fast, slow]} | changes


HOURS = {"kind": "calendar", "unit": "hour", "slices": 1, "timezone": "Europe/Berlin"}
LADDERS = {
    "reset": ladder(10 * MINUTE_MS),
    "below": ladder(6 * MINUTE_MS, below=4000),
    "period": ladder("period", window=HOURS),
    "brief": ladder(2 * MINUTE_MS, count={"in": 100, "out": 50}),
    "keep": ladder(4 * MINUTE_MS, below=5000, on_change="keep", warn=60),
    "hour": ladder("period", window=HOURS, warn=50, on_change="keep"),
    "reached": ladder(3 * MINUTE_MS, warn=80),
}
LADDERS["brief"]["profiles"][0]["quota"] = 1500
LADDERS["reached"]["profiles"][0]["at"] = "reached"


def tracker(few: int, plans: tuple[str, ...]) -> Tracker:
    made = Tracker(0, lambda service: 0, few=few)
    read = {name: Plan.from_json(name, value) for name, value in LADDERS.items()}
    made.apply([Plans(Position(0), 1, read)], 1)
    for offset, name in enumerate(SERVICES, 1):
        quota = 3_000 + 500 * offset
        made.apply([Registration(Position(offset), T0, name, "vm1", plans, quota=quota)], offset + 1)
    return made


def hands(number: int, plan: str, at: int) -> list[Adjustment | Watermark]:
    """What others do in between: credits, rests and a promise that outruns the deltas."""
    if number % 20 == 5:
        return [Watermark(Position(1000 + number), at + MINUTE_MS // 2, "vm1")]
    if number % 20:
        return []
    changes: list[dict[str, Any]] = [
        {"kind": "credit", "bytes": 4000},
        {"kind": "pin", "plan": plan, "profile": "slow", "until": at + 7 * MINUTE_MS},
        {"kind": "exempt", "until": at + 8 * MINUTE_MS},
    ]
    return [
        Adjustment(
            Position(1000 + number, place), at, at, f"{number}/{place}", SERVICES[place], by="a", why="", **change
        )
        for place, change in enumerate(changes, number // 20)
    ]


@pytest.mark.parametrize("growing", [False, True], ids=["new", "growing"])
@pytest.mark.parametrize(
    "plans",
    [
        ("reset",),
        ("below",),
        ("period",),
        ("keep",),
        ("hour",),
        ("reached",),
        ("brief", "reset"),
        ("reset", "hour", "keep"),
    ],
)
def test_moves_at_the_ends_of_deltas(plans: tuple[str, ...], growing: bool) -> None:
    """Ways down, ways up that open at just that instant, and warnings, round by round."""
    random = np.random.default_rng(5)
    one, other = tracker(ALL_BY_COLUMNS, plans), tracker(NONE_BY_COLUMNS, plans)
    reasons: Counter[str] = Counter()
    total = np.zeros((2, len(SERVICES)), np.int64)
    for number in range(150):
        start, end = T0 + number * MINUTE_MS, T0 + (number + 1) * MINUTE_MS
        more = random.integers(0, 80 if number // 20 % 2 else 900, total.shape)  # a while of little after one of much
        total += more
        in_, out = total.copy() if growing else more
        deltas = Deltas(SERVICES, T0 if growing else start, end, in_, out, 1000 + number)
        for each in (one, other):
            each.apply([*hands(number, plans[0], end), deltas], 1001 + number)
        told, same = one.drain(), other.drain()
        assert told == same
        assert [one.service(name) for name in SERVICES] == [other.service(name) for name in SERVICES]
        reasons.update(getattr(outcome, "reason", "warning") for outcome in told.outcomes)
    assert one.counters == other.counters
    assert reasons["stay_over"] + reasons["period"] > 20
    assert reasons["exceeded"] + reasons["reached"] > 20
