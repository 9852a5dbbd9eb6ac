"""Speeds as tests write them: whole Mbit/s."""

from __future__ import annotations

from stream.core.brake import BrakeRule
from stream.core.enforcement import Rules
from stream.core.speed import Speed

MBIT = 1_000_000
UNLIMITED = Speed(None, None)
SLOWER = frozenset(Speed(mbit * MBIT, mbit * MBIT) for mbit in (50, 25, 10))
"""The slower speeds of the ladder 100/50/25/10."""
NO_BRAKE = BrakeRule(percent=100, at_least=1_000_000)


def mbit(in_: int | None, out: int | str | None = "same") -> Speed:
    """`mbit(10)` both ways, `mbit(10, None)` only in."""
    second = in_ if isinstance(out, str) else out
    return Speed(None if in_ is None else in_ * MBIT, None if second is None else second * MBIT)


def express(speed: Speed) -> Speed:
    """Whole Mbit/s, at least 1, as VMmanager shows them."""
    return Speed(*(None if limit is None else max(1, limit // MBIT) * MBIT for limit in speed))


RULES = Rules(express=express, slower=SLOWER)
