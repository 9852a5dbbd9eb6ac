"""From a decision to what the platform shows: intents, receipts, tasks, retries."""

from __future__ import annotations

from stream.core.speed import ORIGINAL
from tests.enforcement.speeds import mbit
from tests.enforcement.world import World, live

ONE = "vm1/1"


def test_a_decision_reaches_the_platform_and_is_written_down() -> None:
    """The lesser of due and original is posted once, and a receipt says that the platform shows it."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50))
        state = await world.stored(ONE)
        assert state is not None
        assert state.original == mbit(1000)
        assert [(receipt.result, receipt.wanted) for receipt in state.receipts] == [("applied", mbit(50))]
        await world.quiet(1000)
        assert len(world.platform.posts) == 1

    live(scenario)


def test_a_return_to_original_gives_back_what_was_there() -> None:
    """`original` is the speed from before the first intent."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(300, None))
        world.start()
        for speed in (mbit(50), mbit(25), ORIGINAL):
            await world.decided(ONE, speed)
            await world.shows(ONE, mbit(300, None) if speed == ORIGINAL else speed)
        assert world.observed.results["applied"] == 3

    live(scenario)
