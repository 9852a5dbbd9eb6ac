"""What aiokafka does that would cost a guarantee, shown; and that ours does not depend on it.

Each first half is aiokafka's behaviour as it is: when one of them fails after an upgrade, the way around it can go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber

from stream.adapters.kafka.group import Membership
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from stream.ports import CHANGES, Message, Role
from tests.adapters.world import read_all, values
from tests.kafka.world import KafkaWorld, worlds

ROLES: tuple[Role, ...] = ("tracker", "enforcer")
TOO_LARGE = bytes(400_000)


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """Topics that take no large records, as an operator may have set them."""
    async with worlds(settings, max_message_bytes="100000") as world:
        yield world


async def test_a_commit_may_succeed_without_one_of_its_records(world: KafkaWorld) -> None:
    """aiokafka commits although records were refused; our write fails, and nothing of it is ever seen."""
    settings = world.settings
    producer = AIOKafkaProducer(**settings.client(), transactional_id="bare", max_request_size=1_000_000)
    await producer.start()
    await producer.begin_transaction()
    large = await producer.send(settings.topic(CHANGES), TOO_LARGE, b"1", partition=0)
    with pytest.raises(MessageSizeTooLargeError):
        await large
    small = await producer.send(settings.topic(CHANGES), b"small", b"2", partition=0)
    await producer.commit_transaction()  # says nothing
    with pytest.raises(OutOfOrderSequenceNumber):
        await small
    await producer.stop()
    assert values(await read_all(world.log, CHANGES, 0)) == []

    async with world.log.take_over("tracker", 1) as lease:
        with pytest.raises(Unavailable, match="MessageSizeTooLarge"):
            await lease.write(CHANGES, [Message(b"1", b"before"), Message(b"2", TOO_LARGE), Message(b"3", b"after")])
        with pytest.raises(Unavailable, match="take over again"):
            await lease.write(CHANGES, [Message(b"4", b"later")])
    async with world.log.take_over("tracker", 1) as lease:
        await lease.write(CHANGES, [Message(b"5", b"new owner")])
    assert values(await read_all(world.log, CHANGES, 1)) == ["new owner"]


async def test_an_idempotent_producer_is_lost_with_one_batch(world: KafkaWorld) -> None:
    """The append that was refused says so, and the next one works: with a producer of its own."""
    await world.log.append(CHANGES, 0, [Message(b"1", b"before")])
    with pytest.raises(Unavailable, match="MessageSizeTooLarge"):
        await world.log.append(CHANGES, 0, [Message(b"2", TOO_LARGE)])
    await world.log.append(CHANGES, 0, [Message(b"3", b"after")])
    assert values(await read_all(world.log, CHANGES, 0)) == ["before", "after"]


async def test_the_sticky_assignor_remembers_in_its_class(settings: KafkaSettings) -> None:
    """What one group has would be claimed in another: each membership has a class of its own."""
    tracker, enforcer = (Membership(settings, role, asyncio.create_task) for role in ROLES)
    assert tracker._assignor is not enforcer._assignor
    assert issubclass(tracker._assignor, StickyPartitionAssignor)
    tracker._assignor.on_generation_assignment(7)
    assert (tracker._assignor.generation, enforcer._assignor.generation) == (7, StickyPartitionAssignor.generation)
    for membership in (tracker, enforcer):
        await membership._consumer.stop()


async def test_readers_get_our_records(world: KafkaWorld) -> None:
    """aiokafka has one place where records are made, which ours is put in."""
    assert isinstance(world.log, KafkaLog)
    await world.log.append(CHANGES, 2, [Message(b"1", b"a", (("ce_type", b"x"),))])
    [record] = await read_all(world.log, CHANGES, 2)
    assert (record.key, record.value, record.headers) == (b"1", b"a", (("ce_type", b"x"),))
    assert type(record).__module__ == "stream.core.model"
