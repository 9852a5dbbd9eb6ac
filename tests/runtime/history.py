"""A scripted history of one partition: everything that an input can hold, appended over a quarter of a minute."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from stream.ports import Message

START_MS = 1_764_550_800_000
"""2025-12-01 01:00 UTC, when the history begins to be appended; it speaks of the hour before."""
MINUTE = 60_000
NOON = START_MS - 60 * MINUTE


def ladder(quota: int, **changes: Any) -> dict[str, Any]:
    """Two steps down over the last ten minutes, the way up after five."""
    profiles = [
        {"name": "fast", "speed": {"in": 100, "out": 100}, "quota": quota, "down": "slow"},
        {
            "name": "slow",
            "speed": {"in": 10, "out": 10},
            "quota": quota,
            "down": "slowest",
            "stay": 5 * MINUTE,
            "up": {"below": [], "else": "fast"},
        },
        {
            "name": "slowest",
            "speed": {"in": 1, "out": 1},
            "stay": 5 * MINUTE,
            "up": {"below": [[quota // 2, "fast"]], "else": "slow"},
        },
    ]
    window = {"kind": "sliding", "slice_ms": 2 * MINUTE, "slices": 5}
    return {"window": window, "on_change": "reset", "warn": 80, "profiles": profiles} | changes


HOURLY = ladder(1000)
KEPT = ladder(3000, on_change="keep", window={"kind": "calendar", "unit": "day", "timezone": "Europe/Berlin"})


class Append(NamedTuple):
    """Records that are appended together, so many ms after the start."""

    after_ms: int
    messages: list[Message]


def record(value: object) -> Message:
    return Message(None, value if isinstance(value, bytes) else orjson.dumps(value))


def registration(number: int, *plans: str) -> dict[str, Any]:
    return {"type": "registration", "service": f"vm1/{number}", "plans": list(plans), "at": NOON}


def totals(minute: int, *bytes_: int, first: int = 1) -> dict[str, Any]:
    """A poll: each service's total from noon up to a minute."""
    services = [f"vm1/{number}" for number in range(first, first + len(bytes_))]
    span = {"start": NOON, "end": NOON + minute * MINUTE}
    return {
        "type": "batch",
        "source": "vm1",
        **span,
        "services": services,
        "in": list(bytes_),
        "out": [0] * len(bytes_),
    }


def adjustment(id: str, number: int, kind: str, minute: int, **more: Any) -> dict[str, Any]:
    fixed = {"type": "adjustment", "id": id, "service": f"vm1/{number}", "kind": kind, "by": "anna", "why": "a test"}
    return fixed | {"at": NOON + minute * MINUTE} | more


def history() -> list[Append]:
    """Services 1 to 4: down, up, warned, credited, pinned, kept, gone and back; and records that are none."""
    changed = {"hourly": ladder(400), "kept": KEPT}
    rounds: list[tuple[int, list[Any]]] = [
        (0, [{"type": "plans", "version": 1, "plans": {"hourly": HOURLY, "kept": KEPT}}]),
        (50, [registration(1, "hourly"), registration(2, "kept"), registration(3, "hourly", "kept")]),
        (60, [registration(4, "hourly"), registration(5, "unheard-of")]),
        (600, [totals(1, 100, 200, 900, 0, 77), b"no JSON"]),
        (1300, [totals(2, 1200, 400, 1100, 0), adjustment("1", 3, "credit", 2, bytes=500, plan="hourly")]),
        (1400, [totals(3, 2600, 800, 1300, 5)]),
        (1450, [totals(3, 2600, 800, 1300, 5), adjustment("1", 3, "credit", 2, bytes=500, plan="hourly")]),
        (4100, [totals(4, 2600, 3500, 1900), {"service": "vm1/4", "start": NOON, "end": NOON, "in": 1}]),
        (4150, [adjustment("2", 4, "pin", 4, plan="hourly", profile="slow")]),
        (4900, [totals(9, 2650, 3600, 2600, 100), adjustment("3", 4, "unpin", 9, plan="hourly")]),
        (5300, [totals(15, 2700, 3700, 5000, 100), {"type": "deregistration", "service": "vm1/1"}]),
        (5350, [registration(1, "kept", "hourly"), totals(16, 2800, 3700, 5100, 100)]),
        (
            7000,
            [{"type": "plans", "version": 2, "plans": changed}, totals(17, 3500, 3800)],
        ),
        (9900, [{"type": "watermark", "source": "vm1", "at": NOON + 40 * MINUTE}]),
        (10000, [totals(41, 3600, 3900, 5200, 700), totals(20, 3500, 3800), adjustment("4", 2, "reset", 41)]),
        (10100, [totals(42, 9000, 9000, 9000, 9000)]),
    ]
    return [Append(after_ms, [record(value) for value in values]) for after_ms, values in rounds]
