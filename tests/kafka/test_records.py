"""Records as anybody may write them: none of them keeps a reader from the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from stream.adapters.kafka import reading
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from stream.ports import CHANGES, DELTAS, STATE, Message
from stream.runtime.orders import orders
from tests.adapters.world import messages, read_all, values
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
