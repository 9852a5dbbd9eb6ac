"""Torn and damaged checkpoints, logs that cannot answer or are others, and what is told of all that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from stream.adapters.memory import MemoryLog
from stream.core.enforced import Standing, Switch, Switches
from stream.core.errors import Unavailable
from stream.core.plan import Plan
from stream.core.view import ServiceView
from stream.ports import DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, Fetch, Message
from stream.replica import PlatformSettings, Replica, ReplicaSettings
from stream.replica.model import News, Query
from stream.replica.problems import LAG_MS, Known, notes_of, problems_of
from stream.runtime.checkpoint import META
from stream.runtime.plans import InForce
from tests.core.feeding import T0, small
from tests.replica.stage import NOW, Counting, Fixed, caught_up, following, until
from tests.replica.test_index import beginning, everything, traffic

SERVICES = [f"vm1/{number}" for number in range(1, 700)]
"""On three pages."""


async def counting(log: MemoryLog) -> Counting:
    tracker = Counting(log)
    tracker.count(beginning(*SERVICES))
    await tracker.checkpoint()
    return tracker


def view_of(replica: Replica, service: str) -> ServiceView | None:
    status = replica.service(service)
    return None if status is None else status.view


def some(replica: Replica) -> list[ServiceView | None]:
    return [view_of(replica, service) for service in (SERVICES[0], SERVICES[300], SERVICES[650])]


async def test_no_half_of_a_checkpoint_is_seen() -> None:
    """Record by record, everything stays as it was until meta is there, and then all of it has changed."""
    log = MemoryLog(Fixed())
    tracker = await counting(log)
    async with following(log) as replica:
        for k in range(3):
            before = some(replica)
            for service in (SERVICES[0], SERVICES[300], SERVICES[650]):
                tracker.count(traffic(range(k, k + 1), service))
            records = tracker.staged()
            meta = next(place for place, record in enumerate(records) if record.key == META)
            for place, record in enumerate(records):
                assert (some(replica) == before) == (place <= meta)
                await log.append(STATE, 0, [record])
                await caught_up(replica)
            tracker.outcomes.clear()
            tracker.state.staged_is_durable()
            after = some(replica)
            assert after == [tracker.tracker.service(view.service) for view in before if view]
            assert all(one != other for one, other in zip(before, after, strict=True))


async def test_a_torn_checkpoint_is_not_seen() -> None:
    """What a dying tracker left behind is not shown; what its successor makes of it is."""
    log = MemoryLog(Fixed())
    tracker = await counting(log)
    async with following(log) as replica:
        before = some(replica)
        dying = Counting(log)
        dying.count(beginning(*SERVICES))
        dying.state.checkpoint, dying.state.places = tracker.state.checkpoint, dict(tracker.state.places)
        dying.count(traffic(range(5), SERVICES[0]))
        torn = [record for record in dying.staged() if record.key != META]
        await log.append(STATE, 0, torn)
        await caught_up(replica)
        assert some(replica) == before
        tracker.count(traffic(range(1), SERVICES[300]))
        await tracker.checkpoint()
        await caught_up(replica)
        assert view_of(replica, SERVICES[300]) == tracker.tracker.service(SERVICES[300])
        assert view_of(replica, SERVICES[0]) == before[0]


@pytest.mark.parametrize("spoiled", [b"0/a/0", b"1/b/0", b"2/b/0", META])
async def test_a_damaged_checkpoint(spoiled: bytes) -> None:
    """The partition stays as it was, the others go on, a problem says which it is; a whole checkpoint ends it."""
    log = MemoryLog(Fixed(), partitions=2)
    tracker, other = Counting(log, 0), Counting(log, 1)
    for each in (tracker, other):
        each.count(beginning(*(f"p{each.partition}/{number}" for number in range(700))))
        await each.checkpoint()
    async with following(log) as replica:
        before = [view_of(replica, f"p0/{number}") for number in (0, 300, 650)]
        for each in (tracker, other):
            each.count(
                [delta for number in (0, 300, 650) for delta in traffic(range(1), f"p{each.partition}/{number}")]
            )
        records = tracker.staged()
        slots = {key for record in records if (key := record.key)}
        key = spoiled if spoiled in slots else spoiled.replace(b"/a/", b"/b/")
        assert key in slots
        harmed = [each._replace(value=(each.value or b"")[:-9] + b"damaged !") if each.key == key else each
                  for each in records]  # fmt: skip
        await log.append(STATE, 0, harmed)
        tracker.state.staged_is_durable()
        await other.checkpoint()
        await caught_up(replica)
        assert [view_of(replica, f"p0/{number}") for number in (0, 300, 650)] == before
        assert view_of(replica, "p1/300") == other.tracker.service("p1/300")
        [problem] = [each for each in replica.problems() if each.id.startswith("damaged")]
        assert problem.id == "damaged/quota.state/0"
        mended = {b"0": 0, b"2": 650}.get(spoiled[:1], 300)  # what else it has comes from the checkpoint before
        tracker.count(traffic(range(1, 2), f"p0/{mended}"))
        await tracker.checkpoint()
        await caught_up(replica)
        for number in (0, 300, 650):
            assert view_of(replica, f"p0/{number}") == tracker.tracker.service(f"p0/{number}")
        assert not [each for each in replica.problems() if each.id.startswith("damaged")]


class Sick(MemoryLog):
    """Answers nothing while it is `ill`."""

    ill = False

    async def _delay(self) -> None:
        await super()._delay()
        if self.ill:
            raise Unavailable("the log is ill")


async def test_a_log_that_does_not_answer() -> None:
    """What is known stays to be seen and grows old; a problem says so; then it goes on by itself."""
    clock = Fixed()
    log = Sick(clock)
    tracker = await counting(log)
    async with following(log, clock=clock) as replica:
        log.ill = True
        clock.at += 10_000
        await until(lambda: "the log is ill" in replica.known().unreachable, "a problem")
        assert view_of(replica, SERVICES[0]) == tracker.tracker.service(SERVICES[0])
        age_ms = replica.freshness().age_ms
        assert age_ms is not None
        assert age_ms >= 10_000
        log.ill = False
        tracker.count(traffic(range(1), SERVICES[0]))
        await tracker.checkpoint()
        await caught_up(replica)
        assert view_of(replica, SERVICES[0]) == tracker.tracker.service(SERVICES[0])
        assert not replica.known().unreachable
        assert replica.freshness().age_ms == 0


class Forgetful(MemoryLog):
    """Can be put back to nothing."""

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(super().read(topic, partition, offset, wait_s=0.01)) as fetches:
            async for fetch in fetches:
                yield fetch


async def test_another_log_in_its_place() -> None:
    """An older copy, or another installation, put in its place while it is followed: all is read anew."""
    log, clock = Forgetful(Fixed()), Fixed()
    tracker = await counting(log)
    tracker.count(traffic(range(3)))
    await tracker.checkpoint()
    async with following(log, clock=clock) as replica:
        log._streams.clear()
        other = Counting(log)
        other.count(beginning("vm1/1", "vm7/7"))
        await other.checkpoint()
        await until(lambda: replica.search(Query()).total == 2, "the other log's services")
        await caught_up(replica)
        assert view_of(replica, "vm7/7") == other.tracker.service("vm7/7")
        assert replica.service(SERVICES[300]) is None
        assert replica.population() == other.tracker.population()
        assert {entry.service for entry in await everything(replica)} == {"vm1/1", "vm7/7"}
        # all pages are read again then
        other.count([{"type": "watermark", "source": "vm1", "at": T0 + 60_000}], at=T0 + 60_000)
        await other.checkpoint()
        await caught_up(replica)
        assert not replica.known().damaged
        assert replica.search(Query()).total == 2


# ---------------------------------------------------------------- news


async def hear(news: AsyncGenerator[News, None], count: int) -> list[News]:
    async with asyncio.timeout(10):
        return [await anext(news) for _ in range(count)]


async def test_news() -> None:
    """Who listens hears which services changed, and that there is something new in histories and letters."""
    log = MemoryLog(Fixed())
    tracker = await counting(log)
    async with following(log) as replica, aclosing(replica.news()) as news:
        listening = asyncio.create_task(hear(news, 3))
        await asyncio.sleep(0)
        version = replica.version
        tracker.count([*traffic(range(1), SERVICES[300]), b"no JSON"])
        await tracker.checkpoint()
        heard = await listening
        assert {each.kind: each.services for each in heard} == {
            "state": frozenset({SERVICES[300]}),
            "entry": frozenset({SERVICES[300]}),
            "letter": None,
        }
        assert replica.version == version + 3


async def test_news_of_many() -> None:
    """Many at once are not named."""
    log = MemoryLog(Fixed())
    tracker = await counting(log)

    async def of_state(news: AsyncGenerator[News, None]) -> News:
        return await anext(each async for each in news if each.kind == "state")

    async with following(log) as replica, aclosing(replica.news()) as news:
        listening = asyncio.create_task(of_state(news))
        await asyncio.sleep(0)
        tracker.count([delta for name in SERVICES for delta in traffic(range(1), name)[:1]])
        await tracker.checkpoint()
        async with asyncio.timeout(10):
            assert await listening == News("state")


async def test_only_services_are_named() -> None:
    """What the enforcers keep besides is told of nobody, and whoever shows anything looks again."""
    log = MemoryLog(Fixed())
    async with following(log) as replica:
        for keys, told in (
            ((b"vm1/1", b"vm1/2"), [News("entry", frozenset({"vm1/1", "vm1/2"}))]),
            ((b"@enforcer",), [News("entry")]),
            ((b"vm1/1", b"@enforcer", b"\xff", b"vm1"), [News("entry", frozenset({"vm1/1"})), News("entry")]),
        ):
            async with aclosing(replica.news()) as news:
                hearing = asyncio.ensure_future(hear(news, len(told)))
                await asyncio.sleep(0)
                await log.append(ENFORCEMENTS, 0, [Message(key, b"{}") for key in keys])
                assert await hearing == told


# ---------------------------------------------------------------- judgements

PLAN = Plan.from_json("s", small())


def ids(known: Known, settings: ReplicaSettings | None = None) -> list[str]:
    return [problem.id for problem in problems_of(known, settings or ReplicaSettings())]


def test_whether_a_tracker_is_running() -> None:
    """Old uncounted records are nobody's when nobody makes checkpoints, else those of partitions that are behind."""
    known = Known(now=NOW, uncounted={0: NOW - LAG_MS - 1, 1: NOW - LAG_MS, 2: NOW - 5 * LAG_MS})
    assert ids(known) == ["no-tracker"]
    assert ids(replace(known, checkpointed_at=NOW - LAG_MS - 1)) == ["no-tracker"]
    assert ids(replace(known, checkpointed_at=NOW - LAG_MS)) == ["behind/0", "behind/2"]
    assert ids(Known(now=NOW, checkpointed_at=0)) == []
    patient = ReplicaSettings(platforms={"vm1": PlatformSettings(1000, 1000)})
    assert ids(Known(now=NOW, checkpointed_at=NOW - 1001), patient) == ["no-tracker", "stale-source/vm1"]
    assert ids(Known(now=NOW, checkpointed_at=NOW - 1000), patient) == ["stale-source/vm1"]
    assert ids(Known(now=NOW, is_complete=False), patient) == []


def test_plans_in_force() -> None:
    """Other versions, or other plans than the configuration's, are a problem; without any they are not compared."""
    settings = ReplicaSettings(plans={"s": PLAN})
    assert ids(Known(now=NOW, in_force=[InForce(1, {"s": PLAN}, {})] * 2), settings) == []
    assert ids(Known(now=NOW, in_force=[InForce(1, {}, {})]), settings) == ["plans-of-configuration"]
    assert ids(Known(now=NOW, in_force=[InForce(1, {}, {}), InForce(2, {}, {})]), settings) == ["plans-differ"]
    assert ids(Known(now=NOW, in_force=[InForce(1, {}, {})])) == []


async def test_a_mistyped_adjustment_is_a_note() -> None:
    """Whoever wished was told; it is no problem for a day.  Whatever else is rejected is one, until a day later."""
    clock = Fixed()
    log = MemoryLog(clock)
    tracker = Counting(log)
    wish = {"type": "adjustment", "id": "a", "service": "vm1/9", "kind": "credit", "bytes": 1, "by": "anna"}
    tracker.count([*beginning("vm1/1"), wish, wish | {"id": "b", "kind": "forgive"}])
    await tracker.checkpoint()
    async with following(log, clock=clock) as replica:
        assert replica.problems() == []
        assert sorted(note.id.partition("/")[0] for note in replica.notes()) == ["refused-adjustments"] * 2
        await log.append(DEAD_LETTERS, 0, [Message(b"x", b"{}")])
        await caught_up(replica)
        assert [problem.id for problem in replica.problems()] == ["dead-letters/why, cannot be read"]
        clock.at += 25 * 3_600_000
        assert (replica.problems(), replica.notes()) == ([], [])


async def test_what_waits_uncounted() -> None:
    """The age of the oldest record that no tracker has counted; none once it is."""
    clock = Fixed()
    log = MemoryLog(clock)
    tracker = await counting(log)
    tracker.tracker.next_offset = 0
    async with following(log, clock=clock) as replica:
        assert replica.freshness().behind_ms == 0
        await log.append(DELTAS, 0, [Message(b"vm1/1", b"{}")] * (tracker.offset + 2))
        clock.at += 90_000
        await caught_up(replica)
        assert replica.freshness().behind_ms == 90_000
        assert [problem.id for problem in replica.problems()] == ["no-tracker"]
        tracker.count(traffic(range(1)))
        await tracker.checkpoint()
        await caught_up(replica)
        assert replica.freshness().behind_ms == 0


def test_refused_in_words() -> None:
    """How many, why, and where to look."""
    [note] = notes_of(Known(now=NOW, letters={("not registered", True): 2, ("not JSON", False): 1}))
    assert note.text.startswith("2 adjustments were refused within a day: not registered")


def test_one_is_not_many() -> None:
    """What is said of one service or record is said in the singular."""
    standing = {"vm1": {kind: Standing(1, ("vm1/7",)) for kind in ("suspect", "left", "yielded", "braked")}}
    known = Known(
        now=NOW, switches=[Switches(platforms={"vm1": Switch(braked=True)}, standing=standing)],
        letters={("not JSON", False): 1, ("not registered", True): 1},
    )  # fmt: skip
    assert [each.text.partition(";")[0] for each in (*problems_of(known, ReplicaSettings()), *notes_of(known))] == [
        "vm1: too many would be slowed at once, 1 waits: vm1/7",
        "vm1: 1 service has a slow speed that we did not set, and is left alone",
        "vm1: 1 service was repaired too often within a day and is left as somebody else set it: vm1/7",
        "vm1: 1 service has a speed that somebody else set while it is slowed: vm1/7",
        "1 record was rejected within a day: not JSON",
        "1 adjustment was refused within a day: not registered",
    ]
