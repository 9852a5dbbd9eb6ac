"""Records as anybody may write them: none of them keeps a reader from the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition

from stream.adapters.kafka import reading
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Misconfigured, Unavailable
from stream.ports import CHANGES, DELTAS, STATE, Message
from stream.runtime.orders import orders
from tests.adapters.world import DEADLINE_S, messages, read_all, values
from tests.kafka.cluster import Cluster
from tests.kafka.world import KafkaWorld, worlds

NO_UTF8 = "\udcff\udcfe"
"""Two bytes, 0xff and 0xfe, as a command line has them."""


@pytest.fixture
async def world(settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
    """New topics."""
    async with worlds(settings) as world:
        yield world


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_a_header_whose_key_is_no_text(cluster: Cluster, world: KafkaWorld, codec: str) -> None:
    """It is read with marks in place of what is no UTF-8, and so is all that comes before and after it."""
    topic = world.settings.topic(DELTAS)
    await world.log.append(DELTAS, 0, messages("first", "second"))
    for header in (f"{NO_UTF8}=x", "plain=y"):
        words = ("-P", "-t", topic, "-p", "0", "-k", "vm1/1", "-z", codec, "-H", header)
        await cluster.kcat(*words, stdin="third\nfourth\n")
    await world.log.append(DELTAS, 0, messages("last"))
    records = await read_all(world.log, DELTAS, 0)
    assert values(records) == ["first", "second", "third", "fourth", "third", "fourth", "last"]
    assert [record.offset for record in records] == list(range(7))
    assert [record.headers for record in records[2:6]] == [(("\ufffd\ufffd", b"x"),)] * 2 + [(("plain", b"y"),)] * 2
    assert {record.key for record in records} == {b"vm1/1"}


async def test_what_was_aborted_stays_hidden_behind_it(cluster: Cluster, world: KafkaWorld) -> None:
    """The transactions of before and after such a record are told apart as ever."""
    topic = world.settings.topic(DELTAS)
    async with AIOKafkaProducer(bootstrap_servers=cluster.servers(), transactional_id=topic) as producer:

        async def write(value: bytes) -> None:
            await producer.send_and_wait(topic, value, key=b"vm1/1", partition=0)

        for number in range(2):
            await producer.begin_transaction()
            await write(b"aborted")
            await producer.abort_transaction()
            async with producer.transaction():
                await write(b"committed")
            if number == 0:
                words = ("-P", "-t", topic, "-p", "0", "-k", "vm1/1", "-H", f"{NO_UTF8}=x")
                await cluster.kcat(*words, stdin="odd\n")
    assert values(await read_all(world.log, DELTAS, 0)) == ["committed", "odd", "committed"]


async def test_a_header_of_ours_without_a_value(world: KafkaWorld) -> None:
    """Somebody else's record among the decisions does not keep an enforcer from the next ones."""
    control = b'{"type":"control","verb":"allow","platform":"vm1","at":1,"until":2,"by":"anna","why":""}'
    producer = AIOKafkaProducer(bootstrap_servers=world.settings.servers)
    async with producer:
        topic = world.settings.topic(CHANGES)
        await producer.send_and_wait(topic, control, key=b"vm1", partition=0, headers=[("appended", None)])
    await world.log.append(CHANGES, 0, [Message(b"vm1", control)])
    (first, second) = await read_all(world.log, CHANGES, 0)
    async with aclosing(orders(world.log, 0, 0, 0)) as found:
        appended, next_offset = list[int](), 0
        while next_offset < 2:
            next_offset, some = await anext(found)
            appended += [order.appended for order in some]
    assert appended == [first.timestamp, second.timestamp]


async def test_a_snapshot_of_the_past_is_none(world: KafkaWorld) -> None:
    """A broker that lags behind what was written is not believed: the snapshot fails, and later it is whole."""
    async with world.log.take_over("tracker", 0) as lease:
        assert await lease.snapshot(STATE) == {}
        await lease.write(STATE, [Message(b"meta", b"1")])
        end = (await world.log.bounds(STATE, 0))[1]
        place = TopicPartition(world.settings.topic(STATE), 0)
        with pytest.raises(Unavailable, match=f"stands still at offset {end} of {end + 1}"):
            await reading.snapshot(replace(world.settings, request_s=1.0), world.log._run, place, end + 1)
        assert await lease.snapshot(STATE) == {b"meta": b"1"}


async def test_an_end_that_comes_too_early_is_not_believed_at_once(world: KafkaWorld) -> None:
    """A broker that has lost the lead and does not know it yet gives the end of a while ago."""
    end = await world.log.append(DELTAS, 0, messages("a"))
    place = TopicPartition(world.settings.topic(DELTAS), 0)
    asked = asyncio.create_task(world.log._beyond(place, end + 2))
    await world.other.append(DELTAS, 0, messages("b", "c"))
    async with asyncio.timeout(DEADLINE_S):
        assert isinstance(await asked, Unavailable)


async def test_what_a_write_has_returned_others_see(world: KafkaWorld) -> None:
    """Kafka acknowledges a commit before readers can see it; a write of ours waits for them, each time."""
    async with world.log.take_over("tracker", 0) as lease:
        for number in range(100):
            await lease.write(STATE, [Message(b"meta", str(number).encode())])
            assert (await world.other.bounds(STATE, 0))[1] >= 2 * number + 1  # each has a marker behind it


async def test_times_of_the_publishers_are_refused(settings: KafkaSettings) -> None:
    """Whether traffic lies in the future is told by the time at which the broker got it."""
    async with worlds(settings, message_timestamp_type="CreateTime") as world:
        await world.log.append(DELTAS, 0, messages("a"))
        async with aclosing(world.log.read(DELTAS, 0, 0, wait_s=5)) as fetches, asyncio.timeout(DEADLINE_S):
            with pytest.raises(Misconfigured, match=r"message\.timestamp\.type=LogAppendTime"):
                await anext(fetches)


async def test_an_open_transaction_of_others_is_told(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hides what comes after it: the log says so, and how to end it; then all of it is read."""
    monkeypatch.setattr("stream.adapters.kafka.reading.HELD_S", 0.1)
    topic = world.settings.topic(DELTAS)
    async with AIOKafkaProducer(bootstrap_servers=world.settings.servers, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", key=b"vm1/1", partition=0)
        await world.log.append(DELTAS, 0, messages("hidden"))
        with structlog.testing.capture_logs() as logs:
            async with aclosing(world.log.read(DELTAS, 0, 0, wait_s=0.2)) as fetches, asyncio.timeout(DEADLINE_S):
                while not logs:
                    assert not (await anext(fetches)).records
                assert (logs[0]["event"], logs[0]["offset"], logs[0]["hidden"]) == ("read.held", 0, 2)
                await producer.abort_transaction()
                while not (records := (await anext(fetches)).records):
                    pass
        assert values(records) == ["hidden"]
