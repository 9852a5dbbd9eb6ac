"""The log on a Kafka cluster.

append                 one idempotent producer for the process, made anew after an error
take_over, write       a transactional producer for each (role, partition): the fence
read, snapshot         a consumer for each reader, without a group
assignments            a consumer for each role that reads nothing, only holds the membership
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.adapters.admission import check_messages, check_place
from stream.adapters.kafka import producing, reading
from stream.adapters.kafka.group import FOLLOWS, Membership
from stream.adapters.kafka.lease import KafkaLease
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import agreed_partitions
from stream.core.errors import Misconfigured, QuotaStreamError, Truncated, Unavailable
from stream.ports import DELTAS, Fetch, Message, Role

log_ = structlog.get_logger()

_T = TypeVar("_T")

MOST_SNAPSHOTS = 4
"""Read at a time: a slow network still brings what each fetches within the time that a request has."""
REJOIN_S = 1.0
STALE_S = 10
"""So long a log must end too early before it is believed."""
WATCH_S = 15.0
"""How often to look whether the topics still have as many partitions."""


class KafkaLog:
    """One process's access to the topics of one installation.  `open` makes it, `close` ends it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._partitions = 0
        self._resources = AsyncExitStack()
        self._offsets: AIOKafkaConsumer
        self._appender: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()
        self._reading_all = asyncio.Semaphore(MOST_SNAPSHOTS)
        self._members: dict[Role, Membership] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[QuotaStreamError] = asyncio.get_running_loop().create_future()
        """What everybody gets from now on."""

    @classmethod
    async def open(cls, settings: KafkaSettings) -> KafkaLog:
        """Connect.  Raises Misconfigured when topics are missing or differ in their number of partitions, Unavailable
        when no broker answers."""
        log = cls(settings)
        try:
            log._offsets = await log._resources.enter_async_context(reading.started(settings, log._run))
            log._partitions = await agreed_partitions(settings)
        except BaseException:
            await log.close()
            raise
        log._run(log._watch())
        return log

    @property
    def partitions(self) -> int:
        return self._partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        place = self._place(topic, partition)
        check_messages(topic, messages)
        if not messages:
            return (await self.bounds(topic, partition))[1]
        producer = await self._producer()
        try:
            return await producing.send(producer, place.topic, partition, messages, self._settings.request_s)
        except BaseException:
            if self._appender is producer:
                self._appender = None
            self._run(producing.stop(producer))
            raise

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await reading.bounds(self._offsets, self._place(topic, partition), self._settings.request_s)

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        place = self._place(topic, partition)
        async with reading.started(self._settings, self._run, place) as consumer:
            reader = reading.Reader(consumer, place, offset, self._settings.request_s)
            while True:
                try:
                    fetch = await self._unless_ended(reader.fetch(wait_s))
                except Truncated as error:
                    raise await self._beyond(place, offset) from error
                offset = fetch.next_offset
                yield fetch

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        return await self._snapshot(topic, partition, 0)

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[KafkaLease]:
        self._place(DELTAS, partition)
        member = self._members.get(role)
        if member is not None:  # else somebody who does not serve: a tool, a test
            end = await self._seen_end(FOLLOWS[role], partition) if role != "tracker" else None
            await member.confirm(partition, end)
        producer = await producing.start(self._settings, self._settings.transactional_id(role, partition), self._run)
        lease = KafkaLease(producer, partition, self._settings, self._snapshot, self._seen_end)
        try:
            yield lease
        finally:
            self._run(producing.stop(lease.end()))

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        self._place(DELTAS, 0)
        try:
            while True:
                member = self._members[role] = Membership(self._settings, role, self._run)
                try:
                    async with aclosing(member.assignments()) as changes:
                        while True:
                            assigned = await self._unless_ended(anext(changes))
                            if not assigned <= set(range(self._partitions)):
                                await self._check_count()
                            yield assigned
                except Unavailable as error:
                    self._check_open()
                    log_.warning("group.joining_anew", role=role, cause=str(error), retry_in_s=REJOIN_S)
                await self._unless_ended(asyncio.sleep(REJOIN_S))  # what it had goes on meanwhile: fences protect it
        finally:
            self._members.pop(role, None)

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        member = self._members.get("tracker")
        if member is not None and topic == DELTAS:
            member.passed(partition, before_offset)

    async def close(self) -> None:
        self._finish(Unavailable("kafka: the log is closed"))
        if self._appender is not None:
            self._run(producing.stop(self._appender))
        await self._resources.aclose()
        while self._background:
            await asyncio.wait(self._background)

    # ------------------------------------------------ the end, and what leads to it

    def _finish(self, error: QuotaStreamError) -> None:
        if not self._end.done():
            self._end.set_result(error)

    async def _unless_ended(self, work: Coroutine[Any, Any, _T]) -> _T:
        """As `work`, but given up with an error when the log comes to its end."""
        task = asyncio.create_task(work)
        either: set[asyncio.Future[Any]] = {task, self._end}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _given_up(task)
        if task.cancelled():
            self._check_open()
        return task.result()

    def _check_open(self) -> None:
        if self._end.done():
            error = self._end.result()
            raise type(error)(str(error))

    async def _watch(self) -> None:
        while not self._end.done():
            await asyncio.wait({self._end}, timeout=WATCH_S)
            try:
                await self._check_count()
            except Unavailable:
                continue
            except Misconfigured as error:
                self._finish(error)

    async def _check_count(self) -> None:
        count = await agreed_partitions(self._settings)
        if count != self._partitions:
            raise Misconfigured(
                f"kafka: the topics had {self._partitions} partitions and have {count} now, so services would be "
                "looked for in others than theirs; more partitions for a running installation are not possible yet"
            )

    # ------------------------------------------------ helpers

    async def _beyond(self, place: TopicPartition, offset: int) -> Truncated | Unavailable:
        """What to say when records are asked for that are not there.

        A broker that has lost the lead and does not know it yet has an end of a while ago; it finds out soon.
        """
        for _ in range(STALE_S):
            first, end = await reading.bounds(self._offsets, place, self._settings.request_s)
            told = f"{place.topic}/{place.partition}: {offset} is next to read, kept are {first} to {end}"
            if offset < first:
                break
            if offset <= end:
                return Unavailable(f"kafka: {told}, but a broker that was behind did not know that")
            await self._unless_ended(asyncio.sleep(1))
        return Truncated(told)

    def _place(self, topic: str, partition: int) -> TopicPartition:
        self._check_open()
        check_place(topic, partition, self._partitions)
        return TopicPartition(self._settings.topic(topic), partition)

    async def _snapshot(self, topic: str, partition: int, least: int) -> Mapping[bytes, bytes]:
        async with self._reading_all:
            return await self._unless_ended(
                reading.snapshot(self._settings, self._run, self._place(topic, partition), least)
            )

    async def _seen_end(self, topic: str, partition: int) -> int:
        return await reading.end(self._offsets, self._place(topic, partition), self._settings.request_s)

    async def _producer(self) -> AIOKafkaProducer:
        async with self._making:
            self._check_open()
            if self._appender is None:
                self._appender = await producing.start(self._settings, None, self._run)
            return self._appender

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _given_up(task: asyncio.Task[Any]) -> None:
    """Cancel it until it has ended, however often we are cancelled meanwhile: what it works on is free then."""
    cancelled = False
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
