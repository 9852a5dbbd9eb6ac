"""What is in a log now, as opposed to what will come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from stream.ports import Log, Record

IDLE_S = 1.0


async def records_of(log: Log, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
    """All records from offset `start` on that are there now."""
    first, end = await log.bounds(topic, partition)
    offset = max(first, start)
    if offset >= end:
        return
    reader = log.read(topic, partition, offset, wait_s=IDLE_S)
    try:
        async for fetch in reader:
            for record in fetch.records:
                yield record
            if fetch.next_offset >= end:
                return
    finally:
        await reader.aclose()
