"""What happens to processes and brokers, and when: all drawn from one seed before it begins."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from tests.torture_kafka.scene import BROKERS, COLLECTORS, ENFORCERS, ROLES, TRACKERS

_T = TypeVar("_T")
Kind: TypeAlias = Literal[
    "kill",
    "stop",
    "kill broker",
    "stop broker",
    "mute broker",
    "rolling restart",
    "move partitions",
    "no broker",
    "slow coordinator",
]

WEIGHTS: dict[Kind, int] = {
    "kill": 38,
    "stop": 18,
    "kill broker": 14,
    "stop broker": 9,
    "mute broker": 5,
    "rolling restart": 3,
    "move partitions": 6,
    "no broker": 1,
    "slow coordinator": 6,
}
"""After each of them has been once."""
WHOM = (
    dict.fromkeys(TRACKERS, 5)
    | dict.fromkeys(ENFORCERS, 3)
    | dict.fromkeys(COLLECTORS, 4)
    | {
        "simulator": 2,
        "publisher": 2,
    }
)
LASTS_S: dict[Kind, tuple[float, float]] = {
    "stop": (1, 15),
    "kill broker": (0, 10),
    "stop broker": (1, 12),
    "mute broker": (1, 12),
    "no broker": (60, 60),
    "slow coordinator": (6, 15),
}
"""At least and at most.  A member that is silent for six seconds is expelled, a broker that is silent for three is."""
TWO_PERCENT = 25
"""So often two processes are killed or stopped at once."""
AT_ONCE_PERCENT = 30
"""So often the next fault does not wait until everything moves again."""
LONGEST_PAUSE_S = 4.0


class Fault(NamedTuple):
    number: int
    kind: Kind
    whom: tuple[str, ...] = ()
    """Processes, a broker, or whose coordinator."""
    lasts_s: float = 0.0
    at_once: bool = False
    """The next one follows before everything moves again."""
    pause_s: float = 0.0
    """Before the next one, when it waits."""

    def __str__(self) -> str:
        whom = " and ".join(self.whom)
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.kind} {whom}".strip() + lasts


def draw(rng: random.Random, count: int) -> list[Fault]:
    """So many, each kind among them if there is room for it."""
    kinds = list(WEIGHTS)
    rng.shuffle(kinds)
    kinds = kinds[:count] + [_one_of(rng, WEIGHTS) for _ in range(count - len(kinds))]
    return [_fault(rng, number, kind) for number, kind in enumerate(kinds, 1)]


def _fault(rng: random.Random, number: int, kind: Kind) -> Fault:
    return Fault(
        number,
        kind,
        _whom(rng, kind),
        rng.uniform(*LASTS_S[kind]) if kind in LASTS_S else 0.0,
        rng.randrange(100) < AT_ONCE_PERCENT,
        rng.uniform(0, LONGEST_PAUSE_S),
    )


def _whom(rng: random.Random, kind: Kind) -> tuple[str, ...]:
    match kind:
        case "kill" | "stop":
            first = _one_of(rng, WHOM)
            others = {name: weight for name, weight in WHOM.items() if name != first}
            return (first, _one_of(rng, others)) if rng.randrange(100) < TWO_PERCENT else (first,)
        case "kill broker" | "stop broker" | "mute broker":
            return (str(rng.choice(BROKERS)),)
        case "slow coordinator":
            return (rng.choice(("group", "transactions")), rng.choice(list(ROLES)))
        case _:
            return ()


def _one_of(rng: random.Random, weights: dict[_T, int]) -> _T:
    return rng.choices(list(weights), list(weights.values()))[0]
