"""The enforcer against the simulated VMmanager, through the real adapter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from stream.adapters.clock import WarpClock
from stream.core.speed import ORIGINAL, Speed
from stream.simulator import Knobs
from stream.simulator.faults import Effect
from tests.enforcement.speeds import mbit
from tests.enforcement.world import World
from tests.vmmanager.rig import Rig, warped

Limits = tuple[int | None, int | None]


class Installation(World):
    """A simulated VMmanager with a few machines, and an enforcer for it."""

    def __init__(self, clock: WarpClock, knobs: Knobs) -> None:
        super().__init__(clock)
        self.rig = Rig(clock, knobs, unlimited=knobs.unlimited)

    async def machine(self, in_mbitps: int | None, out_mbitps: int | None, due: Speed = ORIGINAL) -> int:
        """A new machine, registered."""
        number = self.rig.world.create(habit="silent", limits=(in_mbitps, out_mbitps))
        await self.decided(f"vm1/{number}", due, "registered")
        return number

    async def has(self, number: int, limits: Limits, *, within_s: float = 120.0) -> None:
        """Wait until the machine obeys these limits and that is written down."""

        async def so() -> bool:
            state = await self.stored(f"vm1/{number}")
            return self.rig.world.limits(number) == limits and (state is None or state.settled)

        await self.until(so, within_s=within_s)

    def posts(self) -> int:
        return sum(1 for _, call, _ in self.rig.app.calls if call.path.endswith("/resource"))


def installed(scenario: Callable[[Installation], Awaitable[None]], knobs: Knobs | None = None) -> None:
    async def main(clock: WarpClock) -> None:
        world = Installation(clock, knobs or Knobs())
        world.start(world.rig.platform)
        try:
            await scenario(world)
        finally:
            await world.kill()
            await world.rig.platform.close()

    warped(main)


@pytest.mark.parametrize(
    "knobs",
    [Knobs(), Knobs(immediate=True), Knobs(unlimited=None), Knobs(task_ms=100_000), Knobs(task_absent_ms=60_000)],
    ids=["tasks", "immediate", "null", "slow tasks", "absent tasks"],
)
def test_limits_are_set_and_given_back(knobs: Knobs) -> None:
    """Whole Mbit/s, at least one; "unlimited" as the platform writes it; one post for each change."""

    async def scenario(world: Installation) -> None:
        one = await world.machine(1000, 300)
        two = await world.machine(None, None)
        await world.decided(f"vm1/{one}", mbit(400))
        await world.decided(f"vm1/{two}", Speed(10_900_000, 300_000))
        await world.has(one, (400, 300), within_s=300)
        await world.has(two, (10, 1), within_s=300)
        await world.decided(f"vm1/{one}", ORIGINAL)
        await world.decided(f"vm1/{two}", ORIGINAL)
        await world.has(one, (1000, 300), within_s=300)
        await world.has(two, (None, None), within_s=300)
        await world.quiet(700)
        assert (world.posts(), world.observed.findings) == (4, {})

    installed(scenario, knobs)


def test_a_machine_at_work_is_asked_again_soon() -> None:
    """A machine that refuses as long as somebody's task of three minutes runs is not left alone for an hour."""

    async def scenario(world: Installation) -> None:
        machines = [await world.machine(1000, 300) for _ in range(6)]
        await world.quiet(10)
        for one in machines:
            world.rig.world.order(one, {"net_in_mbitps": 900}, by="somebody", takes_ms=180_000)
            await world.decided(f"vm1/{one}", mbit(50))
        for one in machines:
            await world.has(one, (50, 50), within_s=700)
        assert (world.observed.results["refused"], world.observed.results["failed"]) == (0, 0)
        assert world.observed.breakers == [], "the platform does answer: whoever else has to be asked need not wait"

    installed(scenario, Knobs(busy="refuse"))


def test_somebody_else_at_the_panel_is_seen() -> None:
    """Repaired while throttled, and what he set is there after the return."""

    async def scenario(world: Installation) -> None:
        one = await world.machine(1000, 1000, mbit(50))
        await world.has(one, (50, 50))
        world.rig.world.set_limits(one, 200, 200)
        await world.quiet(320)
        await world.has(one, (50, 50))
        assert world.observed.findings == {"foreign": 1}
        await world.decided(f"vm1/{one}", ORIGINAL)
        await world.has(one, (200, 200))

    installed(scenario)


def test_a_suspended_platform_that_has_also_lost_our_token_is_no_obstacle() -> None:
    """It is woken, and logged in to again."""

    async def scenario(world: Installation) -> None:
        one = await world.machine(1000, 1000)
        await world.quiet(10)
        world.rig.app.sleep(6)
        world.rig.app.faults.inject("lose_tokens", times=1)
        await world.decided(f"vm1/{one}", mbit(50))
        await world.has(one, (50, 50), within_s=400)

    installed(scenario)


STORM: Sequence[Effect] = (
    "unavailable",
    "server_error",
    "rate_limit",
    "lose_tokens",
    "unanswered",
    "reset",
    "html",
    "truncated",
    "wrong_types",
    "half_list",
    "task_fails",
    "task_forgotten",
    "task_endless",
)


@pytest.mark.parametrize("seed", range(5))
def test_after_a_stormy_night_everything_is_as_due(seed: int) -> None:
    """Every fault the simulator knows, decisions in between, and an enforcer that is killed now and then."""

    async def scenario(world: Installation) -> None:
        rng = random.Random(seed)
        originals: list[Limits] = [(1000, 1000), (None, None), (300, None), (70, 40), (500, 120)]
        machines = {await world.machine(*limits): limits for limits in originals}
        for effect in STORM:
            world.rig.app.faults.inject(effect, percent=7)
        due = dict.fromkeys(machines, ORIGINAL)
        for _ in range(60):
            number = rng.choice(list(machines))
            due[number] = rng.choice([mbit(100), mbit(50), mbit(25), mbit(10), ORIGINAL])
            await world.decided(f"vm1/{number}", due[number])
            await asyncio.sleep(rng.choice([1.0, 20.0, 120.0]))
            if rng.random() < 0.1:
                await world.kill()
                world.start(world.rig.platform)
        world.rig.app.faults.clear()
        await asyncio.sleep(900)
        for number, (in_, out) in machines.items():
            limits = due[number].least(mbit(in_, out))
            assert world.rig.world.limits(number) == tuple(None if it is None else it // 1_000_000 for it in limits)
        assert len(world.rig.app.faults.struck) > 8

    installed(scenario)
