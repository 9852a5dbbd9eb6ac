"""Topics of one installation, processes of `quota-stream` on them, and how far those are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.adapters.kafka import topics
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import DELTAS, STATE
from stream.runtime.checkpoint import META
from tests.bench.kafka.filling import fill
from tests.bench.kafka.processes import cpu_s, ended
from tests.bench.kafka.workload import Placed
from tests.kafka.cluster import administering, until

PROGRAM = Path(sys.executable).with_name("quota-stream")
DEADLINE_S = 90.0
_numbers = count(1)


def settings_of(servers: str, partitions: int) -> KafkaSettings:
    """With names that nothing else on the cluster has."""
    name = f"bench-{os.getpid()}-{next(_numbers)}"
    return KafkaSettings(servers=servers, topic_prefix=f"{name}.", application=name, partitions=partitions)


class Installation:
    """Use it as a context: at its end no process of it is left."""

    def __init__(self, folder: Path, settings: KafkaSettings, platforms: str = "") -> None:
        """`platforms` is what the configuration says of them."""
        self.settings = settings
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._config = folder / "quota-stream.yaml"
        self._config.write_text(
            f"log: kafka://{settings.servers}\npartitions: {settings.partitions}\nlisten: off\n"
            f"kafka: {{topic_prefix: {settings.topic_prefix}, application: {settings.application}}}\n{platforms}"
        )

    async def __aenter__(self) -> Self:
        await topics.create(self.settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for number, process in enumerate(self.processes):
            await asyncio.to_thread(ended, process)
            if error is not None:
                print(self.said(number).read_text(errors="replace")[-3000:], file=sys.stderr)

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """One more process; what it says goes to a file."""
        with self.said(len(self.processes)).open("wb") as log:
            words: list[str | Path] = [PROGRAM, "--config", self._config, role]
            process = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def said(self, number: int) -> Path:
        return self.folder / f"{number}.log"

    async def fill(self, records: Iterable[Placed]) -> int:
        """Appends to the deltas."""
        return await fill(self.settings, DELTAS, records)

    async def settled(self, members: int) -> None:
        """Wait until so many trackers share the partitions."""
        group = self.settings.group("tracker")
        async with administering(self.settings) as admin:

            async def shared() -> bool:
                try:
                    (reply,) = await admin.describe_consumer_groups([group])
                except GroupCoordinatorNotAvailableError:  # on a new broker, until the first has joined
                    return False
                _, _, state, _, _, found, *_ = reply.groups[0]
                return state == "Stable" and len(found) == members

            await until(shared, DEADLINE_S)

    async def ends(self) -> Mapping[int, int]:
        """Of the deltas, by partition."""
        log = await KafkaLog.open(self.settings)
        try:
            return {number: (await log.bounds(DELTAS, number))[1] for number in range(self.settings.partitions)}
        finally:
            await log.close()

    @property
    def cpu_s(self) -> float:
        """Of all processes that live."""
        return cpu_s(*(process.pid for process in self.processes if process.poll() is None))


class Progress:
    """Up to which offset of the deltas the state of each partition is durable."""

    def __init__(self, partitions: int) -> None:
        self.next_offset = dict.fromkeys(range(partitions), 0)
        self._news = asyncio.Condition()

    async def reached(self, ends: Mapping[int, int]) -> float:
        """Wait for that; returns when it was so (time.monotonic)."""
        try:
            async with asyncio.timeout(DEADLINE_S), self._news:
                await self._news.wait_for(lambda: all(self.next_offset[number] >= end for number, end in ends.items()))
                return time.monotonic()
        except TimeoutError as error:
            raise TimeoutError(f"trackers have reached {self.next_offset}, not {ends}") from error

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            fetched: Mapping[TopicPartition, Sequence[object]] = await consumer.getmany(timeout_ms=500)
            for place, records in fetched.items():
                await self._note(place.partition, records)

    async def _note(self, partition: int, records: Sequence[object]) -> None:
        for record in reversed(records):
            if record.key == META:  # type: ignore[attr-defined]  # aiokafka has no types
                async with self._news:
                    self.next_offset[partition] = orjson.loads(record.value)["next_offset"]  # type: ignore[attr-defined]
                    self._news.notify_all()
                return


@asynccontextmanager
async def progress(settings: KafkaSettings) -> AsyncIterator[Progress]:
    """Follows `quota.state` from its beginning."""
    following = Progress(settings.partitions)
    consumer = AIOKafkaConsumer(
        **settings.client(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    consumer.assign([TopicPartition(settings.topic(STATE), number) for number in range(settings.partitions)])
    task = asyncio.create_task(following._follow(consumer))
    try:
        yield following
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await consumer.stop()
