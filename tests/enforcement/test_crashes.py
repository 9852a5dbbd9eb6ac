"""Killed at any point and started again, the enforcer ends at the last revision, and no slow speed is an original."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import count

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.core.speed import ORIGINAL, Speed
from tests.enforcement.platform import Call, Effect
from tests.enforcement.speeds import SLOWER, mbit
from tests.enforcement.world import START_MS, AuditedLog, World

BAD_POSTS: Sequence[Effect] = ("unanswered", "unavailable", "late", "task fails", "unanswered", "late")


class Deadly(World):
    """A world in which the enforcer dies at the k-th time that it calls the log or the platform."""

    def __init__(self, clock: WarpClock, dies_at: int | None) -> None:
        super().__init__(clock)
        self.log = DeadlyLog(self)
        self.platform.at_call = self._at_call
        self.points = 0
        """How many points there were at which it could have died."""
        self._dies_at = dies_at
        self.dead = asyncio.Event()

    async def _at_call(self, call: Call) -> None:
        await self.point()

    async def point(self) -> None:
        """Here it may die: nothing that it does afterwards is done."""
        task = asyncio.current_task()
        if task is None or not self._running or not _belongs_to_enforcer(task):
            return
        self.points += 1
        if self.points == self._dies_at:
            self.dead.set()
            self._running[-1][0].cancel()
        await asyncio.sleep(0)

    async def reaper(self) -> None:
        """A while after its death it is started again."""
        await self.dead.wait()
        await self.kill()
        await asyncio.sleep(7)
        self.start()


class DeadlyLog(AuditedLog):
    """Each effect of it is a point to die, before and after."""

    def __init__(self, world: Deadly) -> None:
        super().__init__(world.clock)
        self._world = world

    async def _delay(self) -> None:
        await self._world.point()


def _belongs_to_enforcer(task: asyncio.Task[object]) -> bool:
    return task.get_name().startswith(("enforcer-", "enforce-", "ledger", "tail", "compare-", "list-"))


async def story(world: Deadly) -> dict[str, Speed]:
    """Three services live through a few hours; returns what the platform has to show in the end."""
    services = {"vm1/1": mbit(1000), "vm1/2": mbit(400, None), "vm1/3": mbit(None)}
    for service, original in services.items():
        await world.registered(service, original, mbit(100))
    world.start()
    steps: list[tuple[str, Speed]] = [
        ("vm1/1", mbit(50)),
        ("vm1/2", mbit(25)),
        ("vm1/1", mbit(25)),
        ("vm1/3", mbit(10, None)),
        ("vm1/1", ORIGINAL),
        ("vm1/2", mbit(10)),
        ("vm1/3", ORIGINAL),
        ("vm1/1", mbit(10)),
    ]
    for service, speed in steps:
        await world.decided(service, speed)
        await asyncio.sleep(9)
    await world.deregistered("vm1/3")
    await asyncio.sleep(20)
    await world.decided("vm1/2", mbit(100), "registered")
    await asyncio.sleep(10)
    await world.decided("vm1/2", mbit(25))
    return {"vm1/1": mbit(10), "vm1/2": mbit(25), "vm1/3": mbit(None)}


def run(dies_at: int | None, effects: Sequence[Effect], task_s: float) -> tuple[int, int]:
    """One world.  Returns how many points there were to die at, and how many posts it took."""

    async def main(clock: WarpClock) -> tuple[int, int]:
        world = Deadly(clock, dies_at)
        world.platform.task_s = task_s
        world.platform.effects["set_speed"].extend(effects)
        reaper = asyncio.create_task(world.reaper())
        try:
            expected = await story(world)
            await asyncio.sleep(2000)
            assert world.platform.limits == expected
            assert world.violations == []
            await judge(world)
        finally:
            reaper.cancel()
            await asyncio.wait({reaper})
            await world.kill()
        return world.points, len(world.platform.posts)

    return run_warped(main, start_ms=START_MS)


async def judge(world: World) -> None:
    """What is written down is true: the originals, and that the platform shows what was asked for."""
    originals = {"vm1/1": mbit(1000), "vm1/2": mbit(400, None), "vm1/3": mbit(None)}
    for service, original in originals.items():
        state = await world.stored(service)
        assert state is not None
        assert (state.original, state.settled) == (original, True)
        assert state.original not in SLOWER


@pytest.mark.parametrize(
    ("effects", "task_s"), [((), 0.0), ((), 3.0), (BAD_POSTS, 3.0)], ids=["at once", "by tasks", "with bad luck"]
)
def test_it_may_die_at_every_call_it_makes(effects: Sequence[Effect], task_s: float) -> None:
    """Once at each, over the whole story, and started again seven seconds later."""
    points, _ = run(None, effects, task_s)
    assert points > 100
    for dies_at in range(1, points + 1):
        try:
            run(dies_at, effects, task_s)
        except AssertionError as error:
            raise AssertionError(f"died at {dies_at} of {points}") from error


def test_it_may_die_again_and_again() -> None:
    """Seeded lives of a few calls each."""
    for seed in range(30):
        rng = random.Random(seed)

        async def main(clock: WarpClock, rng: random.Random = rng) -> None:
            world = Deadly(clock, None)
            world.platform.task_s = rng.choice([0.0, 3.0])
            telling = asyncio.create_task(story(world))
            for _ in count():
                await asyncio.sleep(rng.choice([0.0, 0.5, 3.0, 15.0]))
                if telling.done():
                    break
                if world._running:
                    await world.restart()
            await asyncio.sleep(2000)
            assert world.platform.limits == telling.result()
            assert world.violations == []
            await judge(world)
            await world.kill()

        try:
            run_warped(main, start_ms=START_MS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
