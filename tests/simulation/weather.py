"""What goes wrong in a world, how often, and what did.

calm     nothing but latency
network  each call may be refused, lose its answer, be left unanswered, or take effect long after it was given up
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Fate: TypeAlias = Literal["ok", "refused", "answer lost", "unanswered", "done unanswered", "late"]
FATES: tuple[Fate, ...] = ("refused", "answer lost", "unanswered", "done unanswered", "late")


class Course(NamedTuple):
    """What becomes of one call: its effect after `before_s`, its answer `after_s` later; `late_s` is for late ones."""

    fate: Fate
    before_s: float
    after_s: float
    late_s: float


@dataclass(slots=True)
class Weather:
    """Drawn from the world's seed; `calm` ends all of it for good."""

    rng: random.Random
    trouble: float = 0.0
    """Probability that a call meets trouble."""
    slowness: float = 0.0
    """Probability that a call takes seconds instead of milliseconds."""
    torn: float = 0.0
    """Probability that only a part of a write survives."""
    repeated: float = 0.0
    """Probability that an append is stored once more, later or at once."""
    gaps: float = 0.0
    """Probability that an offset is left out."""
    deaf: float = 0.0
    """Probability that a member learns late of its assignment, or never."""
    happened: Counter[str] = field(default_factory=Counter)

    def calm(self) -> None:
        """But for the gaps, which are nobody's trouble."""
        self.trouble = self.slowness = self.torn = self.repeated = self.deaf = 0.0

    def course(self) -> Course:
        """Of the next call."""
        rng = self.rng
        before_s, after_s = rng.random() / 200, rng.random() / 200
        if self.slowness and rng.random() < self.slowness:
            before_s += rng.expovariate(0.5)
            self.happened["slow call"] += 1
        if self.trouble and rng.random() < self.trouble:
            fate = rng.choice(FATES)
            self.happened[f"call {fate}"] += 1
            return Course(fate, before_s, after_s, rng.expovariate(1 / 20))
        return Course("ok", before_s, after_s, 0.0)

    def strikes(self, what: Literal["torn", "repeated", "gaps", "deaf"]) -> bool:
        """Whether it happens now."""
        probability: float = getattr(self, what)
        return bool(probability) and self.rng.random() < probability
