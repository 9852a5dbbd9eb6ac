"""The notifier dies before each of its steps in turn, as at a power cut, and its successors at one that is drawn.

start    begun                    down  up                    a problem   over
--|--------|----1-2-3-1-2-3---------|----|---1-2-3-1-2-3----------|---------|-----> everything told
  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x  x    the first dies at one of them
"""

from __future__ import annotations

import asyncio
import random

import pytest

from stream.ports import STATE
from stream.runtime.notifier import KEY
from tests.notices.world import World, live
from tests.simulation.process import Process, task_factory

SERVICES = ("vm1/1", "vm1/2", "vm1/3")
PROBLEM = "brake/vm1"
LIVES = 4
"""So many die; the next one lives."""
PARTS = 8


class Lives:
    """A process that is started again whenever it has died."""

    def __init__(self, world: World, first_step: int, seed: int) -> None:
        self._world = world
        self._rng = random.Random(seed)
        self._steps = [first_step, *(self._rng.randrange(1, 200) for _ in range(LIVES - 1))]
        self.processes: list[Process] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.keeper = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            process = Process(f"notifier.{len(self.processes)}")
            process.halt_at = self._steps[len(self.processes)] if len(self.processes) < LIVES else None
            self.processes.append(process)
            self._tasks.append(process.start(self._world.process(asyncio.Event())))
            await process.died.wait()
            await asyncio.sleep(self._rng.choice([0, 0.1, 1.0]))

    async def end(self) -> None:
        self.keeper.cancel()
        for process, task in zip(self.processes, self._tasks, strict=True):
            process.bury()
            task.cancel()
        await asyncio.wait(self._tasks)


async def told_whatever_dies(world: World) -> None:
    """What was decided since the notifier's place is known is told, in order for each service; nothing of before."""
    ids: list[str] = []

    async def decided(times: int) -> None:
        for _ in range(times):
            ids.extend([await world.decided(service) for service in SERVICES])
            await asyncio.sleep(0.03)

    async with asyncio.timeout(600):
        while KEY not in await world.log.snapshot(STATE, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await decided(2)
    world.inbox.down = True
    await decided(1)
    world.inbox.down = False
    await decided(2)
    world.problems = {PROBLEM: "vm1: too many would be slowed at once"}
    await world.until(lambda: any(id.endswith("/raised") for id in world.inbox.ids), within_s=1000)
    world.problems = {}
    await world.told(*ids, within_s=1000)
    await world.until(lambda: any(id.endswith("/over") for id in world.inbox.ids), within_s=1000)
    for service in SERVICES:
        assert [id for id in world.inbox.ids if id.startswith(f"{service}/")] == [
            id for id in ids if id.startswith(f"{service}/")
        ]
    alarms = [id for id in world.inbox.ids if id.startswith(PROBLEM)]
    assert [id.rpartition("/")[2] for id in alarms] == ["raised", "over"]
    assert len({id.rpartition("/")[0] for id in alarms}) == 1
    assert set(world.inbox.ids) == {*ids, *alarms}


def lived(step: int) -> bool:
    """Whether the first one died before that step of its own."""
    died: list[bool] = []

    async def scenario(world: World) -> None:
        asyncio.get_running_loop().set_task_factory(task_factory)
        for service in SERVICES:
            await world.decided(service)
        world.alarm_after_ms = 1
        lives = Lives(world, step, seed=step)
        try:
            await told_whatever_dies(world)
        except BaseException as error:
            error.add_note(f"the first one died before its step {step}")
            raise
        finally:
            died.append(lives.processes[0].state == "dead")
            await lives.end()

    live(scenario)
    return died[0]


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_before_each_step(part: int) -> None:
    """Nothing is lost, nothing comes out of order, no alarm has two ids, nothing from before the first start comes."""
    step = 1 + part
    while lived(step):
        step += PARTS
