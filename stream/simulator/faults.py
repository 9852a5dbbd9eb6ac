"""What goes wrong, when and how often: changed while the platform runs, repeatable from a seed.

faults.inject("unavailable", percent=5)                                   # one in twenty calls: 503
faults.inject("unanswered", call=r"POST .*/resource", times=1)            # done, but nobody hears of it
faults.inject("server_error", call=r"/host/101/metrics", until=...)       # one VM's metrics fail
faults.hide(start=..., end=..., until=..., vm=101)                        # points that appear late, or never
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from stream.core.errors import Rejected
from stream.simulator.habits import Int64s
from stream.simulator.machine import Machine

Before: TypeAlias = Literal["unavailable", "refused", "unread", "server_error", "rate_limit", "lose_tokens"]
"""Nothing is done: 503, no connection, no answer ever, 500, 429, all logins void (which is then said)."""

After: TypeAlias = Literal["unanswered", "reset", "slow", "html", "truncated", "wrong_types", "bare_error", "half_list"]
"""The work is done, but: no answer ever, connection lost, an answer `delay_s` later, a page of HTML, half of the JSON,
other types than usual, an error without `error`, a list that lacks half of the rows (always the same half)."""

OnTask: TypeAlias = Literal["task_fails", "task_forgotten", "task_endless"]
"""A change of limits fails; is done but leaves no record; never ends."""

Effect: TypeAlias = Before | After | OnTask

BEFORE: Sequence[Before] = get_args(Before)
AFTER: Sequence[After] = get_args(After)
ON_TASK: Sequence[OnTask] = get_args(OnTask)


@dataclass(slots=True, eq=False)
class Fault:
    """Strikes calls (`METHOD /path`) that the regular expression is found in, `percent` of them, at most `times`
    times, from `since` until `until` (ms of the world)."""

    effect: Effect
    call: str = ""
    percent: int = 100
    times: int | None = None
    since: int = 0
    until: int | None = None
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.effect not in (*BEFORE, *AFTER, *ON_TASK):
            raise Rejected(f"no such effect: {self.effect}")
        re.compile(self.call)


class Hidden(NamedTuple):
    """The points of `[start, end)` cannot be read before `until` (None: ever)."""

    start: int
    end: int
    until: int | None
    vm: int | None


@dataclass(slots=True)
class Faults:
    seed: int = 0
    active: list[Fault] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    """How often each effect has happened."""
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def inject(
        self,
        effect: Effect,
        *,
        call: str = "",
        percent: int = 100,
        times: int | None = None,
        since: int = 0,
        until: int | None = None,
        delay_s: float = 0.0,
    ) -> Fault:
        """The fault, to be given to `remove` when it has had its day.  Of several that fit, the first one strikes."""
        fault = Fault(effect, call, percent, times, since, until, delay_s)
        self.active.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        self.active.remove(fault)

    def hide(self, *, start: int, end: int, until: int | None = None, vm: int | None = None) -> None:
        """Points (of one VM, or of all) that appear late, or that are lost for ever."""
        self.hidden.append(Hidden(start, end, until, vm))

    def clear(self) -> None:
        """All is well again; what has been counted stays."""
        self.active.clear()
        self.hidden.clear()

    def strike(self, call: str, now: int, effects: Sequence[Effect]) -> Fault | None:
        """The fault among these effects that hits this call, if any."""
        for fault in self.active:
            if (
                fault.effect in effects
                and fault.times != 0
                and fault.since <= now
                and (fault.until is None or now < fault.until)
                and re.search(fault.call, call)
                and (fault.percent >= 100 or self.random.randrange(100) < fault.percent)
            ):
                if fault.times is not None:
                    fault.times -= 1
                self.struck[fault.effect] += 1
                return fault
        return None

    def hides(self, machine: Machine, starts_ms: Int64s, now: int) -> NDArray[np.bool_]:
        """Which of the points of these steps cannot be read now."""
        marks = np.zeros(len(starts_ms), np.bool_)
        for one in self.hidden:
            if one.vm in (None, machine.id) and (one.until is None or now < one.until):
                marks |= (one.start <= starts_ms) & (starts_ms < one.end)
        return marks
