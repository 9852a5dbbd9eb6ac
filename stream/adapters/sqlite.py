"""The embedded log: one SQLite file behind the same port as Kafka, power-safe, for one machine.

    append, write, take_over --> waiting --> [ one transaction ] --> each its own outcome     the writer's thread
                                 waiting  <-- what comes meanwhile goes into the next one
    read, bounds, snapshot ----------------> [ a snapshot each ]                              the reader's thread

Each thread has a connection of its own, so the event loop never waits for the disk, nor a reader for a commit.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import structlog

from stream.adapters import sqlite_records as act
from stream.adapters.admission import Stamps, check_messages, check_place
from stream.adapters.sqlite_file import RunLock, connect, in_words, open_file
from stream.adapters.sqlite_records import Stream, Transaction
from stream.core.errors import Fenced, QuotaStreamError, Unavailable
from stream.ports import DELTAS, RETENTION_MS, Clock, Fetch, Message, Role

log = structlog.get_logger()

_T = TypeVar("_T")
Job: TypeAlias = Callable[[Transaction], int]
"""Part of a transaction.  Either it raises Fenced before it has written anything, or it succeeds."""

POLL_S = 0.2
SWEEP_EVERY_MS = 600_000


class SqliteLog:
    """One process's (or one task's) access to the file.  `open` makes it, `close` ends it."""

    def __init__(self, path: Path, clock: Clock, retention_ms: Mapping[str, int]) -> None:
        self._path = path
        self._clock = clock
        self._retention_ms = retention_ms
        self._lock: RunLock | None = None
        self._partitions = 0
        self._writer, self._reader = _Worker(path), _Worker(path)
        self._streams: dict[tuple[str, int], Stream] = {}
        self._ends: dict[int, int] = {}
        """Next offsets by stream, as far as readers know of them."""
        self._arrivals: dict[int, asyncio.Event] = {}
        self._released: dict[Stream, int] = {}
        self._waiting: list[tuple[Job, asyncio.Future[int]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stamps = Stamps()
        self._sweep_at = 0
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        exclusive: bool = False,
        partitions: int | None = None,
        retention_ms: Mapping[str, int] | None = None,
        poll_s: float | None = POLL_S,
    ) -> SqliteLog:
        """Open the file at `path`, or make it.

        `exclusive`: as the one `run` on it, which also removes what is older than `retention_ms` (of the topics named;
        the others as in RETENTION_MS), a little after some of the commits.  `partitions` is fixed when the file is
        made; None takes what there is, or 1.  `poll_s`: how often to look for what other processes append; None for
        never.
        Raises InUse, Misconfigured, Corrupt, Unavailable with what to do.
        """
        opened = cls(path, clock, {**RETENTION_MS, **(retention_ms or {})})
        try:
            await opened._start(exclusive, partitions, poll_s)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _start(self, exclusive: bool, partitions: int | None, poll_s: float | None) -> None:
        if exclusive:
            self._lock = RunLock(self._path)
        self._partitions = await self._writer.run(lambda: open_file(self._path, partitions))
        await self._writer.open()
        await self._reader.open()
        self._streams = await self._reader.call(partial(act.streams, partitions=self._partitions))
        if exclusive:
            await self._reader.call(act.check_latest)
        if poll_s is not None:
            self._watcher = asyncio.create_task(self._watch(poll_s), name="log-watcher")

    @property
    def partitions(self) -> int:
        return self._partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        stream = self._stream(topic, partition)
        check_messages(topic, messages)
        return await self._commit(lambda transaction: transaction.append(stream, messages))

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await self._reader.call(partial(act.bounds, stream=self._stream(topic, partition)))

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        stream = self._stream(topic, partition)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wait_s
        while True:
            arrival = self._arrivals.setdefault(stream.id, asyncio.Event())  # before the fetch, so that none is missed
            fetch = await self._reader.call(partial(act.fetch, stream=stream, offset=offset))
            if fetch.next_offset == offset and await _is_set_by(arrival, give_up_at):
                continue
            offset = fetch.next_offset
            yield fetch
            give_up_at = loop.time() + wait_s

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        return await self._reader.call(partial(act.snapshot, stream=self._stream(topic, partition)))

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[SqliteLease]:
        check_place(DELTAS, partition, self._partitions)
        epoch = await self._commit(lambda transaction: transaction.take_over(role, partition))
        lease = SqliteLease(self, role, partition, epoch)
        try:
            yield lease
        finally:
            lease.ended = True

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        yield frozenset(range(self._partitions))
        await asyncio.Event().wait()

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        stream = self._stream(topic, partition)
        self._released[stream] = max(self._released.get(stream, 0), before_offset)

    def size_bytes(self) -> int:
        """What the log takes on the disk."""
        size = 0
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                size += Path(f"{self._path}{end}").stat().st_size
        return size

    def free_bytes(self) -> int:
        """What is left on its disk."""
        return shutil.disk_usage(Path(self._path).parent).free

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        if self._committer is not None:
            await asyncio.wait({self._committer})
        await self._reader.close()
        await self._writer.close()
        self._wake(self._arrivals.copy())  # they find it closed
        if self._lock is not None:
            self._lock.release()

    def _stream(self, topic: str, partition: int) -> Stream:
        check_place(topic, partition, self._partitions)
        return self._streams[topic, partition]

    # ------------------------------------------------------------ writing

    async def write(self, lease: SqliteLease, topic: str, messages: Sequence[Message]) -> None:
        """A write of the lease, if its epoch is the latest within the same transaction; else Fenced."""
        stream = self._stream(topic, lease.partition)
        check_messages(topic, messages)

        def job(transaction: Transaction) -> int:
            if lease.ended:
                raise Fenced(f"{lease.role} of partition {lease.partition}: this lease has ended")
            transaction.verify(lease.role, lease.partition, lease.epoch)
            return transaction.append(stream, messages)

        await self._commit(job)

    async def _commit(self, job: Job) -> int:
        """Have the job done in the next transaction.  Whoever stops waiting for it does not stop the job."""
        if self._closed:
            raise Unavailable(f"{self._path}: closed")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_what_waits(), name="log-committer")
        return await done

    async def _commit_what_waits(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit_group([job for job, _ in group], [done for _, done in group])
                await self._sweep_if_due()
        finally:
            self._committer = None

    async def _commit_group(self, jobs: Sequence[Job], dones: Sequence[asyncio.Future[int]]) -> None:
        outcomes: Sequence[int | Exception]
        now = self._clock.now()
        try:
            outcomes, ends, newest = await self._writer.call(partial(_commit_together, jobs=jobs, now=now))
        except Exception as error:
            outcomes, ends, newest = [error] * len(jobs), {}, now
        self._stamps.check(now, newest)
        for done, outcome in zip(dones, outcomes, strict=True):
            if done.done():
                continue  # nobody waits for it any more
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)
        self._ends.update(ends)
        self._wake(ends)

    async def _sweep_if_due(self) -> None:
        """Remove a little of what is too old.  What fails here is tried again later and harms nobody."""
        now = self._clock.now()
        if self._lock is None or now < self._sweep_at:
            return
        limits = {
            stream: (now - self._retention_ms[topic], self._released.get(stream, 0 if topic == DELTAS else 1 << 62))
            for (topic, _), stream in self._streams.items()
            if topic in self._retention_ms
        }
        self._sweep_at = now + SWEEP_EVERY_MS
        try:
            if await self._writer.call(partial(act.sweep, limits=limits, tombstones_until=now - act.TOMBSTONE_MS)):
                self._sweep_at = now
        except QuotaStreamError as error:
            log.warning("log.sweep_failed", cause=str(error), retry_in_s=SWEEP_EVERY_MS // 1000)

    # ------------------------------------------------------------ waking

    def _wake(self, ends: Mapping[int, object]) -> None:
        """Wake those who wait for records of these streams."""
        for stream_id in ends:
            if arrival := self._arrivals.pop(stream_id, None):
                arrival.set()

    async def _watch(self, poll_s: float) -> None:
        """Wake readers when others have appended, or so that they meet the error themselves."""
        version = -1
        while True:
            await asyncio.sleep(poll_s)
            if not self._arrivals:
                continue
            try:
                before, version = version, await self._reader.call(act.data_version)
                ends = await self._reader.call(act.ends) if version != before else self._ends
            except QuotaStreamError:
                self._wake(self._arrivals.copy())
                continue
            changed = {stream_id: end for stream_id, end in ends.items() if end != self._ends.get(stream_id)}
            self._ends = ends
            self._wake(changed)


class SqliteLease:
    """Ownership of a partition, while its epoch is the latest in the file."""

    def __init__(self, log: SqliteLog, role: Role, partition: int, epoch: int) -> None:
        self._log = log
        self.role = role
        self.partition = partition
        self.epoch = epoch
        self.ended = False

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        return await self._log.snapshot(topic, self.partition)

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        await self._log.write(self, topic, messages)


class _Worker:
    """A connection and the one thread that uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quota-log")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        with in_words(self._path, opening=True):
            self._connection = await self.run(lambda: connect(self._path))

    async def call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Have `work` done in the thread, after what was asked before.  Foreign errors come back as ours."""
        connection = self._connection
        if connection is None:
            raise Unavailable(f"{self._path}: closed")
        with in_words(self._path):
            return await self.run(lambda: work(connection))

    async def close(self) -> None:
        """After what was asked before."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with in_words(self._path):
                await self.run(connection.close)
        self._executor.shutdown(wait=False)

    async def run(self, work: Callable[[], _T]) -> _T:
        """The same for what needs no connection, and raises errors of ours by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _commit_together(
    connection: sqlite3.Connection, jobs: Sequence[Job], now: int
) -> tuple[list[int | Exception], dict[int, int], int]:
    """One transaction for all jobs.  Returns the outcome of each, the new ends of what was appended to, and the newest
    append time of it."""
    with act.transaction(connection, "BEGIN IMMEDIATE"):
        transaction = Transaction(connection, now)
        outcomes = [_outcome(job, transaction) for job in jobs]
        transaction.finish()
    return outcomes, transaction.ends, transaction.newest


def _outcome(job: Job, transaction: Transaction) -> int | Exception:
    try:
        return job(transaction)
    except Fenced as fenced:
        return fenced  # it has written nothing, so the others may go on


async def _is_set_by(event: asyncio.Event, deadline: float) -> bool:
    try:
        async with asyncio.timeout_at(deadline):
            return await event.wait()
    except TimeoutError:
        return False
