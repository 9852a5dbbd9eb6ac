"""A tracker that is fed by hand: short ways to say what comes in, and to read what goes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import as_file, files
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from stream.config.load import load
from stream.core.model import (
    Adjustment,
    DeadLetter,
    Decision,
    Deltas,
    Deregistration,
    Event,
    Plans,
    Position,
    QuotaWarning,
    Registration,
    Watermark,
)
from stream.core.plan import Plan
from stream.core.tracker import Tracker
from stream.core.view import PlanView, ServiceView

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MBIT = 1_000_000
MIB = 1 << 20
GIB = 1 << 30
T0 = 1_764_547_200_000
"""2025-12-01 00:00 UTC: an edge of ten-minute slices."""

STEP = 1_048_576_000


def example(name: str) -> dict[str, Any]:
    """The plan of a shipped example configuration, in its normal form."""
    with as_file(files("stream") / "examples" / f"{name}.yaml") as file:
        return load(file).plans[name].to_json()


VPN = example("vpn")
"""The origin's ladder."""

MONTH = example("month")
"""The vendor's script, but lifted at the rollover."""


def small(**changes: Any) -> dict[str, Any]:
    """Two steps over the last three seconds: 1000 bytes, then slow for at least ten seconds."""
    plan: dict[str, Any] = {
        "window": {"kind": "sliding", "slice_ms": 1000, "slices": 3},
        "on_change": "reset",
        "profiles": [
            {"name": "fast", "speed": {"in": 100, "out": 100}, "quota": 1000, "down": "slow"},
            {
                "name": "slow",
                "speed": {"in": 10, "out": 10},
                "quota": 1000,
                "stay": 10_000,
                "up": {"below": [], "else": "fast"},
            },
        ],
    }
    return plan | changes


def local(zone: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    """The instant of a local date and time."""
    return int(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


class Feed:
    """Each call is a record of its own and returns what it brought about."""

    def __init__(self, few: int = 1, **plans: dict[str, Any]) -> None:
        self.tracker = Tracker(0, lambda name: 1 if name.startswith("elsewhere/") else 0, few=few)
        self.offset = -1
        self.letters: list[DeadLetter] = []
        self.plans(1, **plans)

    def apply(self, event: Event) -> list[Decision | QuotaWarning]:
        self.tracker.apply([event], self.offset + 1)
        drained = self.tracker.drain()
        self.letters += drained.dead_letters
        return drained.outcomes

    def next(self) -> Position:
        self.offset += 1
        return Position(self.offset)

    def plans(self, version: int, **plans: dict[str, Any]) -> list[Decision | QuotaWarning]:
        read = {name: Plan.from_json(name, plan) for name, plan in plans.items()}
        return self.apply(Plans(self.next(), version, read))

    def register(
        self, *plans: str, service: str = "vm1/1", at: int = T0, source: str = "vm1", **own: Any
    ) -> list[Decision | QuotaWarning]:
        return self.apply(Registration(self.next(), at, service, source, plans, **own))

    def deregister(self, service: str = "vm1/1", at: int = T0) -> list[Decision | QuotaWarning]:
        return self.apply(Deregistration(self.next(), at, service))

    def delta(
        self, start: int, end: int, in_: int = 0, out: int = 0, *, service: str = "vm1/1", backfill: bool = False
    ) -> list[Decision | QuotaWarning]:
        return self.batch([service], [start], [end], [in_], [out], backfill=backfill)

    def batch(
        self,
        services: Sequence[str],
        start: Sequence[int],
        end: Sequence[int],
        in_: Sequence[int],
        out: Sequence[int],
        *,
        backfill: bool = False,
    ) -> list[Decision | QuotaWarning]:
        starts, ends, ins, outs = (np.array(column, np.int64) for column in (start, end, in_, out))
        return self.apply(Deltas(services, starts, ends, ins, outs, self.next().offset, backfill=backfill))

    def watermark(self, at: int, source: str = "vm1") -> list[Decision | QuotaWarning]:
        return self.apply(Watermark(self.next(), at, source))

    def adjust(
        self, kind: Any, *, service: str = "vm1/1", id: str = "", appended: int = T0, at: int = T0, **more: Any
    ) -> list[Decision | QuotaWarning]:
        position = self.next()
        return self.apply(
            Adjustment(position, appended, at, id or str(position.offset), service, kind, "anna", "why", **more)
        )

    def view(self, service: str = "vm1/1") -> ServiceView:
        view = self.tracker.service(service)
        assert view is not None
        return view

    def plan(self, plan: str, service: str = "vm1/1") -> PlanView:
        return next(each for each in self.view(service).plans if each.plan == plan)

    def restore(self) -> None:
        """As after a crash: a new tracker from what a checkpoint would have stored."""
        pages = {page.key: page for page in self.tracker.dirty_pages()}
        self.tracker = Tracker.restore(0, lambda name: 0, self.tracker.meta(), pages.values(), few=1)


def moves(outcomes: Sequence[Decision | QuotaWarning]) -> list[tuple[Any, ...]]:
    """(instant, reason, from, to) of decisions; (instant, "warning", profile, percent) of warnings."""
    return [
        (each.at, "warning", each.profile, each.percent)
        if isinstance(each, QuotaWarning)
        else (each.at, each.reason, each.from_, each.to)
        for each in outcomes
    ]


def decision(outcomes: Sequence[Decision | QuotaWarning]) -> Decision:
    """The only one."""
    [only] = outcomes
    assert isinstance(only, Decision)
    return only
