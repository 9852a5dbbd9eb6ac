"""One world from its seed to its report: whatever happens in it, the report comes."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stream.adapters.clock import WarpClock, run_warped
from tests.simulation.world import World

Kind: TypeAlias = Literal["log", "whole"]

LONGEST_S = 7200.0
"""Of virtual time: a world that has not ended by then hangs."""

LONGEST_CPU_S = 120.0
"""Of the processor's time, so that a busy machine is not taken for a world that hangs."""

AGAIN_S = 5.0
"""After so much more, whatever still goes on is interrupted."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one world was like.  Two of one seed are equal in everything."""

    seed: int
    kind: Kind
    violations: tuple[str, ...] = ()
    """One sentence each; none: all is well."""
    faults: Counter[str] = field(default_factory=Counter)
    """What the weather brought, by kind."""
    happened: Counter[str] = field(default_factory=Counter)
    """What came of it: deltas, decisions by reason, checkpoints and so on."""
    seconds: float = 0.0
    """Of virtual time."""
    trace: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class OutOfTime(KeyboardInterrupt):
    """The world took too long and could not be cancelled; of this class, because no loop keeps it to itself."""


def reported(
    seed: int,
    kind: Kind,
    make: Callable[[WarpClock], World],
    play: Callable[[World], Awaitable[Counter[str]]],
    *,
    start_ms: int,
    longest_s: float = LONGEST_S,
) -> Report:
    """`make` the world on its own loop and `play` in it what is to happen, the audit included.

    What it raises is a violation of its own.  What `play` returns is what `happened`; what must not be is in
    `World.violations`.
    """
    made: list[World] = []
    broken: list[str] = []

    async def main(clock: WarpClock) -> Counter[str]:
        world = make(clock)
        made.append(world)
        try:
            with _within(LONGEST_CPU_S):
                async with asyncio.timeout(longest_s):
                    return await play(world)
        finally:
            seconds.append(asyncio.get_running_loop().time())
            await world.bury()

    seconds = [0.0]
    happened: Counter[str] = Counter()
    try:
        happened = run_warped(main, start_ms=start_ms, grace_s=0.0)
    except (Exception, asyncio.CancelledError, OutOfTime) as error:
        broken.append("".join(traceback.format_exception(error)))
    return Report(
        seed=seed,
        kind=kind,
        violations=(*(each for world in made for each in world.violations), *broken),
        faults=made[0].weather.happened if made else Counter(),
        happened=happened,
        seconds=seconds[-1],
        trace=tuple(line for world in made for line in world.trace.lines(since_ms=start_ms)),
    )


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Cancels this task, of the main thread, when it takes longer; raises OutOfTime where that is not enough."""
    task = asyncio.current_task()
    assert task is not None
    told = f"the world has not ended within {seconds} s of CPU time"

    def ring(*_: object) -> None:
        if task.cancelling():
            raise OutOfTime(told)
        task.cancel(told)

    former = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
