"""What every log owes to the runtime, as tests that each adapter's own test class inherits.

`LogContract` is for all of them and assumes neither offsets without gaps nor a clock that can be set;
`EmbeddedContract` (in `embedded.py`) adds what only the logs of one machine promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing

import pytest

from stream.core.errors import Fenced, Misconfigured, Rejected, Truncated, Unavailable
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, ENFORCEMENTS, MAX_RECORD_BYTES, STATE, Fetch, Message, Record
from tests.adapters.ownership import OwnershipContract
from tests.adapters.world import DEADLINE_S, PARTITIONS, World, messages, read, read_all, read_to, values, waiting_for


class LogContract(OwnershipContract):
    """The tests for every adapter.  A subclass gives the fixture `world`."""

    # ------------------------------------------------------------ append and read

    async def test_order(self, world: World) -> None:
        """Records come back in the order in which they were appended, at growing offsets."""
        first, _ = await world.log.bounds(DELTAS, 0)
        end = await world.log.append(DELTAS, 0, messages("a", "b"))
        later_end = await world.log.append(DELTAS, 0, messages("c"))
        records = await read(world.log, DELTAS, 0, first, 3)
        offsets = [record.offset for record in records]
        assert values(records) == ["a", "b", "c"]
        assert offsets == sorted(set(offsets))
        assert offsets[1] < end <= offsets[2] < later_end
        assert await world.log.bounds(DELTAS, 0) == (first, later_end)

    async def test_content(self, world: World) -> None:
        """Keys, values and headers come back as they were, and None is not empty."""
        written = [
            Message(None, b"value without a key"),
            Message(b"key without a value", None),
            Message(b"", b""),
            Message(b"\x00\xff", bytes(range(256)), (("ce_type", b"delta"), ("empty", b""), ("raw", b"\xff\x00"))),
        ]
        first, _ = await world.log.bounds(DEAD_LETTERS, 1)
        await world.log.append(DEAD_LETTERS, 1, written)
        assert [Message(*record[2:]) for record in await read(world.log, DEAD_LETTERS, 1, first, 4)] == written

    async def test_acknowledged_is_seen_by_others(self, world: World) -> None:
        """What one has been told is durable, another finds at once."""
        for number in range(10):
            end = await world.log.append(DELTAS, 0, messages(str(number)))
            assert (await world.other.bounds(DELTAS, 0))[1] >= end
            assert values(await read_all(world.other, DELTAS, 0))[-1] == str(number)

    async def test_read_from_an_offset(self, world: World) -> None:
        """A read begins exactly at its offset, also between two records of one append."""
        first, _ = await world.log.bounds(CHANGES, 0)
        await world.log.append(CHANGES, 0, messages("a", "b", "c"))
        records = await read(world.log, CHANGES, 0, first, 3)
        for index, record in enumerate(records):
            assert await read(world.log, CHANGES, 0, record.offset, 3 - index) == records[index:]

    async def test_next_offsets(self, world: World) -> None:
        """Each fetch says where the next one begins: behind its records, and where a new read finds the rest."""
        first, _ = await world.log.bounds(CHANGES, 0)
        for number in range(4):
            await world.log.append(CHANGES, 0, [Message(b"k", bytes([number]) * (MAX_RECORD_BYTES - 1))] * 6)
            async with world.log.take_over("tracker", 0) as lease:
                await lease.write(CHANGES, messages(f"written {number}"))
        _, end = await world.log.bounds(CHANGES, 0)
        fetches = await read_to(world.log, CHANGES, 0, first, end)
        begins = [first, *(fetch.next_offset for fetch in fetches)]
        records = [record for fetch in fetches for record in fetch.records]
        assert len(fetches) > 1
        assert len(records) == 28
        assert begins == sorted(begins)
        assert begins[-1] == end
        for begin, fetch in zip(begins, fetches, strict=False):
            assert all(begin <= record.offset < fetch.next_offset for record in fetch.records)
        for begin in set(begins[1:-1]):
            rest = [record for fetch in await read_to(world.log, CHANGES, 0, begin, end) for record in fetch.records]
            assert rest == [record for record in records if record.offset >= begin]

    @pytest.mark.parametrize("topic", [DELTAS, STATE, CHANGES, ENFORCEMENTS, DEAD_LETTERS])
    async def test_an_end_is_reached(self, world: World, topic: str) -> None:
        """Whatever was done last, `next_offset` comes to the end that `bounds` gives, and not beyond."""

        async def reached() -> int:
            first, end = await world.other.bounds(topic, 0)
            fetches = await read_to(world.other, topic, 0, first, end)
            assert not fetches or fetches[-1].next_offset == end
            return sum(len(fetch.records) for fetch in fetches)

        assert await reached() == 0
        await world.log.append(topic, 0, messages("a", key="a"))
        assert await reached() == 1
        async with world.log.take_over("tracker", 0) as lease:
            assert await reached() == 1
            await lease.write(topic, [*messages("b", key="b"), *messages("c", key="c")])
            assert await reached() == 3
            await lease.write(topic, messages("d", key="d"))
            async with world.other.take_over("tracker", 0):
                with pytest.raises(Fenced):
                    await lease.write(topic, messages("zombie"))
                assert await reached() == 4
        assert values(await read_all(world.log, topic, 0))[-1] == "d"

    async def test_places_are_apart(self, world: World) -> None:
        """Topics and partitions do not mix."""
        for topic in (DELTAS, CHANGES):
            for partition in range(PARTITIONS):
                await world.log.append(topic, partition, messages(f"{topic} {partition}"))
        for topic in (DELTAS, CHANGES):
            for partition in range(PARTITIONS):
                assert values(await read_all(world.log, topic, partition)) == [f"{topic} {partition}"]

    async def test_large_fetches_are_cut(self, world: World) -> None:
        """A backlog comes in fetches of a few MB, none of them empty."""
        first, _ = await world.log.bounds(DELTAS, 0)
        for _ in range(4):
            await world.log.append(DELTAS, 0, [Message(b"k", bytes(MAX_RECORD_BYTES - 1))] * 8)
        sizes: list[int] = []
        async with aclosing(world.log.read(DELTAS, 0, first, wait_s=DEADLINE_S)) as fetches:
            while sum(sizes) < 32:
                sizes.append(len((await anext(fetches)).records))
        assert sum(sizes) == 32
        assert min(sizes) > 0
        assert max(sizes) <= 16  # 8 MB

    async def test_empty_fetch(self, world: World) -> None:
        """When nothing comes for `wait_s`, an empty fetch does, each time; what comes later is not lost."""
        _, end = await world.log.bounds(DELTAS, 0)
        loop = asyncio.get_running_loop()
        async with aclosing(world.log.read(DELTAS, 0, end, wait_s=0.1)) as fetches:
            for _ in range(2):
                began = loop.time()
                assert await anext(fetches) == Fetch([], end)
                assert loop.time() - began > 0.09
            await world.log.append(DELTAS, 0, messages("late"))
            found: Sequence[Record] = []
            async with asyncio.timeout(DEADLINE_S):
                while not found:
                    found = (await anext(fetches)).records
        assert values(found) == ["late"]

    @pytest.mark.parametrize("topic", [DELTAS, STATE])
    async def test_waiting_readers_wake(self, world: World, topic: str) -> None:
        """Readers that wait are woken by an append, whoever makes it, long before their `wait_s`."""
        async with AsyncExitStack() as stack:
            for appender in (world.log, world.other):
                _, end = await world.log.bounds(topic, 0)
                readers = [await stack.enter_async_context(waiting_for(world.log, topic, 0, end)) for _ in range(2)]
                await appender.append(topic, 0, messages("news"))
                async with asyncio.timeout(DEADLINE_S):
                    assert [values((await reader).records) for reader in readers] == [["news"], ["news"]]

    async def test_a_read_can_be_given_up(self, world: World) -> None:
        """A waiting read that is cancelled leaves the log as it was for others."""
        async with waiting_for(world.log, DELTAS, 0, (await world.log.bounds(DELTAS, 0))[1]) as reader:
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        await world.log.append(DELTAS, 0, messages("a"))
        assert values(await read_all(world.log, DELTAS, 0)) == ["a"]

    async def test_concurrent_appenders(self, world: World) -> None:
        """Many appenders at once: nothing is lost or doubled, and each one's records keep their order."""
        logs = [world.log, world.other]

        async def appender(number: int) -> None:
            for index in range(10):
                pair = messages(f"{number}/{2 * index}", f"{number}/{2 * index + 1}")
                await logs[number % 2].append(DELTAS, 0, pair)

        async with asyncio.timeout(2 * DEADLINE_S):
            await asyncio.gather(*(appender(number) for number in range(20)))
        records = await read_all(world.log, DELTAS, 0)
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        for number in range(20):
            own = [value for value in values(records) if value.startswith(f"{number}/")]
            assert own == [f"{number}/{index}" for index in range(20)]

    async def test_append_time(self, world: World) -> None:
        """Each record carries the log's append time, which never goes back within a partition."""
        for _ in range(5):
            await world.log.append(DELTAS, 0, messages("a", "b"))
            await world.other.append(DELTAS, 0, messages("c"))
        timestamps = [record.timestamp for record in await read_all(world.log, DELTAS, 0)]
        assert len(timestamps) == 15
        assert timestamps == sorted(timestamps)
        assert timestamps[0] > 1_600_000_000_000

    # ------------------------------------------------------------ what is refused

    async def test_size_limit(self, world: World) -> None:
        """A record over the limit is refused with everything that came with it; one at the limit is taken."""
        largest = Message(b"key", bytes(MAX_RECORD_BYTES - 3))
        bounds = await world.log.bounds(DELTAS, 0)
        with pytest.raises(Rejected, match="too large"):
            await world.log.append(DELTAS, 0, [*messages("small"), Message(b"keys", largest.value)])
        assert await world.log.bounds(DELTAS, 0) == bounds
        await world.log.append(DELTAS, 0, [largest])
        assert [record.value for record in await read_all(world.log, DELTAS, 0)] == [largest.value]

    async def test_size_limit_of_a_lease(self, world: World) -> None:
        """The limit holds for a lease's writes as well."""
        async with world.log.take_over("tracker", 0) as lease:
            with pytest.raises(Rejected, match="too large"):
                await lease.write(STATE, [*messages("a"), Message(b"key", bytes(MAX_RECORD_BYTES))])
            assert await lease.snapshot(STATE) == {}

    async def test_compacted_needs_keys(self, world: World) -> None:
        """Where the latest record of each key is kept, one without a key is refused."""
        with pytest.raises(Rejected, match="key"):
            await world.log.append(STATE, 0, messages("a", key=None))

    async def test_no_such_place(self, world: World) -> None:
        """A topic or partition that does not exist is named, with those that do."""
        with pytest.raises(Misconfigured, match=r"traffic\.deltas"):
            await world.log.append("traffic.delta", 0, messages("a"))
        for partition in (-1, PARTITIONS):
            with pytest.raises(Misconfigured, match=str(PARTITIONS)):
                await world.log.bounds(DELTAS, partition)

    # ------------------------------------------------------------ what is kept

    async def test_expired(self, world: World) -> None:
        """What is too old goes; a reader who still wanted it is told so, and what is left can be read."""
        first, end = await world.log.bounds(DELTAS, 0)
        old_end = await world.log.append(DELTAS, 0, messages("old", "older"))
        end = await world.log.append(DELTAS, 0, messages("kept"))
        await world.expire(DELTAS, 0, old_end)
        assert await world.log.bounds(DELTAS, 0) == (old_end, end)
        assert values(await read(world.log, DELTAS, 0, old_end, 1)) == ["kept"]
        for log in (world.log, world.other):
            async with aclosing(log.read(DELTAS, 0, first, wait_s=1)) as fetches:
                with pytest.raises(Truncated):
                    await anext(fetches)

    async def test_offsets_are_never_used_again(self, world: World) -> None:
        """Also when all records are gone, the next one gets a new offset."""
        end = await world.log.append(DELTAS, 0, messages("a", "b"))
        await world.expire(DELTAS, 0, end)
        assert await world.log.bounds(DELTAS, 0) == (end, end)
        await world.log.append(DELTAS, 0, messages("c"))
        [record] = await read(world.log, DELTAS, 0, end, 1)
        assert record.offset >= end

    async def test_a_log_that_lost_its_end(self, world: World) -> None:
        """A reader who is further than the log is told so: an older copy must not be read as if nothing had come."""
        _, end = await world.log.bounds(DELTAS, 0)
        async with aclosing(world.log.read(DELTAS, 0, end + 5, wait_s=1)) as fetches:
            with pytest.raises(Truncated):
                await anext(fetches)

    async def test_snapshot(self, world: World) -> None:
        """A snapshot has the latest value of each key, and none of those removed."""
        await world.log.append(STATE, 1, [Message(b"a", b"1"), Message(b"b", b"1"), Message(b"a", b"2")])
        await world.log.append(STATE, 1, [Message(b"c", b"1"), Message(b"b", None), Message(b"d", b"1")])
        await world.log.append(STATE, 1, [Message(b"d", None), Message(b"d", b"2"), Message(b"e", b"")])
        await world.log.append(STATE, 2, [Message(b"x", b"1")])
        assert await world.log.snapshot(STATE, 1) == {b"a": b"2", b"c": b"1", b"d": b"2", b"e": b""}
        assert await world.other.snapshot(STATE, 1) == {b"a": b"2", b"c": b"1", b"d": b"2", b"e": b""}
        assert await world.log.snapshot(STATE, 0) == {}

    async def test_compacted_topics_can_be_followed(self, world: World) -> None:
        """A compacted topic is read like any other: at least the latest of each key, removals among them, in order."""
        first, _ = await world.log.bounds(ENFORCEMENTS, 0)
        await world.log.append(ENFORCEMENTS, 0, [Message(b"a", b"1"), Message(b"b", b"1")])
        await world.log.append(ENFORCEMENTS, 0, [Message(b"a", b"2"), Message(b"b", None)])
        latest = {record.key: record.value for record in await read(world.log, ENFORCEMENTS, 0, first, 2)}
        assert latest == {b"a": b"2", b"b": None}

    # ------------------------------------------------------------ the end

    async def test_close(self, world: World) -> None:
        """A log that is closed wakes its readers with Unavailable, and answers so from then on."""
        async with waiting_for(world.log, DELTAS, 0, (await world.log.bounds(DELTAS, 0))[1]) as reader:
            await world.log.close()
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(Unavailable):
                    await reader
        with pytest.raises(Unavailable):
            await world.log.append(DELTAS, 0, messages("late"))
        with pytest.raises(Unavailable):
            await world.log.snapshot(STATE, 0)
        with pytest.raises(Unavailable):
            await world.log.take_over("tracker", 0).__aenter__()
        await world.log.close()

    async def test_close_lets_appends_end(self, world: World) -> None:
        """What was asked before the close is done, or refused: never left hanging."""
        appends = [asyncio.create_task(world.log.append(DELTAS, 0, messages(str(number)))) for number in range(10)]
        await asyncio.sleep(0)
        await world.log.close()
        async with asyncio.timeout(DEADLINE_S):
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert all(isinstance(outcome, int | Unavailable) for outcome in outcomes)
