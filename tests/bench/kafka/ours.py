"""Our tracker as `quota-stream track` runs it, noting the same marks as the peers."""

from __future__ import annotations

import asyncio
import os
import random
import signal

from stream.adapters.clock import SystemClock
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.bootstrap.process import collect_rarely
from stream.cli.logs import configure_logs
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.metrics import Metrics
from stream.runtime import partition
from stream.runtime.worker import work
from tests.bench.peers.marks import Marks


class Observer:
    """The product's metrics, and how many deltas were counted: WEIGHT for each record after the first SKIPPED."""

    def __init__(self, inner: partition.TrackerObserver) -> None:
        self._inner = inner
        self._marks = Marks()
        self._skipped, self._weight = int(os.environ["SKIPPED"]), float(os.environ["WEIGHT"])
        self._read: dict[int, int] = {}

    def restored(self, partition: int, tracker: Tracker) -> None:
        self._inner.restored(partition, tracker)

    def applied(self, partition: int, tracker: Tracker, fetched_at_ms: int) -> None:
        self._inner.applied(partition, tracker, fetched_at_ms)
        self._read[partition] = tracker.next_offset
        counted = max(0, round((sum(self._read.values()) - self._skipped) * self._weight))
        self._marks.hit(counted - self._marks.count)

    def checkpointed(self, partition: int, next_offset: int, seconds: float, records: int) -> None:
        self._inner.checkpointed(partition, next_offset, seconds, records)

    def decided(self, outcome: Decision | QuotaWarning) -> None:
        self._inner.decided(outcome)

    def rejected(self, reason: str) -> None:
        self._inner.rejected(reason)

    def foreign_keys(self, records: int) -> None:
        self._inner.foreign_keys(records)


async def main() -> None:
    collect_rarely()
    configure_logs("info")
    settings = KafkaSettings(
        servers=os.environ["BROKER"], topic_prefix=os.environ["PREFIX"], application=os.environ["APP_ID"]
    )
    told = os.environ.get("DECISION_DELAY_S")
    pace = partition.TrackerSettings() if told is None else partition.TrackerSettings(decision_delay_s=float(told))
    clock = SystemClock()
    observer = Observer(Metrics(clock).tracker)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    log = await KafkaLog.open(settings)

    async def serve(number: int, ended: asyncio.Event) -> None:
        await partition.own(log, number, settings=pace, clock=clock, observer=observer, stop=ended)

    try:
        await work("tracker", log, serve, stop, random.Random())
    finally:
        await log.close()


if __name__ == "__main__":
    asyncio.run(main())
