"""When brokers do not answer: every call ends, nothing hangs, and all goes on when they are back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from stream.adapters.kafka.log import KafkaLog
from stream.core.errors import QuotaStreamError, Unavailable
from stream.ports import CHANGES, DELTAS, STATE, Message
from tests.adapters.world import DEADLINE_S, PARTITIONS, messages, read_all, values
from tests.kafka.cluster import Cluster, until
from tests.kafka.world import make_topics

REQUEST_S = 2.0
BOUND_S = 6 * REQUEST_S + 5
"""An operation is several exchanges, each with its deadline."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One node of our own, to be stopped."""
    async with Cluster(tmp_path) as cluster:
        await make_topics(cluster.settings())
        yield cluster


@pytest.fixture
async def log(cluster: Cluster) -> AsyncIterator[KafkaLog]:
    """A log that has written, so that all of its connections are there."""
    log = await KafkaLog.open(cluster.settings(request_s=REQUEST_S))
    await log.append(DELTAS, 0, messages("before"))
    yield log
    await log.close()


async def read_on(log: KafkaLog) -> None:
    async with aclosing(log.read(DELTAS, 0, 1, wait_s=1.0)) as fetches:
        async for _ in fetches:
            pass


async def take_over(log: KafkaLog) -> None:
    async with log.take_over("tracker", 0):
        pass


CALLS: dict[str, Callable[[KafkaLog], Awaitable[object]]] = {
    "append": lambda log: log.append(DELTAS, 0, messages("lost?")),
    "bounds": lambda log: log.bounds(DELTAS, 0),
    "read": read_on,
    "snapshot": lambda log: log.snapshot(STATE, 0),
    "take_over": take_over,
    "open": lambda log: KafkaLog.open(log._settings),
}


async def test_a_broker_that_is_silent(cluster: Cluster, log: KafkaLog) -> None:
    """Connections stay and nothing comes: each call says Unavailable within its deadlines; later all is well."""

    async def outcome(call: Callable[[KafkaLog], Awaitable[object]]) -> BaseException | object:
        try:
            async with asyncio.timeout(BOUND_S):
                return await call(log)
        except (QuotaStreamError, TimeoutError) as error:
            return error

    async with log.take_over("tracker", 1) as lease:
        await lease.write(STATE, [Message(b"meta", b"1")])
        cluster.pause(1)
        calls = {**CALLS, "write": lambda _: lease.write(STATE, [Message(b"meta", b"2")])}
        try:
            outcomes = dict(zip(calls, await asyncio.gather(*map(outcome, calls.values())), strict=True))
        finally:
            cluster.resume(1)
        assert {name: type(told) for name, told in outcomes.items()} == dict.fromkeys(calls, Unavailable)
        with pytest.raises(Unavailable, match="take over again"):
            await lease.write(STATE, [Message(b"meta", b"3")])
    async with asyncio.timeout(DEADLINE_S):
        async with log.take_over("tracker", 1) as lease:
            assert await lease.snapshot(STATE) in ({b"meta": b"1"}, {b"meta": b"2"})
            await lease.write(CHANGES, messages("after"))
        await log.append(DELTAS, 0, messages("after"))
    found = values(await read_all(log, DELTAS, 0))
    assert (found[0], found[-1]) == ("before", "after")
    assert values(await read_all(log, CHANGES, 1)) == ["after"]


async def test_a_reader_gives_up(cluster: Cluster, log: KafkaLog) -> None:
    """While there is no broker it says Unavailable: aiokafka's own cancelling is not taken for ours."""
    cluster.kill(1)
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(Unavailable):
            await read_on(log)


async def test_who_joins_while_no_broker_answers_is_in_the_group_when_one_does(cluster: Cluster, log: KafkaLog) -> None:
    """It is tried anew for as long as it takes: partitions that are served already go on meanwhile."""
    cluster.pause(1)
    async with aclosing(log.assignments("tracker")) as assignments:

        async def first() -> frozenset[int]:
            return await anext(assignments)

        joining = asyncio.create_task(first())
        await asyncio.wait({joining}, timeout=2 * REQUEST_S)
        cluster.resume(1)
        async with asyncio.timeout(DEADLINE_S):
            assert await joining == frozenset(range(PARTITIONS))


async def test_a_reader_survives_a_restart(cluster: Cluster, log: KafkaLog) -> None:
    """A read that was waiting when the broker was killed goes on with what comes when it is back."""
    async with aclosing(log.read(DELTAS, 0, 1, wait_s=0.2)) as fetches:
        assert not (await anext(fetches)).records
        cluster.kill(1)
        await cluster.restart(1)

        async def appended() -> bool:
            try:
                await log.append(DELTAS, 0, messages("after"))
            except Unavailable:
                return False
            return True

        await until(appended)
        async with asyncio.timeout(DEADLINE_S):
            while not (fetch := await anext(fetches)).records:
                pass
    assert values(fetch.records)[-1] == "after"


async def test_close_does_not_wait_for_a_silent_broker(cluster: Cluster) -> None:
    """Whoever stops while no broker answers is gone within the deadlines, leases and all."""
    log = await KafkaLog.open(cluster.settings(request_s=REQUEST_S))
    await log.append(DELTAS, 0, messages("a"))
    async with log.take_over("tracker", 0) as lease:
        await lease.write(STATE, [Message(b"meta", b"1")])
        cluster.pause(1)
    try:
        async with asyncio.timeout(BOUND_S + 15):
            await log.close()
    finally:
        cluster.resume(1)


async def test_what_a_silent_broker_has_cut_off_leaves_nothing_behind(cluster: Cluster) -> None:
    """Producers that are given up end with all of their tasks, and with their connections."""
    log = await KafkaLog.open(cluster.settings(request_s=REQUEST_S))
    async with log.take_over("tracker", 0) as lease:
        await log.append(DELTAS, 0, messages("a"))
        before = asyncio.all_tasks()
        cluster.pause(1)
        try:
            for work in (log.append(DELTAS, 0, messages("b")), lease.write(STATE, [Message(b"meta", b"1")])):
                with pytest.raises(Unavailable):
                    await work
        finally:
            cluster.resume(1)
    await log.close()

    async def ended() -> bool:
        return asyncio.all_tasks() <= before

    await until(ended, DEADLINE_S)
