"""Reads partition 0 of a topic to its end and does nothing with it: `reading BROKER TOPIC WARM_BYTES [FETCH_BYTES]`.

It fetches as much at a time as aiokafka does by default (1 MiB), or so much.  Prints wall and CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.bench.measuring import warm_memory


async def main(broker: str, topic: str, warm_bytes: str, fetch_bytes: str = "") -> None:
    warm_memory(int(warm_bytes))
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    fetching = (
        {"fetch_max_bytes": int(fetch_bytes), "max_partition_fetch_bytes": int(fetch_bytes)} if fetch_bytes else {}
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **fetching,
    )
    await consumer.start()
    place = TopicPartition(topic, 0)
    end = (await consumer.end_offsets([place]))[place]
    consumer.assign([place])
    while await consumer.position(place) < end:
        await consumer.getmany(timeout_ms=100)
    print(json.dumps([time.perf_counter() - wall_s, time.process_time() - cpu_s]))
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
