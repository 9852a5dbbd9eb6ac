"""Taking a partition over: what is restored, what is fenced, and what a zombie can still do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from stream.core.speed import ORIGINAL, Speed
from stream.ports import CHANGES
from tests.enforcement.platform import MemoryPlatform
from tests.enforcement.speeds import mbit
from tests.enforcement.world import World, live

ONE = "vm1/1"


def test_what_was_decided_while_no_enforcer_ran_is_made_so_at_the_start() -> None:
    """It is restored from the tracker's state, without reading the old decisions."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        for speed in (mbit(50), mbit(25), mbit(10)):
            await world.decided(ONE, speed)
        world.start()
        await world.shows(ONE, mbit(10))
        assert [post.speed for post in world.platform.posts] == [mbit(10)]

    live(scenario)


def test_a_platform_that_does_not_answer_at_the_start_is_asked_again_soon() -> None:
    """What was decided before it does not wait for the next comparison, minutes later; one that stays away can rest."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        await world.decided(ONE, mbit(50))
        world.platform.effects["list"] += ["unavailable", "refused"]
        world.start()
        await world.shows(ONE, mbit(50), within_s=10)
        world.platform.down = True
        asked = world.platform.count("list")
        await world.quiet(3600)
        assert world.platform.count("list") - asked < 40

    live(scenario)


def test_a_decision_that_comes_while_the_state_is_read_is_not_missed() -> None:
    """The end of the decisions is looked up before the state is read, and they are followed from there."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        read = world._load_due

        async def read_and_decide(partition: int) -> list[tuple[str, int, int, Speed]]:
            due = await read(partition)
            await world.decided(ONE, mbit(50))
            return due

        world.load_due = read_and_decide
        world.start()
        await world.shows(ONE, mbit(50))

    live(scenario)


def test_a_log_that_leaves_a_read_unanswered_is_asked_again() -> None:
    """Whoever waits for ever for its answer never hears of a decision again."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.quiet(5)
        world.log.read_s = 1e9
        await world.decided(ONE, mbit(50))
        await world.quiet(60)
        world.log.read_s = 0
        await world.shows(ONE, mbit(50), within_s=100)

    live(scenario)


def test_a_state_that_lacks_what_is_shown_already_is_not_begun_with() -> None:
    """A broker that has lost the lead gives an old one; the decisions that it lacks would be waited for in vain."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        fresh, old = world.load_due, list(await world.load_due(0))
        await world.decided(ONE, mbit(50))
        asked = 0

        async def load_due(partition: int) -> list[tuple[str, int, int, Speed]]:
            nonlocal asked
            asked += 1
            return old if asked < 3 else list(await fresh(partition))

        world.load_due = load_due
        world.start()
        await world.shows(ONE, mbit(50))
        assert asked >= 3

    live(scenario)


def test_old_decisions_are_not_carried_out_again() -> None:
    """Neither those of before the start nor those that a tracker shows once more."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        await world.decided(ONE, mbit(50))
        await world.decided(ONE, mbit(25))
        world.start()
        await world.shows(ONE, mbit(25))
        await world.show(ONE, 1, 2, mbit(50))
        await world.show(ONE, 1, 3, mbit(25))
        await world.show(ONE, 0, 99, mbit(10))
        await world.quiet(700)
        assert [post.speed for post in world.platform.posts] == [mbit(25)]

    live(scenario)


def test_an_old_decision_is_not_carried_out_on_a_service_that_was_never_touched() -> None:
    """The newest one is known from the tracker's state, though nothing had to be posted for it."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(10))
        await world.decided(ONE, ORIGINAL)
        world.start()
        await world.quiet(10)
        await world.show(ONE, 1, 1, mbit(10))
        await world.quiet(700)
        assert world.platform.posts == []

    live(scenario)


def test_the_decisions_among_which_controls_are_looked_for_are_not_carried_out() -> None:
    """They are older than the tracker's state, which does not even know the service any more."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        await world.decided(ONE, mbit(10))
        for _ in range(11):
            await world.append(b"x" * 400_000)  # what follows comes with a later fetch
        world.log.read_s = 20.0
        await world.deregistered(ONE)
        world.start()
        await world.quiet(700)
        assert world.platform.posts == []

    live(scenario)


def test_a_partition_is_served_without_the_others() -> None:
    """Each has an owner, a tail and records of its own; the lists are shared."""

    async def scenario(world: World) -> None:
        services = [f"vm1/{number}" for number in range(20)]
        for service in services:
            await world.registered(service, mbit(1000))
        world.start()
        await world.quiet(1)
        assert world.platform.count("list") <= 2
        for service in services:
            await world.decided(service, mbit(50))
        for service in services:
            await world.shows(service, mbit(50))
        lists = world.platform.count("list")
        await world.quiet(3000)
        assert world.platform.count("list") - lists <= 20  # ten comparisons of four partitions

    live(scenario, partitions=4)


def test_a_killed_enforcer_is_continued_by_the_next_one() -> None:
    """What was asked for and not confirmed is looked at in the list, and not posted again if it is there."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 100
        world.start()
        await world.decided(ONE, mbit(50))
        await world.until(lambda: bool(world.platform.posts))
        await world.kill()
        await world.quiet(200)
        world.start()
        await world.shows(ONE, mbit(50))
        state = await world.stored(ONE)
        assert state is not None
        assert (state.original, len(world.platform.posts)) == (mbit(1000), 1)

    live(scenario)


def test_a_list_of_before_the_take_over_is_not_used() -> None:
    """Another owner may have written since; the same process's older list would look like a foreign writer."""

    async def scenario(world: World) -> None:
        world.pace = replace(world.pace, list_age_s=3600)
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.quiet(10)
        elsewhere = asyncio.create_task(world.elsewhere())
        await world.quiet(10)
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50))
        elsewhere.cancel()
        await asyncio.wait({elsewhere})
        await world.quiet(600)  # the first one has been fenced, and takes over again
        assert world.observed.findings == {}

    live(scenario)


def test_a_zombie_can_neither_write_nor_post_an_older_revision_for_good() -> None:
    """Its late post is recognised as ours and repaired; its next write is fenced, and it begins anew."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        held, go_on = asyncio.Event(), asyncio.Event()
        zombie_platform = Through(world.platform, held, go_on)
        world.start(zombie_platform)
        await world.decided(ONE, mbit(50))
        await held.wait()  # the intent is durable, the post is on its way
        world.start()
        await world.quiet(10)
        await world.decided(ONE, ORIGINAL)
        await world.shows(ONE, mbit(1000))
        go_on.set()
        await world.until(lambda: world.platform.limits[ONE] == mbit(50))
        await world.shows(ONE, mbit(1000), within_s=310)
        await world.quiet(1000)
        assert world.platform.limits[ONE] == mbit(1000)
        state = await world.stored(ONE)
        assert state is not None
        assert state.original == mbit(1000)

    live(scenario)


class Through(MemoryPlatform):
    """The same machines, reached over a line on which the first post is held up."""

    def __init__(self, other: MemoryPlatform, held: asyncio.Event, go_on: asyncio.Event) -> None:
        super().__init__(other._clock)
        self.limits, self.posts, self.before_post = other.limits, other.posts, other.before_post
        self._held, self._go_on = held, go_on

    async def set_speed(self, service: str, speed: Speed) -> str | None:
        self._held.set()
        await asyncio.shield(self._go_on.wait())
        self.limits[service] = speed
        return None


def test_a_log_that_fails_is_taken_over_again() -> None:
    """Any error of a write drops the partition; nothing is repaired by halves."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.quiet(1)
        world.log.slow_s = [3600.0, 0.0]  # the broker does not answer
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50), within_s=120)

    live(scenario)


def test_an_orderly_stop_leaves_nothing_running() -> None:
    """Also in the middle of an errand."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 100
        world.start()
        await world.decided(ONE, mbit(50))
        await world.until(lambda: bool(world.platform.posts))
        await world.stop()
        running = {task.get_name() for task in asyncio.all_tasks()}
        assert not any(name.startswith(("enforce", "ledger", "tail", "compare")) for name in running)

    live(scenario)


def test_a_position_that_the_log_no_longer_keeps_is_no_obstacle() -> None:
    """The controls in between are lost, and that is said; decisions come from the state anyway."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.quiet(1)
        await world.stop()
        await world.quiet(500 * 86_400)
        await world.decided(ONE, mbit(50))
        first, _ = await world.log.bounds(CHANGES, 0)
        assert first > 0
        world.start()
        await world.shows(ONE, mbit(50))

    live(scenario)
