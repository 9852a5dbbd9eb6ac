"""Who serves which partitions: consumer groups, as the worker sees them through `assignments`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import NewPartitions

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import partition_counts
from stream.core.errors import Fenced, Misconfigured, Unavailable
from stream.ports import CHANGES, DELTAS, STATE, TOPICS, Message, Role
from tests.adapters.world import DEADLINE_S, PARTITIONS, messages, read_all, values
from tests.kafka.cluster import administering, until
from tests.kafka.world import KafkaWorld, make_topics, worlds

ALL = frozenset(range(PARTITIONS))


class Member:
    """A process in a role, and what it was told to serve each time."""

    def __init__(self, log: KafkaLog, role: Role = "tracker") -> None:
        self.log, self.role = log, role
        self.told: list[frozenset[int]] = []

    async def follow(self) -> None:
        """Until cancelled, which leaves the group."""
        async with aclosing(self.log.assignments(self.role)) as assignments:
            async for assigned in assignments:
                self.told.append(assigned)

    @property
    def has(self) -> frozenset[int]:
        return self.told[-1] if self.told else frozenset()


@asynccontextmanager
async def serving(*members: Member) -> AsyncIterator[list[asyncio.Task[None]]]:
    """All of them are in the group meanwhile."""
    tasks = [asyncio.create_task(member.follow()) for member in members]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def seen(holds: Callable[[], bool]) -> None:
    """Wait until what the members were told is so."""

    async def so() -> bool:
        return holds()

    await until(so, 2 * DEADLINE_S)


async def shared_out(*members: Member) -> None:
    """Wait until every partition has exactly one of them, and nobody has more than one more than another."""

    def fairly() -> bool:
        sizes = sorted(len(member.has) for member in members)
        together = frozenset[int]().union(*(member.has for member in members))
        return sum(sizes) == PARTITIONS and together == ALL and sizes[-1] - sizes[0] <= 1

    await seen(fairly)


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """New topics."""
    async with worlds(settings) as world:
        yield world


# ---------------------------------------------------------------- sharing out


@pytest.mark.parametrize("role", ["tracker", "enforcer", "collector"])
async def test_partitions_are_shared_out(world: KafkaWorld, role: Role) -> None:
    """Two processes share a role's partitions; when one leaves, the other gets all of them at once."""
    one, two = Member(world.log, role), Member(world.other, role)
    async with serving(one) as [_], serving(two) as [second]:
        await shared_out(one, two)
        second.cancel()
        await seen(lambda: one.has == ALL)


async def test_who_stays_keeps_what_it_has(world: KafkaWorld) -> None:
    """A rebalance moves no more than it must, and who keeps partitions is never told to give them up meanwhile."""
    one, two = Member(world.log), Member(world.other)
    async with serving(one):
        await seen(lambda: one.has == ALL)
        async with serving(two):
            await shared_out(one, two)
            kept = one.has
        await seen(lambda: one.has == ALL)
    assert all(kept <= told for told in one.told)


async def test_more_processes_than_partitions(world: KafkaWorld) -> None:
    """Who has none is told so, and steps in when another leaves."""
    logs = [await KafkaLog.open(world.settings) for _ in range(PARTITIONS + 1)]
    members = [Member(log) for log in logs]
    try:
        async with serving(*members) as tasks:
            await shared_out(*members)
            assert sorted(len(member.has) for member in members) == [0, 1, 1, 1]
            leaving = next(number for number, member in enumerate(members) if member.has)
            tasks.pop(leaving).cancel()
            members.pop(leaving)
            await shared_out(*members)
    finally:
        await asyncio.gather(*(log.close() for log in logs))


async def test_roles_of_one_process_are_apart(world: KafkaWorld) -> None:
    """Membership in one role says nothing about another, in the same process as well."""
    tracker, enforcer, other = Member(world.log), Member(world.log, "enforcer"), Member(world.other)
    async with serving(tracker, enforcer, other):
        await shared_out(tracker, other)
        await seen(lambda: enforcer.has == ALL)


async def test_static_membership(settings: KafkaSettings) -> None:
    """Who comes back under its own name within the session time-out gets its partitions back, and nobody notices; where
    the group disagrees the name is told, as two processes may have the same."""
    await make_topics(settings)
    logs = [await KafkaLog.open(replace(settings, instance_id=name)) for name in ("a", "b")]
    one, two = map(Member, logs)
    try:
        async with serving(one) as [first], serving(two):
            await shared_out(one, two)
            had, told = one.has, len(two.told)
            first.cancel()
            await asyncio.wait({first})
            again = Member(logs[0])
            async with serving(again):
                await seen(lambda: again.has == had)
                twin = r"to this process as a \(each process needs an instance_id of its own\)"
                with pytest.raises(Unavailable, match=twin):
                    async with logs[0].take_over("tracker", min(two.has)):
                        raise AssertionError("it is the other's")
            assert len(two.told) == told
    finally:
        await asyncio.gather(*(log.close() for log in logs))


async def test_trouble_with_the_group_passes(settings: KafkaSettings) -> None:
    """Two processes under one name throw each other out; neither ends, and the one that stays serves everything."""
    await make_topics(settings)
    logs = [await KafkaLog.open(replace(settings, instance_id="same")) for _ in range(2)]
    one, two = map(Member, logs)
    try:
        async with serving(one, two) as [first, second]:
            await seen(lambda: bool(one.told or two.told))
            first.cancel()
            await seen(lambda: two.has == ALL)
            assert not second.done()
    finally:
        await asyncio.gather(*(log.close() for log in logs))


# ---------------------------------------------------------------- taking over


async def test_only_whom_the_group_has_given_a_partition_takes_it_over(world: KafkaWorld) -> None:
    """A process that has lost a partition does not fence its new owner, however often it tries."""
    one, two = Member(world.log), Member(world.other)
    async with serving(one, two):
        await shared_out(one, two)
        lost = min(two.has)
        async with world.other.take_over("tracker", lost) as lease:
            for _ in range(3):
                with pytest.raises(Unavailable, match="has not given partition"):
                    await world.log.take_over("tracker", lost).__aenter__()
            await lease.write(STATE, [Message(b"meta", b"still mine")])


async def test_a_zombie_does_not_duel(world: KafkaWorld) -> None:
    """A process whose membership has ended without its knowing is refused by the group, and fenced where it writes."""
    one, two = Member(world.log), Member(world.other)
    async with serving(one):
        await seen(lambda: one.has == ALL)
        async with world.log.take_over("tracker", 0) as zombie:
            await zombie.write(CHANGES, messages("before"))
            membership = world.log._members["tracker"]
            await membership._consumer._coordinator._stop_heartbeat_task()  # it sleeps, as far as the group can see
            async with serving(two):
                await seen(lambda: two.has == ALL)
                async with world.other.take_over("tracker", 0) as lease:
                    with pytest.raises(Unavailable, match="has not given partition"):
                        await world.log.take_over("tracker", 0).__aenter__()
                    with pytest.raises(Fenced):
                        await zombie.write(CHANGES, messages("zombie"))
                    await lease.write(CHANGES, messages("after"))
    assert values(await read_all(world.log, CHANGES, 0)) == ["before", "after"]


async def test_what_is_worked_off_is_told_to_the_group(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's own tools see how far a tracker is."""
    monkeypatch.setattr("stream.adapters.kafka.group.COMMIT_EVERY_S", 0.1)
    end = await world.log.append(DELTAS, 1, messages("a", "b"))
    member = Member(world.log)
    async with serving(member):
        await seen(lambda: member.has == ALL)
        world.log.release(DELTAS, 1, end)
        async with administering(world.settings) as admin:
            group = world.settings.group("tracker")
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    offsets = await admin.list_consumer_group_offsets(group)
                    if {at.partition: told.offset for at, told in offsets.items()}.get(1) == end:
                        break


async def test_an_enforcer_tells_the_group_where_the_decisions_end(world: KafkaWorld) -> None:
    """Its offsets are of the topic that it follows."""
    await world.log.append(DELTAS, 1, messages("a", "b", "c"))
    end = await world.log.append(CHANGES, 1, messages("a"))
    member = Member(world.log, "enforcer")
    async with serving(member):
        await seen(lambda: member.has == ALL)
        async with world.log.take_over("enforcer", 1), administering(world.settings) as admin:
            offsets = await admin.list_consumer_group_offsets(world.settings.group("enforcer"))
    told = {(at.topic, at.partition): offset.offset for at, offset in offsets.items()}
    assert told == {(world.settings.topic(CHANGES), 1): end}


# ---------------------------------------------------------------- topics that are not as they must be


async def test_missing_topics(settings: KafkaSettings) -> None:
    """They are named, with the command that makes them."""
    with pytest.raises(Misconfigured, match=r"quota\.state.*topics create"):
        await KafkaLog.open(settings)


async def test_topics_that_differ(settings: KafkaSettings) -> None:
    """Different numbers of partitions are refused, topic by topic."""
    await make_topics(settings)
    async with administering(settings) as admin:
        await admin.create_partitions({settings.topic(DELTAS): NewPartitions(PARTITIONS + 1)})
    await until_counted(settings, DELTAS, PARTITIONS + 1)
    with pytest.raises(Misconfigured, match=f"{DELTAS} {PARTITIONS + 1}, .*{STATE} {PARTITIONS}"):
        await KafkaLog.open(settings)


async def test_a_number_that_changes(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """More partitions while a process runs stop it before it serves one of them, with a word of what happened."""
    monkeypatch.setattr("stream.adapters.kafka.log.WATCH_S", 0.5)
    log = await KafkaLog.open(world.settings)
    member = Member(log)
    async with serving(member) as [task]:
        await seen(lambda: member.has == ALL)
        async with administering(world.settings) as admin:
            new = {world.settings.topic(topic): NewPartitions(PARTITIONS + 1) for topic in TOPICS}
            await admin.create_partitions(new)
        with pytest.raises(Misconfigured, match=f"had {PARTITIONS} partitions and have {PARTITIONS + 1} now"):
            async with asyncio.timeout(2 * DEADLINE_S):
                await task
    assert all(told <= ALL for told in member.told)
    with pytest.raises(Misconfigured, match="partitions"):
        await log.append(DELTAS, 0, messages("late"))
    await log.close()


async def until_counted(settings: KafkaSettings, topic: str, count: int) -> None:
    """The brokers show so many partitions of a topic."""
    async with asyncio.timeout(DEADLINE_S):
        while (await partition_counts(settings)).get(settings.topic(topic)) != count:
            pass
