"""The regular comparison of what is due with what the platform shows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from stream.core.enforced import DAY_MS, Enforcement, Intent, Switches
from stream.core.enforcement import Due
from stream.core.speed import ORIGINAL
from stream.ports import Message
from stream.runtime.errands import Errands, Service
from stream.runtime.ledger import Ledger
from tests.enforcement.speeds import mbit
from tests.enforcement.world import START_MS, World, live

ONE = "vm1/1"
THROTTLED = Enforcement(
    service=ONE,
    incarnation=1,
    original=mbit(1000),
    intent=Intent(1, mbit(50), mbit(1000), START_MS),
    settled=True,
    ours=(mbit(50),),
)


class NoLease:
    """Nothing is written here."""

    partition = 0

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        return {}

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        raise AssertionError("nothing is to be written")


def test_what_changed_behind_our_back_is_found_within_five_minutes() -> None:
    """And at the start, of course."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        world.platform.limits[ONE] = mbit(300)
        await world.shows(ONE, mbit(50), within_s=301)
        await world.kill()
        world.platform.limits[ONE] = mbit(300)
        world.start()
        await world.shows(ONE, mbit(50), within_s=10)
        assert world.observed.findings["foreign"] == 2

    live(scenario)


def test_a_list_that_began_before_our_write_is_not_used_for_that_service() -> None:
    """It would show a foreign writer where there is none.  For other services the same list is good."""

    async def scenario(world: World) -> None:
        world.platform.limits[ONE] = mbit(1000)
        site = world.site(world.platform)
        before = await site.observe(0)
        written = Service(ONE, site, after=site.tick(), due=Due(1, 1, mbit(50)), state=THROTTLED)
        other = Service(ONE, site, after=0, due=Due(1, 1, mbit(50)), state=THROTTLED)
        errands = Errands(
            Ledger(NoLease(), Switches(), deadline_s=1), world.clock, rng=random.Random(1), observer=world.observed
        )
        assert errands.look(written, before).act == "nothing"
        assert errands.look(other, before).act == "intend"
        after = await site.observe(written.after)
        assert after.mark > written.after
        assert errands.look(written, after).act == "intend"

    live(scenario)


def test_a_comparison_that_is_under_way_while_we_write_finds_nothing_wrong() -> None:
    """Its list shows what was there before."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        loop = asyncio.get_running_loop()
        await world.quiet(300 - loop.time() % 300 - 1)  # just before the next comparison
        world.platform.list_s = 20.0
        lists = world.platform.count("list")
        await world.until(lambda: world.platform.count("list") > lists)
        world.platform.list_s = 0.0  # the lists after this one are quick
        await world.decided(ONE, ORIGINAL)
        await world.shows(ONE, mbit(1000), within_s=60)
        await world.quiet(100)
        assert (world.observed.findings, len(world.platform.posts)) == ({}, 2)

    live(scenario)


def test_a_wall_clock_that_is_set_back_makes_no_old_list_a_new_one() -> None:
    """The order of lists and writes is the program's own."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        for hours in (-5, 7, -3):
            world.clock.turned_ms = hours * 3_600_000
            await world.decided(ONE, ORIGINAL)
            await world.shows(ONE, mbit(1000))
            await world.decided(ONE, mbit(50))
            await world.shows(ONE, mbit(50))
        assert world.observed.findings == {}

    live(scenario)


def test_half_a_list_does_no_harm() -> None:
    """What is not listed is left alone, and looked at again when it is."""

    async def scenario(world: World) -> None:
        for service in (ONE, "vm1/2"):
            await world.registered(service, mbit(1000), mbit(50))
        world.start()
        await world.shows("vm1/2", mbit(50))
        world.platform.hidden.add("vm1/2")
        await world.decided("vm1/2", ORIGINAL)
        await world.quiet(3 * 86_400)
        world.platform.hidden.clear()
        await world.shows("vm1/2", mbit(1000), within_s=301)

    live(scenario)


def test_a_service_that_leaves_all_plans_gets_its_original_back() -> None:
    """It goes on being known to the tracker, with no plan."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        await world.decided(ONE, ORIGINAL, "plans_changed")
        await world.shows(ONE, mbit(1000))

    live(scenario)


def test_a_deregistered_service_gets_its_original_back_and_is_then_forgotten() -> None:
    """Whether the enforcer was there when it happened or not."""

    async def scenario(world: World) -> None:
        for service in (ONE, "vm1/2"):
            await world.registered(service, mbit(1000), mbit(50))
        world.start()
        await world.shows("vm1/2", mbit(50))
        await world.deregistered(ONE)
        await world.shows(ONE, mbit(1000))
        await world.kill()
        await world.deregistered("vm1/2")
        world.start()
        await world.shows("vm1/2", mbit(1000))
        await world.until(lambda: world.known == set(), within_s=2 * 86_400)
        await world.quiet(600)
        await world.registered(ONE, mbit(77), mbit(25))
        await world.shows(ONE, mbit(25))
        await world.decided(ONE, ORIGINAL)
        await world.shows(ONE, mbit(77))

    live(scenario)


def test_a_deleted_machine_is_forgotten_a_day_after_its_deregistration() -> None:
    """There is nothing to give back; a machine that gets its id later begins anew."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        del world.platform.limits[ONE]
        await world.deregistered(ONE)
        await world.until(lambda: world.known == set(), within_s=2 * 86_400)
        assert world.clock.now() - world.started_at >= DAY_MS
        await world.registered(ONE, mbit(50, 200))
        await world.quiet(600)
        assert world.platform.limits[ONE] == mbit(50, 200)

    live(scenario)


def test_an_id_that_is_used_again_at_once_is_no_obstacle() -> None:
    """The new machine shows something else than we left: its own limits are its original."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.shows(ONE, mbit(50))
        world.platform.limits[ONE] = mbit(200)
        await world.quiet(10)
        await world.deregistered(ONE)
        await world.registered(ONE, mbit(200), mbit(25))
        await world.shows(ONE, mbit(25))
        await world.decided(ONE, ORIGINAL)
        await world.shows(ONE, mbit(200))

    live(scenario)


def test_troubles_are_counted_and_named_in_the_log() -> None:
    """For whoever looks at the state of things, until they are over."""

    async def scenario(world: World) -> None:
        for number in range(30):
            await world.registered(f"vm1/{number}", mbit(25))
        await world.registered("vm1/fine", mbit(1000), mbit(50))
        world.start()
        await world.shows("vm1/fine", mbit(50))
        await world.until(lambda: world.observed.standings == {0: {"suspect": 30}})
        await world.quiet(1)
        standing = Switches.from_json(world.log.enforcements[Switches.KEY]).standing["vm1"]["suspect"]
        assert (standing.services, len(standing.some)) == (30, 20)
        for number in range(30):
            world.platform.limits[f"vm1/{number}"] = mbit(500)
        await world.until(lambda: world.observed.standings == {0: {}}, within_s=301)
        assert world.observed.findings == {"suspect": 30}

    live(scenario)
