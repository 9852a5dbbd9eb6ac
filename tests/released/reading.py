"""All values of a topic's partition."""

from __future__ import annotations

from contextlib import aclosing

from stream.ports import Log


async def records(log: Log, topic: str, partition: int) -> list[bytes]:
    """In order, up to the end as it is now."""
    offset, end = await log.bounds(topic, partition)
    found: list[bytes] = []
    async with aclosing(log.read(topic, partition, offset, wait_s=1.0)) as reader:
        while offset < end:
            records, offset = await anext(reader)
            found += [record.value or b"" for record in records]
    return found
