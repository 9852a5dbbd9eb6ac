"""How much traffic a VM would like to have: whole bytes per sampling step, a pure function of its key.

Everything is integer arithmetic on 64 bits, so the same key wants the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64s: TypeAlias = NDArray[np.int64]
Direction: TypeAlias = Literal["in", "out"]

_MASK = (1 << 64) - 1
_HOUR_MS = 3_600_000


def mix(*parts: int) -> int:
    """One well-spread 63-bit number out of several (splitmix64)."""
    value = 0
    for part in parts:
        value = (value + part + 0x9E3779B97F4A7C15) & _MASK
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
        value ^= value >> 31
    return value >> 1


def noise(key: int, numbers: Int64s) -> Int64s:
    """As `mix(key, number)`, for many numbers at once: evenly spread 63-bit numbers (not the same ones as `mix`)."""
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((value ^ (value >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


# A shape says how many thousandths of a habit's rate are wanted in each of the steps that begin at `starts_ms`.
Shape: TypeAlias = Callable[[int, Int64s], Int64s]


def _steady(key: int, starts_ms: Int64s) -> Int64s:
    return noise(key, starts_ms) % 501 + 750


def _bursty(key: int, starts_ms: Int64s) -> Int64s:
    in_burst = noise(key ^ 1, starts_ms // (_HOUR_MS // 2)) % 20 == 0
    return np.where(in_burst, 1000, 10) * _steady(key, starts_ms) // 1000


def _nightly(key: int, starts_ms: Int64s) -> Int64s:
    hour = starts_ms // _HOUR_MS % 24
    return np.where((hour >= 1) & (hour < 4), 1000, 3) * _steady(key, starts_ms) // 1000


def _daytime(key: int, starts_ms: Int64s) -> Int64s:
    hour = starts_ms // _HOUR_MS % 24
    return np.where((hour >= 7) & (hour < 18), 1000, 120) * _steady(key, starts_ms) // 1000


def _silent(key: int, starts_ms: Int64s) -> Int64s:
    return np.zeros_like(starts_ms)


@dataclass(frozen=True, slots=True)
class Habit:
    shape: Shape
    kbps_in: int
    kbps_out: int

    def wanted_bytes(self, key: int, direction: Direction, first: int, last: int, step_ms: int) -> Int64s:
        """Bytes wanted in each of the steps `[first, last)`; a VM's own size is between a half and one and a half."""
        if self.shape is _silent:
            return np.zeros(max(0, last - first), np.int64)
        kbps = (self.kbps_in if direction == "in" else self.kbps_out) * (mix(key, 7) % 101 + 50) // 100
        starts_ms = np.arange(first, last, dtype=np.int64) * step_ms
        bytes_ = self.shape(mix(key, 1 if direction == "in" else 2), starts_ms) * (kbps * step_ms // 8) // 1000
        return bytes_ + noise(mix(key, 3 if direction == "in" else 4), starts_ms) % 1000


HABITS: Mapping[str, Habit] = MappingProxyType(
    {
        "silent": Habit(_silent, 0, 0),
        "steady": Habit(_steady, 600, 2_000),
        "busy": Habit(_steady, 4_000, 12_000),
        "heavy": Habit(_steady, 60_000, 250_000),
        "bursty": Habit(_bursty, 20_000, 90_000),
        "nightly": Habit(_nightly, 5_000, 60_000),
        "daytime": Habit(_daytime, 3_000, 9_000),
    }
)
"""By name.  Rates are what a VM of average size wants at its busiest, in kbit/s; a habit never asks for its limit."""

MIX: Mapping[str, int] = MappingProxyType(
    {"silent": 10, "steady": 35, "busy": 15, "heavy": 5, "bursty": 15, "nightly": 10, "daytime": 10}
)
"""How many of a hundred VMs have which habit, unless a world is told otherwise."""
