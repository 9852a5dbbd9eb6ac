"""Many services at once, over many pages: the core tells and keeps of each what the oracle does."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.driving import Core, Oracle, state_of, told_by_oracle
from tests.core.histories import Record
from tests.core.test_equal_histories import by_service

START = 1_774_738_800_000  # 2026-03-28 23:00 UTC
MINUTE = 60_000
QUOTA = 10_000
SERVICES = 700
"""More than two pages of state hold."""


def profile(name: str, speed: int | None, **more: Any) -> dict[str, Any]:
    usual = {"quota": None, "at": "exceeded", "down": None, "stay": None, "up": None}
    return {"name": name, "speed": {"in": speed, "out": speed}} | usual | more


def plan(window: dict[str, Any], on_change: str, *profiles: dict[str, Any]) -> dict[str, Any]:
    return {
        "window": window,
        "count": {"in": 100, "out": 50},
        "on_change": on_change,
        "warn": 80,
        "profiles": list(profiles),
    }


def calendar(unit: str, **more: Any) -> dict[str, Any]:
    return {"kind": "calendar", "unit": unit, "slices": 1, "timezone": "Europe/Berlin", **more}


PLANS = {
    "ladder": plan(
        {"kind": "sliding", "slice_ms": 10 * MINUTE, "slices": 6},
        "reset",
        profile("top", None, quota=QUOTA, down="mid"),
        profile("mid", 50, quota=QUOTA, down="low", stay=30 * MINUTE, up={"below": [], "else": "top"}),
        profile("low", 10, stay=60 * MINUTE, up={"below": [[QUOTA // 2, "top"]], "else": "mid"}),
    ),
    "day": plan(
        calendar("day"),
        "keep",
        profile("full", None, quota=3 * QUOTA, at="reached", down="slow"),
        profile("slow", 20, stay="period", up={"below": [], "else": "full"}),
    ),
    "month": plan(
        calendar("month", anchor_day="service"),
        "keep",
        profile("full", None, quota="service", down="slow"),
        profile("slow", 30, stay="period", up={"below": [], "else": "full"}),
    ),
}
SETS: tuple[list[str], ...] = (["ladder"], ["day"], ["ladder", "month"], ["month", "day", "ladder"], [])


class Fleet:
    """A source with many services and a collector that polls them, with all that happens to them meanwhile."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.records: list[Record] = []
        self.now = START
        self.anchor = START
        self.totals: dict[str, int] = {}
        self.say({"type": "plans", "version": 1, "plans": PLANS})
        for number in range(SERVICES):
            self.register(f"vm1/{number if number % 3 else 'x' * (number % 40 + 1) + str(number)}")

    def say(self, value: Any) -> None:
        self.records.append(Record(len(self.records), self.now, value))

    def register(self, name: str) -> None:
        plans = self.random.choice(SETS)
        day = self.random.choice([1, 29, 31])
        self.say({"type": "registration", "service": name, "plans": plans, "quota": 4 * QUOTA, "anchor_day": day})
        self.totals.setdefault(name, 0)

    def deregister(self, name: str) -> None:
        self.say({"type": "deregistration", "service": name})
        del self.totals[name]

    def poll(self) -> None:
        """One record of them all, in their order, over one interval; now and then of some, shuffled, or at their own
        times."""
        self.now += self.random.choice([5, 5, 5, 10, 90]) * MINUTE
        names = list(self.totals)
        if self.random.random() < 0.3:
            names = self.random.sample(names, len(names) // 2)
        for name in names:
            self.totals[name] += self.random.choice([0, 100, 900, 2000, 7000])
        ends: Any = self.now
        if self.random.random() < 0.2:
            ends = [self.now - self.random.choice([0, 0, 1, MINUTE]) for _ in names]
        in_ = [self.totals[name] for name in names]
        out = [total // 3 for total in in_]
        batch = {"type": "batch", "services": names, "start": self.anchor, "end": ends, "in": in_, "out": out}
        self.say(batch)
        if self.random.random() < 0.2:  # a new anchor
            self.anchor, self.totals = self.now, dict.fromkeys(self.totals, 0)

    def live(self) -> None:
        """What operators and customers do between two polls."""
        names = list(self.totals)
        for name in self.random.sample(names, 30):
            self.deregister(name)
            if self.random.random() < 0.7:
                self.register(name + self.random.choice(["", "y", "yyyyyyyyyyyyyyyyyyyyyyyyyyyy"]))
        for name in self.random.sample(list(self.totals), 20):
            self.register(name)
        for name in self.random.sample(list(self.totals), 10):
            kind = self.random.choice(["credit", "exempt", "reset"])
            until, bytes_ = self.now + 3600 * 1000, QUOTA
            adjustment = {"type": "adjustment", "id": f"{len(self.records)}", "kind": kind, "by": "anna"}
            self.say(adjustment | {"service": name, "until": until, "bytes": bytes_})
        if self.random.random() < 0.5:
            self.say({"type": "watermark", "source": "vm1", "at": self.now})


@settings(max_examples=max(1, settings.default.max_examples // 30) if settings.default else 1)
@given(st.integers(0, 1 << 32))
def test_a_fleet_equals_the_oracle(seed: int) -> None:
    """Hundreds of services that come, go, fall and rise, with a restore after every round."""
    fleet, core, oracle = Fleet(seed), Core(), Oracle()
    taken = 0
    for _ in range(10):
        fleet.poll()
        fleet.poll()
        fleet.live()
        fresh, taken = fleet.records[taken:], len(fleet.records)
        core.take(fresh)
        oracle.take(fresh)
        core.restore()
    assert by_service(core.outcomes) == by_service(told_by_oracle(oracle))
    assert core.rejects == sorted((offset, index) for offset, index, _ in oracle.rejects)
    assert state_of(core) == oracle.export()["services"]


def test_totals_know_no_bounds() -> None:
    """Ten thousand times the most that a delta may carry, at the greatest weight: every ledger to the byte."""
    count, most = 10_000, 1 << 50
    heavy = plan({"kind": "sliding", "slice_ms": 1000, "slices": 1}, "keep", profile("only", None))
    heavy["count"] = {"in": 1000, "out": 1000}
    starts = [START + 1000 * place for place in range(count)]
    values: list[Any] = [
        {"type": "plans", "version": 1, "plans": {"heavy": heavy}},
        {"type": "registration", "service": "vm1/1", "plans": ["heavy"]},
    ]
    for first in range(0, count, 500):
        some = starts[first : first + 500]
        batch = {"type": "batch", "services": ["vm1/1"] * len(some), "start": some}
        values.append(
            batch | {"end": [start + 1000 for start in some], "in": [most] * len(some), "out": [most] * len(some)}
        )
    values.append({"service": "vm1/1", "start": starts[-1], "end": starts[-1] + 1000, "in": most, "out": most})
    core, oracle = Core(), Oracle()
    for at, value in enumerate(values):
        record = Record(at, START + 1000 * count, value)
        core.take([record])
        oracle.take([record])
        if at % 5 == 0:
            core.restore()
    state = state_of(core)
    assert state == oracle.export()["services"]
    assert state["vm1/1"]["accepted"] == (count * most, count * most)
    assert state["vm1/1"]["ladders"][0]["ledger"]["counted"] == count * most * 2000


def test_a_window_that_would_hold_too_much_refuses_the_delta() -> None:
    """23 PB are the most in one window; what would pass them is a dead letter and leaves all as it was."""
    heavy = plan({"kind": "sliding", "slice_ms": 60_000, "slices": 2}, "keep", profile("only", None))
    heavy["count"] = {"in": 1000, "out": 1000}
    most = 1 << 50
    values = [
        {"type": "plans", "version": 1, "plans": {"heavy": heavy}},
        {"type": "registration", "service": "vm1/1", "plans": ["heavy"]},
        {"service": "vm1/1", "start": START, "end": START + 1000, "in": most, "out": most},
        {"service": "vm1/1", "start": START + 1000, "end": START + 2000, "in": most // 20, "out": 0},
        {"service": "vm1/1", "start": START + 1000, "end": START + 3000, "in": most // 100, "out": 0},
        {"service": "vm1/1", "start": START + 180_000, "end": START + 181_000, "in": most // 20, "out": most},
    ]
    core, oracle = Core(), Oracle()
    for at, value in enumerate(values):
        core.take([Record(at, START + 300_000, value)])
        oracle.take([Record(at, START + 300_000, value)])
    assert core.rejects == [(3, 0)] == [(offset, index) for offset, index, _ in oracle.rejects]
    assert state_of(core) == oracle.export()["services"]
