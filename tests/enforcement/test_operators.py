"""What operators say and see: shadow, the brake, release, imported originals."""

from __future__ import annotations

import structlog

from stream.core.brake import BrakeRule
from stream.core.enforced import Switch
from stream.core.speed import ORIGINAL
from stream.ports import ENFORCEMENTS, Log
from stream.runtime import controls
from stream.runtime.ledger import read
from tests.enforcement.speeds import mbit
from tests.enforcement.world import World, live

ONE = "vm1/1"
HOUR_MS = 3_600_000


async def switches(log: Log) -> dict[str, Switch]:
    """As the enforcers of all partitions have noted them."""
    return controls.merged([read(await log.snapshot(ENFORCEMENTS, number))[1] for number in range(log.partitions)])


def test_a_shadow_decides_and_explains_and_touches_nothing() -> None:
    """No post, no intent; one line for each decision that would change something."""

    async def scenario(world: World) -> None:
        world.shadow = True
        await world.registered(ONE, mbit(1000), mbit(50))
        with structlog.testing.capture_logs() as lines:
            world.start()
            await world.quiet(1000)
            await world.decided(ONE, mbit(10))
            await world.quiet(1000)
        said = [line for line in lines if line["event"] == "enforcement.shadow"]
        assert [line["wanted_in"] for line in said] == [50_000_000, 10_000_000]
        assert said[0]["service"] == ONE
        assert (world.platform.posts, world.known) == ([], set())

    live(scenario)


async def half_are_to_be_slowed(world: World, *, quiet_s: float) -> None:
    """Of 80 services, which nobody has touched for so long."""
    world.brake = BrakeRule()
    for number in range(80):
        await world.registered(f"vm1/{number}", mbit(1000))
    world.start()
    await world.quiet(quiet_s)
    for number in range(40):
        await world.decided(f"vm1/{number}", mbit(10))


def test_the_brake_holds_up_slowing_until_it_is_allowed() -> None:
    """A tenth of the services, at least five; the others wait, and it is loud."""

    async def scenario(world: World) -> None:
        await half_are_to_be_slowed(world, quiet_s=10)
        await world.quiet(2 * 3600)
        assert slowed(world) == 8
        assert world.observed.standings[0]["braked"] == 32
        assert (await switches(world.log))["vm1"].braked
        now = world.clock.now()
        await controls.allow(world.log, "vm1", at=now, until=now + HOUR_MS, by="anna")
        await world.until(lambda: slowed(world) == 40, within_s=30)
        await world.quiet(301)
        assert world.observed.standings[0] == {}
        assert not (await switches(world.log))["vm1"].braked

    live(scenario)


def test_whom_the_brake_holds_is_noted() -> None:
    """Soon, a few by name, with few records; no longer than until it is allowed, or released."""

    async def braked(world: World) -> tuple[int, int]:
        """How many, and how many of them by name."""
        _, switches = read(await world.log.snapshot(ENFORCEMENTS, 0))
        noted = switches.standing.get("vm1", {}).get("braked")
        return (noted.services, len(set(noted.some))) if noted else (0, 0)

    async def scenario(world: World) -> None:
        async def holds(services: int, named: int) -> None:
            async def noted() -> bool:
                return await braked(world) == (services, named)

            await world.until(noted)

        await half_are_to_be_slowed(world, quiet_s=310)
        await holds(32, 20)
        await world.quiet(700)
        before = world.log.writes
        await world.quiet(3600)
        assert world.log.writes == before
        assert world.observed.standings[0] == {"braked": 32}
        now = world.clock.now()
        await controls.allow(world.log, "vm1", at=now, until=now + 60_000, by="anna")
        await holds(0, 0)
        await world.until(lambda: slowed(world) == 40, within_s=30)
        await world.quiet(700)
        for number in range(40, 60):
            await world.decided(f"vm1/{number}", mbit(10))
        await holds(12, 12)
        await controls.release(world.log, "vm1", at=world.clock.now(), by="anna")
        await holds(0, 0)
        await world.quiet(700)
        assert await braked(world) == (0, 0)

    live(scenario)


def test_giving_speed_back_never_waits_for_the_brake() -> None:
    """Nor does slowing hold it up."""

    async def scenario(world: World) -> None:
        world.brake = BrakeRule()
        for number in range(40):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10))
        now = world.clock.now()
        await controls.allow(world.log, "vm1", at=now, until=now + 60_000, by="anna")
        world.start()
        await world.until(lambda: slowed(world) == 40)
        await world.quiet(1000)
        for number in range(20, 40):
            await world.decided(f"vm1/{number}", mbit(5))
        await world.quiet(30)
        for number in range(20):
            await world.decided(f"vm1/{number}", ORIGINAL)
        await world.until(lambda: slowed(world) == 20)
        await world.quiet(1000)
        assert list(world.platform.limits.values()).count(mbit(5)) == 5

    live(scenario)


def test_giving_speed_back_does_not_count_for_the_brake() -> None:
    """A month's rollover leaves room for those who are to be slowed at the same time."""

    async def scenario(world: World) -> None:
        for number in range(40):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10) if number < 20 else ORIGINAL)
        world.start()
        await world.until(lambda: slowed(world) == 20)
        await world.quiet(700)
        world.brake = BrakeRule()
        await world.restart()
        await world.quiet(10)
        for number in range(20):
            await world.decided(f"vm1/{number}", ORIGINAL, "period")
        await world.until(lambda: slowed(world) == 0)
        for number in range(20, 25):
            await world.decided(f"vm1/{number}", mbit(10))
        await world.until(lambda: slowed(world) == 5)
        assert not (await switches(world.log)).get("vm1", Switch()).braked

    live(scenario)


def test_the_brake_holds_up_one_direction_and_not_the_other() -> None:
    """A decision that gives speed back in and takes it out: the one at once, the other when it is allowed."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(10, None))
        world.start()
        await world.shows(ONE, mbit(10, 1000))
        await world.quiet(700)  # slowed so long ago that it does not count any more
        await world.kill()
        world.brake = BrakeRule(percent=0, at_least=0)
        world.start()
        await world.decided(ONE, mbit(None, 10))
        await world.shows(ONE, mbit(1000))
        await world.quiet(700)
        assert world.platform.limits[ONE] == mbit(1000)
        assert world.observed.standings[0] == {"braked": 1}
        now = world.clock.now()
        await controls.allow(world.log, "vm1", at=now, until=now + HOUR_MS, by="anna")
        await world.shows(ONE, mbit(1000, 10))

    live(scenario)


def test_the_brake_counts_over_partitions_and_restarts() -> None:
    """Neither a crash loop nor many partitions let more pass; once it holds it holds after a restart."""

    async def scenario(world: World) -> None:
        world.brake = BrakeRule()
        for number in range(40):
            await world.registered(f"vm1/{number}", mbit(1000))
        world.start()
        await world.quiet(10)
        for number in range(4):
            await world.decided(f"vm1/{number}", mbit(10))
        await world.until(lambda: slowed(world) == 4)
        for _ in range(3):
            await world.kill()
            world.start()
            await world.quiet(20)
        for number in range(4, 40):
            await world.decided(f"vm1/{number}", mbit(10))
        await world.quiet(60)
        assert slowed(world) == 5
        await world.quiet(3600)
        await world.kill()
        world.start()
        await world.quiet(3600)
        assert slowed(world) == 5

    live(scenario, partitions=4)


def test_processes_that_share_a_platform_share_its_brake() -> None:
    """Each slows its part of what one alone might; whoever serves all of it later counts what both have slowed."""

    async def scenario(world: World) -> None:
        world.brake = BrakeRule(at_least=8)
        for number in range(40):
            await world.registered(f"vm1/{number}", mbit(1000))
        world.log.shares = [frozenset({0, 1}), frozenset({2, 3})]
        world.start()
        world.start()
        await world.quiet(10)
        for number in range(40):
            await world.decided(f"vm1/{number}", mbit(10))
        await world.quiet(60)
        assert slowed(world) == 8
        await world.kill()
        world.start()
        await world.quiet(3600)
        assert slowed(world) == 8

    live(scenario, partitions=4)


def test_what_no_longer_wants_to_be_slowed_does_not_wait_any_more() -> None:
    """The number of the waiting is the number of those who would be slowed now."""

    async def scenario(world: World) -> None:
        world.brake = BrakeRule(percent=0, at_least=0)
        await world.registered(ONE, mbit(1000), mbit(50))
        world.start()
        await world.quiet(301)
        assert world.observed.standings[0] == {"braked": 1}
        await world.decided(ONE, ORIGINAL)
        await world.quiet(301)
        assert world.observed.standings[0] == {}

    live(scenario)


def test_what_a_release_has_not_returned_is_noted() -> None:
    """From the instant at which it is in force, also over a restart, until the platform shows all originals."""

    async def unreturned(world: World) -> int:
        _, switches = read(await world.log.snapshot(ENFORCEMENTS, 0))
        noted = switches.standing.get("vm1", {}).get("unreturned")
        return noted.services if noted else 0

    async def scenario(world: World) -> None:
        async def is_released() -> bool:
            return (await switches(world.log)).get("vm1", Switch()).released

        for number in range(3):
            await world.registered(f"vm1/{number}", mbit(1000), mbit(10))
        world.start()
        await world.until(lambda: slowed(world) == 3)
        await world.quiet(10)
        world.platform.down = True
        await controls.release(world.log, "vm1", at=world.clock.now(), by="anna")
        await world.until(is_released)
        assert await unreturned(world) == 3
        await world.quiet(3600)
        assert await unreturned(world) == 3
        await world.restart()
        await world.quiet(3600)
        assert await unreturned(world) == 3
        world.platform.down = False
        await world.until(lambda: slowed(world) == 0, within_s=900)
        await world.quiet(601)
        assert await unreturned(world) == 0

    live(scenario)


def test_a_release_gives_all_originals_back_and_stops_enforcing() -> None:
    """Over restarts, and for services that come later, until it is allowed again."""

    async def scenario(world: World) -> None:
        for number in range(20):
            await world.registered(f"vm1/{number}", mbit(1000, number + 100), mbit(10))
        world.start()
        await world.until(lambda: slowed(world) == 20)
        await controls.release(world.log, "vm1", at=world.clock.now(), by="anna", why="leaving")
        await world.until(lambda: slowed(world) == 0)
        assert world.platform.limits == {f"vm1/{number}": mbit(1000, number + 100) for number in range(20)}
        await world.decided(ONE, mbit(25))
        await world.registered("vm1/new", mbit(1000), mbit(10))
        await world.restart()
        await world.quiet(1000)
        assert slowed(world) == 0
        now = world.clock.now()
        await controls.allow(world.log, "vm1", at=now, until=now + HOUR_MS, by="anna")
        await world.until(lambda: slowed(world) == 21)
        assert world.platform.limits[ONE] == mbit(25)

    live(scenario, partitions=3)


def test_a_control_is_obeyed_even_if_no_enforcer_ran_when_it_was_given() -> None:
    """It is read from where the last one was obeyed."""

    async def scenario(world: World) -> None:
        await controls.release(world.log, "vm1", at=0, by="anna")
        await world.registered(ONE, mbit(1000), mbit(10))
        world.start()
        await world.quiet(700)
        assert world.platform.posts == []
        await world.kill()
        await controls.allow(world.log, "vm1", at=0, until=0, by="anna")
        world.start()
        await world.shows(ONE, mbit(10))
        await world.restart()
        await world.quiet(700)
        assert slowed(world) == 1  # the old release is not obeyed again

    live(scenario)


def test_originals_can_be_exported_and_imported() -> None:
    """Whoever lost our log, or was slowed by another program before, tells us what there was."""

    async def scenario(world: World) -> None:
        services = {f"vm1/{number}": mbit(1000 + number, None) for number in range(10)}
        for service, original in services.items():
            await world.registered(service, original, mbit(10))
        world.start()
        await world.until(lambda: slowed(world) == 10)
        exported = await controls.export_originals(world.log, "vm1")
        assert exported == services
        await world.kill()

        empty = world.with_an_empty_log()
        for service in services:
            await empty.registered(service, empty.platform.limits[service], mbit(25))
        empty.start()
        await empty.quiet(20)
        assert empty.observed.standings == {partition: {"suspect": count} for partition, count in empty.population()}
        await controls.import_originals(empty.log, empty.partition_of, exported, at=0, by="anna")
        for service in services:
            await empty.shows(service, mbit(25))
        for service in services:
            await empty.decided(service, ORIGINAL)
        for service, original in services.items():
            await empty.shows(service, original)
        await empty.kill()

    live(scenario, partitions=2)


def test_an_original_may_be_told_before_the_service_is_registered() -> None:
    """It waits, and nothing is posted for a service that is not ours."""

    async def scenario(world: World) -> None:
        world.platform.limits[ONE] = mbit(10)
        world.start()
        await controls.import_originals(world.log, world.partition_of, {ONE: mbit(1000)}, at=0, by="anna")
        await world.restart()
        await world.quiet(1000)
        assert world.platform.posts == []
        await world.registered(ONE, mbit(10), mbit(25))
        await world.shows(ONE, mbit(25))

    live(scenario)


def test_controls_for_other_platforms_are_passed_over() -> None:
    """Another process may have that platform."""

    async def scenario(world: World) -> None:
        await world.registered(ONE, mbit(1000), mbit(10))
        world.start()
        await controls.release(world.log, "vm2", at=0, by="anna")
        await world.shows(ONE, mbit(10))
        await world.quiet(700)
        assert slowed(world) == 1

    live(scenario)


def slowed(world: World) -> int:
    """How many machines are slower than they came."""
    return sum(1 for limits in world.platform.limits.values() if limits.in_ is not None and limits.in_ < 1_000_000_000)
