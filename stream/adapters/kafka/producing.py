"""Records into Kafka: one aiokafka producer, dropped at its first error.

An idempotent producer that has lost one batch refuses all later ones, and a transaction may be told to have succeeded
although a record of it failed; so every batch's future is awaited, and whatever goes wrong ends the producer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.structs import RecordMetadata

from stream.adapters.kafka.ending import Run, ended, stopped
from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from stream.ports import Message

BATCH_BYTES = 900_000
"""Below the brokers' usual limit of 1 MiB for a batch."""


async def start(settings: KafkaSettings, transactional_id: str | None, run: Run) -> AIOKafkaProducer:
    """A producer that is ready.  With a transactional id every former one of that name is fenced, and what it had
    not committed is aborted."""
    producer = AIOKafkaProducer(
        **settings.client(),
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        transaction_timeout_ms=round(1000 * settings.transaction_timeout_s),
        compression_type=settings.compression,
        max_batch_size=BATCH_BYTES,
    )
    starting = asyncio.create_task(producer.start())
    try:
        doing = f"start the producer {transactional_id}" if transactional_id else "start a producer"
        async with answering(doing, settings.request_s):
            await asyncio.shield(starting)
    except BaseException:
        run(ended(starting, producer.stop, partial(_give_up, producer)))
        raise
    return producer


async def send(
    producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Message], seconds: float
) -> int:
    """Append in order; each batch is given so long.  Returns the offset after the last record (of none: 0)."""
    doing = f"write to {topic}/{partition}"
    pending: list[asyncio.Future[RecordMetadata]] = []
    batch = producer.create_batch()
    count = 0
    try:
        for key, value, headers in messages:
            if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                async with answering(doing, seconds):
                    pending.append(await producer.send_batch(batch, topic, partition=partition))
                batch, count = producer.create_batch(), 0
                batch.append(timestamp=None, key=key, value=value, headers=list(headers))
            count += 1
        if count:
            async with answering(doing, seconds):
                pending.append(await producer.send_batch(batch, topic, partition=partition))
        written = None
        for future in pending:
            async with answering(doing, seconds):
                written = await future
            if written.offset < 0:  # of a batch that was sent twice, and taken the first time
                raise Unavailable(f"kafka: the broker did not say where it has put what was to {doing}")
    except BaseException:
        for future in pending:
            future.add_done_callback(_heard)
        raise
    return 0 if written is None else written.offset + count


async def stop(producer: AIOKafkaProducer) -> None:
    """End it, also when no broker answers any more."""
    _hear_all(producer)
    await stopped(producer.stop, partial(_give_up, producer))


async def _give_up(producer: AIOKafkaProducer) -> None:
    """What a stop that has taken too long leaves running: also whoever waits for batches that nobody sends any more."""
    try:
        await producer._sender.close()
    finally:
        accumulator = producer._message_accumulator
        accumulator._pending_batches.update(*accumulator._batches.values())  # which misses those to be sent once more
        accumulator.fail_all(kafka.ProducerClosed())
        _hear_all(producer)
        await producer.client.close()


def _hear_all(producer: AIOKafkaProducer) -> None:
    """Errors that aiokafka leaves in futures nobody awaits; the batch that failed has told them already."""
    accumulator = producer._message_accumulator
    batches = accumulator._pending_batches.union(*accumulator._batches.values())
    waiting = [future for batch in batches for future in (batch._drain_waiter, batch.future)]
    for future in (producer._txn_manager._transaction_waiter, *waiting):
        if future is not None and future.done():
            _heard(future)


def _heard(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
