"""The notifier: nothing from before, then everything, in order, however often it or the receiver is down."""

from __future__ import annotations

import asyncio
import random

import orjson
import pytest

from stream.core.notices import NoticeBook
from stream.ports import STATE, Message
from stream.runtime.notifier import KEY, MOST_WAITING
from tests.notices.world import FAST, SLOW, Inbox, World, live


def test_the_first_start_tells_nothing_of_before() -> None:
    """Only what is decided from then on is told, with kind, id, subject and the record itself."""

    async def scenario(world: World) -> None:
        await world.decided("vm1/1")
        await world.begin()
        slowed = await world.decided("vm1/1")
        back = await world.decided("vm1/1", FAST, "stay_over")
        await world.warned("vm1/2")
        await world.until(lambda: len(world.inbox.got) == 3)
        first = next(one for one in world.inbox.got if one["id"] == slowed)
        assert {name: first[name] for name in ("specversion", "type", "source", "subject", "datacontenttype")} == {
            "specversion": "1.0",
            "type": "quota-stream.change",
            "source": "quota-stream/tracker/0",
            "subject": "vm1/1",
            "datacontenttype": "application/json",
        }
        assert first["time"].startswith("2025-12-01T00:00:0")
        assert (first["data"]["revision"], first["data"]["speed"]) == (2, {"in": SLOW.in_, "out": SLOW.out})
        kinds = {one["id"]: one["type"].removeprefix("quota-stream.") for one in world.inbox.got}
        assert kinds == {slowed: "change", back: "return", "vm1/2/7/vpn/9/0": "warning"}

    live(scenario)


def test_only_kinds_that_are_wanted() -> None:
    """Who wants returns alone hears of nothing else."""

    async def scenario(world: World) -> None:
        await world.begin(kinds=("return",))
        await world.decided("vm1/1")
        back = await world.decided("vm1/1", FAST, "stay_over")
        await world.told(back)
        assert world.inbox.ids == [back]

    live(scenario)


def test_a_receiver_that_is_down_delays_and_loses_nothing() -> None:
    """An hour of no answer, a restart in the middle: then all of it, in order for each service."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.inbox.down, began = True, world.clock.now()
        ids = [await world.decided(f"vm1/{number % 3}") for number in range(9)]
        await asyncio.sleep(1800)
        await world.kill()
        ids += [await world.decided(f"vm1/{number % 3}") for number in range(9)]
        world.start()
        await asyncio.sleep(1800)
        assert world.inbox.got == []
        assert (world.observed.waiting, world.observed.since) == ({0: 18}, {0: began})
        assert max(world.inbox.tries.values()) < 60  # less and less often
        world.inbox.down = False
        await world.told(*ids, within_s=600)
        await world.until(lambda: world.observed.since == {0: None})
        for service in ("vm1/0", "vm1/1", "vm1/2"):
            own = [id for id in world.inbox.ids if id.startswith(f"{service}/")]
            assert own == [id for id in ids if id.startswith(f"{service}/")]

    live(scenario)


def test_no_more_wait_than_may() -> None:
    """While the receiver is down what is too much stays in the log, unread, and comes later."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.inbox.down = True
        ids = [await world.decided(f"vm1/{number}") for number in range(MOST_WAITING + 50)]
        await asyncio.sleep(60)
        assert world.observed.waiting == {0: MOST_WAITING}
        await world.kill()
        world.inbox.down = False
        world.start()
        await world.told(*ids, within_s=600)

    live(scenario)


def test_what_is_refused_holds_up_its_service_alone_and_for_a_day() -> None:
    """Others go on; after a day, also across a restart, it is passed over and said, and the next one comes."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.inbox.refuses = {"vm1/1/7/1"}
        refused, after, other = [await world.decided(service) for service in ("vm1/1", "vm1/1", "vm1/2")]
        await world.told(other)
        await asyncio.sleep(3600)
        assert world.inbox.tries[refused] in (4, 5)  # each quarter of an hour
        await world.stop()
        book = orjson.loads((await world.log.snapshot(STATE, 0))[KEY])
        assert [offset for offset, _ in book["refused"]] == [0]
        book["refused"][0][1] -= 22 * 3600_000  # it began a day ago, but for an hour
        await world.log.append(STATE, 0, [Message(KEY, orjson.dumps(book))])
        world.start()
        await asyncio.sleep(1800)
        assert world.inbox.ids == [other]
        await world.told(after, within_s=3600)
        assert refused not in world.inbox.ids
        assert world.observed.results["dropped"] == 1

    live(scenario)


def test_an_orderly_end_leaves_nothing_to_repeat() -> None:
    """What was told before the end is not told again."""

    async def scenario(world: World) -> None:
        await world.begin()
        first = await world.decided("vm1/1")
        await world.told(first)
        await world.stop()
        second = await world.decided("vm1/1")
        world.start()
        await world.told(second)
        assert world.inbox.tries == {first: 1, second: 1}

    live(scenario)


def test_alarms_are_raised_once_and_told_to_be_over() -> None:
    """A problem that lasts through a restart is one alarm; when it has gone, that is told; a new one has another id."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.problems = {"brake/vm1": "vm1: too many would be slowed at once"}
        await asyncio.sleep(280)
        assert world.inbox.got == []
        await world.until(lambda: len(world.inbox.got) == 1)
        await asyncio.sleep(60)
        await world.kill()
        world.start()
        world.problems = None  # not known yet
        await asyncio.sleep(60)
        world.problems = {"brake/vm1": "vm1: still"}
        await asyncio.sleep(60)
        assert len(world.inbox.got) == 1
        world.problems = {}
        await world.until(lambda: len(world.inbox.got) == 2)
        world.problems = {"brake/vm1": "vm1: again"}
        await world.until(lambda: len(world.inbox.got) == 3, within_s=600)
        states = [(one["type"], one["data"]["state"], one["data"]["problem"]) for one in world.inbox.got]
        assert states == [("quota-stream.alarm", state, "brake/vm1") for state in ("raised", "over", "raised")]
        assert len(set(world.inbox.ids)) == 3

    live(scenario)


class Endless(Inbox):
    """It takes and takes."""

    async def deliver(self, event: bytes) -> None:
        self.tries[orjson.loads(event)["id"]] += 1
        await asyncio.Event().wait()


def test_an_alarm_has_its_instant_before_it_is_told() -> None:
    """Whoever takes over after a crash tells the same alarm, with the same id."""

    async def scenario(world: World) -> None:
        first, second = Endless(), Inbox()
        await world.begin(receiver=first)
        world.problems = {"brake/vm1": "vm1: too many would be slowed at once"}
        await world.until(lambda: bool(first.tries), within_s=600)
        await world.kill()
        await asyncio.sleep(30)
        world.start(second)
        await world.until(lambda: bool(second.got))
        assert list(first.tries) == second.ids

    live(scenario)


def test_an_alarm_that_nobody_could_be_told_of_is_no_news() -> None:
    """What was over before the receiver came back is not told; what lasts is, with the instant at which it began."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.inbox.down = True
        began = world.clock.now()
        world.problems = {"a": "short", "b": "long"}
        await asyncio.sleep(400)
        world.problems = {"b": "long"}
        await asyncio.sleep(100)
        await world.kill()
        world.start()
        world.inbox.down = False
        await world.until(lambda: len(world.inbox.got) == 1, within_s=600)
        await asyncio.sleep(100)
        (only,) = world.inbox.got
        assert only["data"]["problem"] == "b"
        assert only["data"]["since"] - began < 20_000

    live(scenario)


@pytest.mark.parametrize("seed", range(30))
def test_killed_anywhere_it_loses_nothing_and_keeps_the_order(seed: int) -> None:
    """Killed at any await, again and again, with a receiver that comes and goes: everything comes, in order."""

    async def scenario(world: World) -> None:
        rng = random.Random(seed)
        await world.begin()
        ids = []
        for _ in range(25):
            world.inbox.down = rng.random() < 0.3
            ids += [await world.decided(f"vm1/{rng.randrange(3)}") for _ in range(rng.randrange(4))]
            for _ in range(rng.randrange(60)):  # so many steps of the loop, wherever it is then
                await asyncio.sleep(rng.choice([0, 0, 0.001, 0.01, 0.2]))
            await world.kill()
            world.start()
        world.inbox.down = False
        await world.told(*ids, within_s=1000)
        for service in ("vm1/0", "vm1/1", "vm1/2"):
            assert [id for id in world.inbox.ids if id.startswith(service)] == [
                id for id in ids if id.startswith(service)
            ]

    live(scenario)


def test_of_two_only_the_one_that_owns_it_writes() -> None:
    """Another process takes over: the former one is fenced, and the two of them lose nothing."""

    async def scenario(world: World) -> None:
        await world.begin()
        world.start()
        ids = [await world.decided("vm1/1") for _ in range(5)]
        await world.told(*ids)
        assert world.inbox.ids == ids

    live(scenario)


def test_its_record_is_a_small_one() -> None:
    """In `quota.state`, beside the pages, of a format that can be read again."""

    async def scenario(world: World) -> None:
        await world.begin()
        await world.told(await world.decided("vm1/1"))
        await world.stop()
        stored = (await world.log.snapshot(STATE, 0))[KEY]
        book = NoticeBook.from_json(orjson.loads(stored))
        assert (book.waiting, book.refused, book.alarms) == (frozenset(), {}, {})
        assert book.next == 1

    live(scenario)
