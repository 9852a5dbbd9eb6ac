"""Ownership of a partition: a transactional producer, which is the fence.

A broker that has lost the lead and does not know it yet gives what was true a while ago.  Therefore a snapshot begins
with a write of its own, and reads up to that.

Kafka acknowledges a commit before readers can see it.  A write waits for that as well, so that whatever has returned is
in every snapshot that is taken from then on; the next transaction could not begin earlier anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer

from stream.adapters.admission import check_messages
from stream.adapters.kafka import producing
from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Fenced, Unavailable
from stream.ports import Message

LOOK_S = 0.005
MARK = b"taken over"
"""Key of what is written before the first snapshot: no record stays of it."""


class KafkaLease:
    """Each write is a transaction of its own.  After an error nothing more is written through it: whoever wants to go
    on takes over again, which settles what became of the last write."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        partition: int,
        settings: KafkaSettings,
        snapshot: Callable[[str, int, int], Awaitable[Mapping[bytes, bytes]]],
        end: Callable[[str, int], Awaitable[int]],
    ) -> None:
        """`snapshot` (up to this offset at least) and `end` (the offset after the last record that readers see) are of
        (topic, partition)."""
        self.partition = partition
        self._producer = producer
        self._settings = settings
        self._snapshot, self._end = snapshot, end
        self._written: dict[str, int] = {}
        """By topic: the offset after our last record."""
        self._one_at_a_time = asyncio.Lock()
        self._ended = False
        self._failed: BaseException | None = None

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        if topic not in self._written:
            await self.write(topic, [Message(MARK, None)])
        return await self._snapshot(topic, self.partition, self._written[topic])

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        check_messages(topic, messages)
        if not messages:
            return
        async with self._one_at_a_time:
            if self._ended:
                raise Fenced(f"partition {self.partition}: this lease has ended")
            if isinstance(self._failed, Fenced):
                raise Fenced(str(self._failed)) from self._failed
            if self._failed is not None:
                raise Unavailable(f"partition {self.partition}: a former write failed; take over again")
            try:
                await self._commit(topic, messages)
            except BaseException as error:
                self._failed = error
                raise

    async def _commit(self, topic: str, messages: Sequence[Message]) -> None:
        within_s = self._settings.request_s
        place = f"{topic}/{self.partition}"
        async with answering(f"begin a transaction for {place}", within_s):
            await self._producer.begin_transaction()
        end = await producing.send(self._producer, self._settings.topic(topic), self.partition, messages, within_s)
        async with answering(f"commit to {place}", within_s):
            await self._producer.commit_transaction()
        async with answering(f"see what was committed to {place}; an open transaction of others may hide it", within_s):
            while await self._end(topic, self.partition) < end:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        self._written[topic] = end

    def end(self) -> AIOKafkaProducer:
        """Nothing more is written; returns the producer, to be stopped."""
        self._ended = True
        return self._producer
