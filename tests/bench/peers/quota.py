"""The job itself, for the peers in Python."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

SLICES = 6
SLICE_MS = 600_000
STAY_MS = 600_000

State: TypeAlias = list[Any]
"""[bytes of each slice, number of the newest, counted up to, slow until (0: at full speed)] of one service."""


def quotas() -> dict[str, int]:
    """In bytes, by service."""
    read: dict[str, int] = json.loads(Path(os.environ["QUOTAS"]).read_bytes())
    return read


def fresh() -> State:
    return [[0] * SLICES, 0, 0, 0]


def count(state: State, delta: Mapping[str, Any], quotas: Mapping[str, int]) -> dict[str, Any] | None:
    """Counts a delta, unless it is a repeat; returns the change that it causes, if any."""
    ring, newest, through, slow_until = state
    end = delta["end"]
    if end <= through:
        return None
    number = (end - 1) // SLICE_MS
    if number > newest:
        for back in range(min(number - newest, SLICES)):
            ring[(number - back) % SLICES] = 0
        state[1] = number
    ring[number % SLICES] += delta["in"] + delta["out"]
    state[2] = end
    if slow_until and end < slow_until:
        return None
    usage = sum(ring)
    service = delta["service"]
    if not slow_until and usage <= quotas[service]:
        return None
    ring[:] = [0] * SLICES
    state[3] = 0 if slow_until else end + STAY_MS
    return {"service": service, "at": slow_until or end, "profile": "full" if slow_until else "slow", "usage": usage}
