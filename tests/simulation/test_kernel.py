"""What the simulated worlds stand on: processes that halt at any await, a log that keeps the contract, a group."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.core.errors import Fenced, Unavailable
from stream.ports import CHANGES, STATE, Message
from tests.adapters.embedded import EmbeddedContract
from tests.adapters.world import PARTITIONS, START_MS, EmbeddedWorld, SettableClock, messages
from tests.simulation.broker import Broker
from tests.simulation.client import Client
from tests.simulation.coordinator import SESSION_S, Coordinator
from tests.simulation.process import Process, task_factory
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from tests.simulation.world import World

Scenario = Callable[[World], Awaitable[None]]


def live(scenario: Scenario) -> World:
    """A scenario in a world of its own."""

    async def main(clock: WarpClock) -> World:
        world = World(1, clock, Weather(random.Random(1)), partitions=2)
        await scenario(world)
        await world.bury()
        return world

    return run_warped(main, start_ms=START_MS, grace_s=0.0)


class TestClient(EmbeddedContract):
    """In calm weather the simulated log keeps the contract of all logs."""

    @pytest.fixture
    async def world(self) -> AsyncIterator[EmbeddedWorld]:
        """Two clients of one broker."""
        clock, weather = SettableClock(), Weather(random.Random(1))
        broker, coordinator = Broker(clock, weather, partitions=PARTITIONS), Coordinator(weather, partitions=PARTITIONS)
        one, two = (Client(broker, coordinator, Process(name), weather, Trace(clock)) for name in ("one", "two"))
        yield EmbeddedWorld(one, two, clock)
        await broker.close()


# ---------------------------------------------------------------- processes


def test_a_killed_process_takes_no_further_step() -> None:
    """Neither what follows nor what is to be done finally; whatever it had asked for happens all the same."""
    done = []

    async def scenario(world: World) -> None:
        process = Process("mortal")
        log = world.connect(process)

        async def main() -> None:
            try:
                await log.append(CHANGES, 0, messages("asked for"))
                done.append("heard of it")
            finally:
                done.append("finally")

        process.start(main())
        await asyncio.sleep(0.001)
        process.kill()
        await asyncio.sleep(60)
        assert world.broker.extent(CHANGES, 0) == (0, 1)
        assert done == []

    live(scenario)


@pytest.mark.parametrize("halt_at", range(1, 9))
def test_a_process_dies_before_any_step(halt_at: int) -> None:
    """Counted over all of its tasks, also those that its tasks have made."""

    async def scenario(world: World) -> None:
        process, steps = Process("mortal"), []
        process.halt_at = halt_at

        async def walk(name: str) -> None:
            for number in range(3):
                steps.append((name, number))
                await asyncio.sleep(0)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for name in ("a", "b"):
                    group.create_task(walk(name))

        process.start(main())
        await asyncio.sleep(1)
        assert process.state == "dead"
        assert len(steps) == min(halt_at - 2, 6) if halt_at > 1 else not steps

    live(scenario)


def test_what_comes_to_a_process_that_stands_still_reaches_it_later() -> None:
    """An answer, a time-out, a cancellation: each exactly when it goes on."""

    async def scenario(world: World) -> None:
        loop, process, heard = asyncio.get_running_loop(), Process("slow"), []

        async def answered(answer: asyncio.Future[str]) -> None:
            heard.append((await answer, loop.time()))

        async def timed_out() -> None:
            try:
                async with asyncio.timeout(5):
                    await asyncio.Event().wait()
            except TimeoutError:
                heard.append(("time-out", loop.time()))

        async def cancelled() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(("cancelled", loop.time()))
                raise

        answer: asyncio.Future[str] = loop.create_future()
        tasks = [process.start(main) for main in (answered(answer), timed_out(), cancelled())]
        await asyncio.sleep(1)
        process.stop()
        answer.set_result("answer")
        tasks[2].cancel()
        await asyncio.sleep(20)
        assert heard == []
        process.go_on()
        await asyncio.wait(tasks)
        assert sorted(heard) == [("answer", 21.0), ("cancelled", 21.0), ("time-out", 21.0)]
        assert tasks[2].cancelled()

    live(scenario)


def test_a_host_starts_its_process_again() -> None:
    """After a kill, after an orderly end; not after it was closed.  What ends by itself with a defect is accused."""

    async def scenario(world: World) -> None:
        lives = []

        async def main(log: Client, rng: random.Random, stop: asyncio.Event) -> None:
            lives.append(rng.random())
            if len(lives) == 2:
                raise RuntimeError("a defect")
            await stop.wait()

        host = world.host("host", main)
        await asyncio.sleep(1)
        host.kill_soon(1)
        host.end()  # the step that it dies before
        await asyncio.sleep(60)
        host.end()
        await asyncio.sleep(60)
        await world.close()
        assert len(set(lives)) == len(lives) == 4
        assert [accused for accused in world.violations if "a defect" in accused] == world.violations != []

    live(scenario)


# ---------------------------------------------------------------- the log and the group at their worst


def test_a_write_that_comes_late_is_fenced() -> None:
    """It was on its way when another took over: it leaves no trace, whoever waits for it."""

    async def scenario(world: World) -> None:
        former, latter = world.connect(Process("former")), world.connect(Process("latter"))
        async with former.take_over("tracker", 0) as lease:
            world.weather.trouble, world.weather.rng = 1.0, _Always("late")
            writing = asyncio.create_task(lease.write(STATE, [Message(b"meta", b"late")]))
            await asyncio.sleep(0)
            world.weather.calm()
            async with latter.take_over("tracker", 0) as other:
                await asyncio.sleep(600)
                assert await other.snapshot(STATE) == {}
            writing.cancel()
            with pytest.raises(Fenced):
                await lease.write(STATE, [Message(b"meta", b"later")])

    live(scenario)


class _Always(random.Random):
    """Luck that always chooses the same."""

    def __init__(self, choice: str) -> None:
        super().__init__(1)
        self._choice = choice

    def choice(self, seq: object) -> str:  # type: ignore[override]
        return self._choice


def test_only_the_member_that_a_partition_is_assigned_to_takes_it_over() -> None:
    """A member that stood still is out after the session; woken up it is refused, and then joins again."""

    async def scenario(world: World) -> None:
        assigned: dict[str, frozenset[int]] = {}

        async def main(log: Client, rng: random.Random, stop: asyncio.Event) -> None:
            name = f"{id(log)}"
            async for mine in log.assignments("tracker"):
                assigned[name] = mine

        first = world.host("first", main)
        await asyncio.sleep(1)
        former = first.process
        assert former is not None
        log = world.connect(former)
        async with log.take_over("tracker", 0):
            pass
        former.stop()
        world.unheard(former)
        world.host("second", main)
        await asyncio.sleep(SESSION_S + 2)
        assert sorted(map(len, assigned.values())) == [2, 2]  # the zombie still believes in its own
        former.go_on()
        with pytest.raises(Unavailable):
            await log.take_over("tracker", 0).__aenter__()
        world.heard(former)
        await asyncio.sleep(60)
        assert frozenset.union(*assigned.values()) == {0, 1}
        assert sum(map(len, assigned.values())) == 2

    live(scenario)


def test_the_factory_leaves_other_tasks_alone() -> None:
    """Tasks of the world itself are plain tasks."""

    async def main() -> str:
        asyncio.get_running_loop().set_task_factory(task_factory)
        return await asyncio.create_task(asyncio.sleep(0, "done"))

    assert asyncio.run(main()) == "done"
