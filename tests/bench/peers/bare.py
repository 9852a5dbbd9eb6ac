"""The floor: aiokafka reads the topic and does nothing, or (LOADS=1) parses each record as JSON.

Each record after the first SKIPPED counts for WEIGHT deltas.
"""

from __future__ import annotations

import asyncio
import os

import orjson
from aiokafka import AIOKafkaConsumer

from tests.bench.peers.marks import Marks

MOST_RECORDS = 10_000
"""At a time."""


async def main() -> None:
    marks, loads = Marks(), "LOADS" in os.environ
    skipped, weight = int(os.environ["SKIPPED"]), float(os.environ["WEIGHT"])
    consumer = AIOKafkaConsumer(
        os.environ["IN_TOPIC"],
        bootstrap_servers=os.environ["BROKER"],
        group_id=os.environ["APP_ID"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    read = 0
    while not marks.done:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=MOST_RECORDS)).values():
            if loads:
                for record in records:
                    orjson.loads(record.value)
            read += len(records)
        marks.hit(max(0, round((read - skipped) * weight)) - marks.count)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
