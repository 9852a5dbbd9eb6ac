"""The publisher of `tests.torture.pour`, into a cluster: registers its meters, then pours until SIGTERM."""

from __future__ import annotations

import asyncio
import sys

from stream import wire
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Unavailable
from tests.torture import pour
from tests.torture_kafka.scene import ROUND_S


async def into_kafka(servers: str, first: int) -> None:
    """From that minute on."""
    log = await KafkaLog.open(KafkaSettings(servers=servers))
    for name, plans in pour.METERS.items():
        registration = wire.encode_registration(name, plans, source="meter", at=pour.T0)
        await pour.append(log, wire.partition_of(name, log.partitions), registration)
    await pour.pour(log, first, ROUND_S)
    await log.close()


def main() -> None:
    try:
        asyncio.run(into_kafka(sys.argv[1], int(sys.argv[2])))
    except Unavailable as error:  # the log could not be opened
        sys.exit(str(error))
