"""From a decision to what the platform shows: intents, tasks, lists, receipts, retries."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stream.core.speed import ORIGINAL
from stream.ports import ENFORCEMENTS
from stream.runtime.site import Pace
from tests.enforcement.platform import Effect
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
    """`original` is the speed from before the first intent; unlimited is one."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(300, None))
        world.start()
        for speed in (mbit(50), mbit(25), ORIGINAL):
            await world.decided(ONE, speed)
            await world.shows(ONE, mbit(300, None) if speed == ORIGINAL else speed)
        assert world.observed.results["applied"] == 3

    live(scenario)


def test_nothing_is_posted_unless_the_intent_is_durable() -> None:
    """If the log cannot take it, the platform hears nothing; when it can again, everything is made up for."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.log.refuses.add(ENFORCEMENTS)
        world.start()
        await world.decided(ONE, mbit(50))
        await world.quiet(120)
        assert world.platform.posts == []
        world.log.refuses.clear()
        await world.shows(ONE, mbit(50), within_s=120)

    live(scenario)


def test_an_intent_that_became_durable_too_slowly_is_written_again() -> None:
    """Whoever was held up may have lost the partition meanwhile, so it asks the fence anew before it posts."""

    async def scenario(world: World) -> None:
        for service in (ONE, "vm1/2"):
            await world.registered(service, mbit(1000))
        world.start()
        await world.quiet(10)
        world.log.slow_s = [25.0, 0.0, 25.0, 0.0]
        await world.decided(ONE, mbit(50))
        await world.quiet(1)
        await world.decided("vm1/2", mbit(50))
        await world.shows("vm1/2", mbit(50), within_s=200)
        assert len(world.platform.posts) == 2
        assert world.log.intents["vm1/2"] == 2

    live(scenario)


def test_a_service_has_one_errand_and_only_its_newest_decision_counts() -> None:
    """What was overtaken while the platform was slow is never posted."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 40
        world.start()
        for speed in (mbit(50), mbit(25), mbit(10), mbit(25), mbit(10)):
            await world.decided(ONE, speed)
        await world.shows(ONE, mbit(10), within_s=120)
        assert [post.speed for post in world.platform.posts] == [mbit(10)]

    live(scenario)


def test_a_newer_decision_does_not_wait_for_the_task_of_an_older_one() -> None:
    """The wait for the platform's task ends at once."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 200
        world.start()
        await world.decided(ONE, mbit(50))
        await world.until(lambda: len(world.platform.posts) == 1)
        await world.quiet(20)
        await world.decided(ONE, ORIGINAL)
        await world.until(lambda: len(world.platform.posts) == 2, within_s=3)
        await world.shows(ONE, mbit(1000), within_s=300)

    live(scenario)


def test_the_platforms_task_is_followed_patiently_and_the_receipt_comes_after_it() -> None:
    """Looks come 1, 2, 4, 8 and then every 12 s; nothing is posted twice meanwhile."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 100
        world.start()
        await world.decided(ONE, mbit(50))
        await world.quiet(95)
        state = await world.stored(ONE)
        assert state is not None
        assert not state.settled
        assert world.platform.count("task") <= 12
        await world.shows(ONE, mbit(50), within_s=20)
        assert len(world.platform.posts) == 1

    live(scenario)


@pytest.mark.parametrize("effect", ["unavailable", "unanswered", "late", "task fails", "task endless", "hangs"])
def test_whatever_becomes_of_a_post_the_platform_ends_as_due(effect: Effect) -> None:
    """A post that fails, is done without an answer, takes effect late, or whose task fails or never ends."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = 5
        world.platform.effects["set_speed"].append(effect)
        world.start()
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50), within_s=700)
        await world.decided(ONE, ORIGINAL)
        await world.shows(ONE, mbit(1000), within_s=400)

    live(scenario)


def test_what_was_done_without_an_answer_is_not_posted_again() -> None:
    """The list tells."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.effects["set_speed"].append("unanswered")
        world.start()
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50))
        assert len(world.platform.posts) == 1

    live(scenario)


def test_retries_are_limited_and_spread_and_the_failure_is_said() -> None:
    """After so many attempts it waits for the next comparison, which begins anew."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.pace = replace(world.pace, attempts=4, reconcile_s=3600)
        world.platform.effects["set_speed"].extend(["unavailable"] * 4)
        world.start()
        await world.quiet(10)
        await world.decided(ONE, mbit(50))
        await world.until(lambda: world.observed.results["failed"] == 1, within_s=60)
        waits = [
            later.at - post.at for post, later in zip(world.platform.posts, world.platform.posts[1:], strict=False)
        ]
        assert len(waits) == 3
        assert 500 <= waits[0] < waits[1] < waits[2] <= 4000
        state = await world.stored(ONE)
        assert state is not None
        assert [receipt.result for receipt in state.receipts] == ["failed"]
        await world.quiet(1000)
        assert len(world.platform.posts) == 4
        await world.shows(ONE, mbit(50), within_s=3600)

    live(scenario)


def test_a_refusal_is_not_repeated_until_something_changes() -> None:
    """A closed function is not hammered at; a new decision tries again at once, a comparison only an hour later."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.effects["set_speed"].extend(["refused"] * 2)
        world.start()
        await world.decided(ONE, mbit(50))
        await world.until(lambda: world.observed.results["refused"] == 1)
        await world.quiet(1800)
        assert len(world.platform.posts) == 1
        await world.decided(ONE, mbit(25))
        await world.until(lambda: world.observed.results["refused"] == 2)
        await world.shows(ONE, mbit(25), within_s=4000)
        assert len(world.platform.posts) == 3

    live(scenario)


@pytest.mark.parametrize("task_s", [0.0, 5.0])
def test_a_platform_that_says_done_and_does_nothing_is_not_asked_for_ever(task_s: float) -> None:
    """Three repairs a day, then an alarm; the next day it may do better."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.task_s = task_s
        world.platform.effects["set_speed"].extend(["ignored"] * 4)
        world.start()
        await world.decided(ONE, mbit(50))
        await world.quiet(12 * 3600)
        assert len(world.platform.posts) == 4
        assert world.observed.standings[0] == {"left": 1}
        await world.shows(ONE, mbit(50), within_s=13 * 3600)

    live(scenario)


def test_one_broken_service_holds_up_nobody_else() -> None:
    """Many whose tasks never end, and one that is fine."""

    async def scenario(world: World) -> None:
        world.pace = replace(world.pace, concurrency=2)
        world.platform.task_s = 1
        for number in range(10):
            await world.registered(f"vm1/{number}", mbit(1000))
        world.platform.effects["set_speed"].extend(["task endless"] * 9)
        world.start()
        for number in range(10):
            await world.decided(f"vm1/{number}", mbit(50))
        await world.until(lambda: list(world.platform.limits.values()).count(mbit(50)) == 1, within_s=10)

    live(scenario)


def test_many_services_share_writes_and_lists() -> None:
    """A month's rollover goes at the platform's rate: not one write and one list for each service."""

    async def scenario(world: World) -> None:
        count = 400
        world.platform.call_s, world.platform.list_s, world.log.write_s = 0.1, 2.0, 0.05
        for number in range(count):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10))
        world.start()
        await world.until(lambda: set(world.platform.limits.values()) == {mbit(10)}, within_s=60)
        await world.quiet(20)
        writes, lists, began = world.log.writes, world.platform.count("list"), world.clock.now()
        for number in range(count):
            await world.decided(f"vm1/{number}", ORIGINAL, "period")
        await world.until(lambda: set(world.platform.limits.values()) == {mbit(1000)}, within_s=60)
        at_best_s = count / world.pace.concurrency * (world.platform.call_s + 2 * world.log.write_s)
        assert (world.clock.now() - began) / 1000 < at_best_s + 6 * world.platform.list_s
        await world.quiet(20)
        assert len(world.platform.posts) == 2 * count
        assert world.log.writes - writes < count / 4  # of 2 records each
        assert world.platform.count("list") - lists < 20

    live(scenario)


def test_no_more_requests_than_allowed_are_under_way_at_once() -> None:
    """However many services wait."""

    async def scenario(world: World) -> None:
        world.pace = replace(world.pace, concurrency=3)
        under_way = most = 0

        async def slowly(call: str) -> None:
            nonlocal under_way, most
            if call == "set_speed":
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.2)
                under_way -= 1

        world.platform.at_call = slowly
        for number in range(30):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10))
        world.start()
        await world.until(lambda: set(world.platform.limits.values()) == {mbit(10)}, within_s=60)
        assert most == 3

    live(scenario)


def test_latency_is_measured_from_the_append_of_the_input_to_the_platform_being_told() -> None:
    """The decision's header says when its input was appended; without it the decision's own append counts."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        await world.quiet(10)
        await world.decided(ONE, mbit(50), appended=world.clock.now() - 3000)
        await world.shows(ONE, mbit(50))
        await world.decided(ONE, mbit(25))
        await world.shows(ONE, mbit(25))
        with_header, without = world.observed.latencies_s
        assert 3 <= with_header < 3.5
        assert without < 0.5

    live(scenario)


def test_what_is_no_decision_harms_only_itself() -> None:
    """Garbage, unknown kinds and warnings between decisions are passed over."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        for value in (b"\x00garbage", b'{"type":"control"}', b'{"type":"news"}', b"[]", b'{"service":"vm1/1"}'):
            await world.append(value)
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50))

    live(scenario)


def test_services_of_platforms_that_are_not_enforced_are_left_alone() -> None:
    """People feed their own meters, too."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.start()
        for name in ("vm2/1", "meter", "vm1x/1"):
            await world.decided(name, mbit(10))
        await world.decided(ONE, mbit(50))
        await world.shows(ONE, mbit(50))
        assert len(world.platform.posts) == 1

    live(scenario)


def test_an_unreadable_row_is_no_reason_to_act() -> None:
    """It exists, and no more is known of it."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000))
        world.platform.unreadable.add(ONE)
        world.start()
        await world.decided(ONE, mbit(50))
        await world.quiet(700)
        assert world.platform.posts == []
        world.platform.unreadable.clear()
        await world.shows(ONE, mbit(50), within_s=400)

    live(scenario)


def test_an_impossible_pace_is_refused() -> None:
    """Policy validates itself."""
    with pytest.raises(ValueError, match="no such pace"):
        Pace(attempts=0)
