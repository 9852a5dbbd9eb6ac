"""`python -m tests.kafka.warm`: keep the classes that a broker loads, which halves the CPU of each later start."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.kafka.cluster import Cluster
from tests.kafka.fetch import ARCHIVE


async def main() -> None:
    """Without the archive, or with another Java's, brokers start all the same."""
    ARCHIVE.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="quota-stream-kafka-") as folder:
        cluster = Cluster(Path(folder))
        cluster.broker_options = (f"-XX:ArchiveClassesAtExit={ARCHIVE}",)
        async with cluster:
            await cluster.create("any")
            await cluster.kcat("-P", "-t", "any", stdin="value\n")
            await cluster.kcat("-C", "-t", "any", "-e")
            await cluster.stop(1)
            assert ARCHIVE.exists(), f"Java did not write {ARCHIVE}; {cluster.tail(1)}"


if __name__ == "__main__":
    asyncio.run(main())
