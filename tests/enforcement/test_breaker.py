"""The circuit breaker, alone and around a platform that is down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.core.errors import Busy, QuotaStreamError, Refused, Unavailable
from stream.runtime.breaker import Breaker, BreakerState
from stream.runtime.worker import Backoff
from tests.enforcement.speeds import mbit
from tests.enforcement.world import World, live


class Line:
    """A breaker before a line that is up or down, and what happened on it."""

    def __init__(self) -> None:
        self.down = True
        self.calls: list[float] = []
        self.states: list[BreakerState] = []
        backoff = Backoff(random=random.Random(1), first_s=10.0, limit_s=100.0)
        self.breaker = Breaker(backoff, failures=3, changed=lambda state, retry_in_s: self.states.append(state))

    async def call(self, operation: Callable[[], Awaitable[str]] | None = None) -> str:
        return await self.breaker.call(operation or self._answer)

    async def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(Unavailable):
                await self.call()

    async def _answer(self) -> str:
        self.calls.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        if self.down:
            raise Unavailable("down")
        return "up"


def on_a_line(scenario: Callable[[Line], Awaitable[None]]) -> None:
    async def main(clock: WarpClock) -> None:
        await scenario(Line())

    run_warped(main, start_ms=0)


def test_it_opens_after_repeated_failures_and_then_lets_one_call_through_at_a_time() -> None:
    """The waits between the probes grow; all who wait go on when one succeeds."""

    async def scenario(line: Line) -> None:
        await line.fail(3)
        waiting = [asyncio.create_task(line.call()) for _ in range(5)]
        await asyncio.sleep(70)
        probes = line.calls[3:]
        assert 2 <= len(probes) <= 4
        gaps = [later - earlier for earlier, later in zip(line.calls[2:], probes, strict=False)]
        assert gaps == sorted(gaps)
        line.down = False
        await asyncio.wait(waiting)
        results = [task.exception() or task.result() for task in waiting]
        assert results.count("up") == 5 - len(probes)
        assert line.states[:3] == ["open", "half_open", "open"]
        assert line.states[-2:] == ["half_open", "closed"]

    on_a_line(scenario)


def test_failures_count_only_in_a_row() -> None:
    """One success, and counting begins anew."""

    async def scenario(line: Line) -> None:
        for _ in range(3):
            await line.fail(2)
            line.down = False
            assert await line.call() == "up"
            line.down = True
        assert line.states == []

    on_a_line(scenario)


@pytest.mark.parametrize("answer", [Refused, Busy])
def test_a_no_is_an_answer(answer: type[QuotaStreamError]) -> None:
    """It closes the breaker, and passes through."""

    async def scenario(line: Line) -> None:
        async def refuse() -> str:
            raise answer("no")

        await line.fail(3)
        with pytest.raises(answer):
            await line.call(refuse)
        assert line.states == ["open", "half_open", "closed"]

    on_a_line(scenario)


def test_a_probe_that_is_cancelled_leaves_the_place_to_the_next() -> None:
    """Nothing was learnt."""

    async def scenario(line: Line) -> None:
        await line.fail(3)
        probe = asyncio.create_task(line.call())
        await asyncio.sleep(11.5)
        probe.cancel()
        await asyncio.wait({probe})
        line.down = False
        assert await line.call() == "up"

    on_a_line(scenario)


def test_a_platform_that_is_down_is_left_in_peace_and_nothing_is_lost() -> None:
    """Hundreds of services do not hammer at it; when it is back they are all made as due, within minutes."""

    async def scenario(world: World) -> None:
        for number in range(200):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10))
        world.platform.down = True
        world.start()
        await world.quiet(6 * 3600)
        assert len(world.platform.calls) < 400
        assert "open" in world.observed.breakers
        world.platform.down = False
        await world.until(lambda: set(world.platform.limits.values()) == {mbit(10)}, within_s=700)
        assert world.observed.breakers[-1] == "closed"

    live(scenario)


def test_a_platform_that_hangs_is_a_platform_that_is_down() -> None:
    """Every call has a deadline."""

    async def scenario(world: World) -> None:
        await world.registered("vm1/1", mbit(1000), mbit(10))
        world.platform.effects["list"].extend(["hangs"] * 3)
        world.platform.effects["set_speed"].extend(["hangs"] * 3)
        world.start()
        await world.shows("vm1/1", mbit(10), within_s=7200)

    live(scenario)
