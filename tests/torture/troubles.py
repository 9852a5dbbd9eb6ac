"""What happens to the processes and the machine, and when: all drawn from one seed before it begins."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple, TypeAlias, TypeVar

_T = TypeVar("_T")
Kind: TypeAlias = Literal["kill", "stop", "full disk", "clock"]

KILLED = {("run",): 60, ("simulator",): 15, ("publisher",): 10, ("run", "simulator"): 10, ("run", "publisher"): 5}
STOPPED = {("run",): 4, ("simulator",): 4, ("run", "simulator"): 2, ("publisher",): 1}
BESIDES: dict[Kind, int] = {"stop": 4, "full disk": 2, "clock": 3}
BESIDES_PERCENT = 60
"""So often something else happens as well between two kills."""
LONGEST_PAUSE_S = 5.0
LONGEST_STOP_S = 3.0
LONGEST_WRONG_S = 6.0
MOST_AHEAD_MS = 20 * 60_000
"""A clock is wrong by at most this."""


class Trouble(NamedTuple):
    after_s: float
    """Since the former one began."""
    kind: Kind
    whom: tuple[str, ...] = ()
    lasts_s: float = 0.0
    ahead_ms: int = 0
    place: int = 0
    """Of the VM that its owner stops or starts while a killed simulator is down."""

    @property
    def name(self) -> str:
        return f"{self.kind} {' and '.join(self.whom)}".strip()


def draw(rng: random.Random, kills: int, vms: int) -> list[Trouble]:
    """So many kills, the first of `run`, and what happens besides."""
    found = []
    for number in range(kills):
        if rng.randrange(100) < BESIDES_PERCENT:
            found.append(_besides(rng))
        whom = _one_of(rng, KILLED) if number else ("run",)
        found.append(Trouble(rng.uniform(0, LONGEST_PAUSE_S), "kill", whom, place=rng.randrange(vms)))
    return found


def _besides(rng: random.Random) -> Trouble:
    after_s = rng.uniform(0, LONGEST_PAUSE_S / 2)
    match _one_of(rng, BESIDES):
        case "stop":
            return Trouble(after_s, "stop", _one_of(rng, STOPPED), rng.uniform(0.1, LONGEST_STOP_S))
        case "full disk":
            return Trouble(after_s, "full disk", (), rng.uniform(0.2, LONGEST_STOP_S))
        case _:
            ahead_ms = rng.randrange(-MOST_AHEAD_MS, MOST_AHEAD_MS)
            return Trouble(after_s, "clock", (), rng.uniform(1, LONGEST_WRONG_S), ahead_ms)


def _one_of(rng: random.Random, weights: dict[_T, int]) -> _T:
    return rng.choices(list(weights), list(weights.values()))[0]
