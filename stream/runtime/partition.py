"""The tracker's life on one partition.  Every guarantee hangs on the order of effects in `own`; keep it short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import structlog

from stream import wire
from stream.core.errors import Truncated
from stream.core.model import MAX_AHEAD_MS, Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Clock, Fetch, Lease, Log, Message, Record
from stream.runtime.beside import Beside
from stream.runtime.checkpoint import State, restore
from stream.runtime.deadlines import taken_over
from stream.runtime.plans import Configured, InForce
from stream.runtime.telling import teller

log_ = structlog.get_logger()

APPENDED = "appended"
"""Header of an outcome: append time (ms) of the record that caused it, from which the enforcer measures its latency."""

IDLE_S = 60.0
"""How long a read may wait for records before it looks up."""

RESOLUTION_S = 0.001
"""A timer of the loop may fire so much early: what is left then is no reason to wait again."""

SLICE_BYTES = 256 * 1024
"""Records that are applied at one go, before others have their turn."""

RECORD_BYTES = 100
"""What a record weighs besides its value."""

MOST_OUTCOMES, MOST_DEAD_LETTERS = 10_000, 1000
"""When more of them wait, a checkpoint is due at once, and nothing is applied until it can begin."""

AT_ONCE = 500
"""Records made before others may run."""
CHUNK = 200
"""Dead letters that are written at one go."""

LATE_SHARE = 0.1

RESTORE_S = 300.0
"""How long the log may take to give the whole state."""

NOTHING = Fetch((), 0)
"""What is found where nobody waited for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """When a checkpoint is due, and how long the log may take."""

    checkpoint_every_s: float = 5.0
    decision_delay_s: float = 0.2
    """So long after a decision was made a checkpoint makes it durable (and so visible).  One that is late, because the
    tracker has much to catch up with, waits for LATE_SHARE of its lateness instead if that is longer, up to
    `checkpoint_every_s`: then nobody gains by haste, and checkpoints cost time."""
    deadline_s: float = 30.0
    """For each call on the log; then the task is dropped and takes over anew."""
    max_ahead_ms: int = MAX_AHEAD_MS
    configured: Configured = field(default_factory=Configured)
    """To be compared with the plans that are in force."""
    accept_loss: bool = False
    """Where the log has removed what was not counted yet, count on behind that instead of raising Truncated."""


class TrackerObserver(Protocol):
    """What metrics want to know of a partition."""

    def restored(self, partition: int, tracker: Tracker) -> None: ...
    def applied(self, partition: int, tracker: Tracker, fetched_at_ms: int) -> None: ...
    def checkpointed(self, partition: int, next_offset: int, seconds: float, records: int) -> None: ...
    def decided(self, outcome: Decision | QuotaWarning) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def foreign_keys(self, records: int) -> None: ...


class Due:
    """When the next checkpoint is due, on the loop's clock."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._at: float | None = None

    def note(self, late_s: float | None = None) -> None:
        """Something was applied; `late_s`, how old its record is, if it brought what somebody may wait for."""
        delay_s = self._settings.checkpoint_every_s
        if late_s is not None:
            delay_s = min(delay_s, max(self._settings.decision_delay_s, LATE_SHARE * late_s))
        at = asyncio.get_running_loop().time() + delay_s
        self._at = at if self._at is None else min(self._at, at)

    def hasten(self) -> None:
        """It is due now."""
        self._at = asyncio.get_running_loop().time()

    def clear(self) -> None:
        self._at = None

    @property
    def in_s(self) -> float | None:
        """Seconds from now, 0 when it is due; None while nothing has changed."""
        if self._at is None:
            return None
        left_s = self._at - asyncio.get_running_loop().time()
        return left_s if left_s > RESOLUTION_S else 0.0


@dataclass(slots=True)
class Told:
    """What came of records that are applied, for one checkpoint."""

    outcomes: list[Message] = field(default_factory=list)
    decided: list[Decision | QuotaWarning] = field(default_factory=list)
    """The same, as they were."""
    dead_letters: list[Message] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    """Their reasons."""

    @property
    def is_full(self) -> bool:
        return len(self.outcomes) > MOST_OUTCOMES or len(self.dead_letters) > MOST_DEAD_LETTERS


class Staged(NamedTuple):
    """A checkpoint that only needs to be written: what is applied from now on belongs to the next."""

    began_s: float
    """On the loop's clock."""
    next_offset: int
    told: Told
    records: list[Message]


class Partition:
    """One partition of the tracker while it is owned: what was decided and is not durable yet."""

    def __init__(
        self,
        log: Log,
        lease: Lease,
        state: State,
        settings: TrackerSettings,
        clock: Clock,
        observer: TrackerObserver,
    ) -> None:
        self._log, self._lease, self._state = log, lease, state
        self._settings, self._clock, self._observer = settings, clock, observer
        self._decoder = wire.Decoder(
            max_ahead_ms=settings.max_ahead_ms,
            plans_version=state.tracker.plans_version,
            mappings=state.tracker.mappings,
        )
        self._told = Told()  # not staged yet
        self._read_before = 0  # what was in the log at the take-over ends here
        self._compared: int | None = None  # version of the plans that were last compared with the configuration's
        self.due = Due(settings)
        self.beside = Beside()
        """The checkpoint that is under way."""

    async def apply(self, records: Sequence[Record]) -> None:
        """Count records; what comes of them is kept for the next checkpoint.  Others run in between: who computes for
        longer than the session time-out of a consumer group is taken for dead."""
        tracker = self._state.tracker
        foreign = self._decoder.foreign_keys
        for _ in tracker.steps(self._decoder.decode(records), records[-1].offset + 1):
            await asyncio.sleep(0)
        assert self._decoder.plans_version == tracker.plans_version, "foreign records are read by other mappings"
        drained = tracker.drain()
        told = drained.outcomes or drained.dead_letters
        appended = {record.offset: record.timestamp for record in records} if told else {}
        for number, outcome in enumerate(drained.outcomes, 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            key, value, headers = wire.encode_outcome(outcome)
            since = str(appended[outcome.input.offset]).encode()
            self._told.outcomes.append(Message(key, value, (*headers, (APPENDED, since))))
        self._told.decided += drained.outcomes
        for letter in drained.dead_letters:
            at = appended[letter.position.offset]
            encoded = wire.encode_dead_letter(DELTAS, self._lease.partition, letter, appended=at)
            self._told.dead_letters.append(Message(*encoded))
            self._told.rejected.append(letter.reason)
        self._observer.applied(self._lease.partition, tracker, records[-1].timestamp)
        self._observer.foreign_keys(self._decoder.foreign_keys - foreign)
        self.due.note((self._clock.now() - records[-1].timestamp) / 1000 if told else None)
        if self._told.is_full:
            self.due.hasten()

    def skip_to(self, next_offset: int) -> None:
        """Nothing to count lies before `next_offset`, if that is ahead.  Durable in the course of time: what the log
        forgets there is then not missed."""
        tracker = self._state.tracker
        if next_offset > tracker.next_offset:
            tracker.apply((), next_offset)
            self.due.note()
        self._compare_plans()

    async def skip_lost(self) -> None:
        """Go over what the log has removed too early, if that is accepted.  Raises Truncated.

        That the log ends before what is counted is for its reader to find: a broker that is behind says so as well.
        """
        partition, next_offset = self._lease.partition, self._state.tracker.next_offset
        async with asyncio.timeout(self._settings.deadline_s):
            first, self._read_before = await self._log.bounds(DELTAS, partition)
        if next_offset < first:
            lost = f"offsets {next_offset} to {first - 1} were removed before they were counted"
            if not self._settings.accept_loss:
                raise Truncated(
                    f"{DELTAS}/{partition}: {lost}; put a copy of the log back that has them, or start once with "
                    f"`--accept-loss` to count on from offset {first} without them"
                )
            log_.warning("input.lost", partition=partition, first_lost=next_offset, last_lost=first - 1, cause=lost)
            self.skip_to(first)
        self._compare_plans()

    def _compare_plans(self) -> None:
        """With the configuration's, when others are in force.  Not before all is read that was there at the take-over:
        the configuration's may be on their way."""
        tracker = self._state.tracker
        if tracker.plans_version != self._compared and tracker.next_offset >= self._read_before:
            self._compared = tracker.plans_version
            self._settings.configured.compare(InForce(tracker.plans_version, tracker.plans, tracker.mappings))

    async def checkpoint_when_due(self) -> None:
        """Stage what was applied if that is due, and let it be written beside what its owner does.  At most one is
        under way, and its error is raised here."""
        await asyncio.sleep(0)
        if self._told.is_full:
            await self.beside.end()
        if self.beside.is_free() and self.due.in_s == 0:
            self.beside.begin(self._write(await self._stage()))

    async def finish(self) -> None:
        """All that was applied is durable and shown; and what was shown is forgotten, so that it is not shown again."""
        await self.beside.end()
        while self.due.in_s is not None:
            await self._write(await self._stage())

    async def _stage(self) -> Staged:
        began_s = asyncio.get_running_loop().time()
        told, self._told = self._told, Told()
        self.due.clear()
        records: list[Message] = []
        for record in self._state.stage(told.outcomes):
            records.append(record)
            if len(records) % AT_ONCE == 0:
                await asyncio.sleep(0)
        return Staged(began_s, self._state.tracker.next_offset, told, records)

    async def _write(self, staged: Staged) -> None:
        """Make it durable, then show it.  Dead letters first: nothing moves past them unsaid."""
        partition, deadline_s, told = self._lease.partition, self._settings.deadline_s, staged.told
        for first in range(0, len(told.dead_letters), CHUNK):
            async with asyncio.timeout(deadline_s):  # a crash here repeats them, same keys
                await self._log.append(DEAD_LETTERS, partition, told.dead_letters[first : first + CHUNK])
        async with asyncio.timeout(deadline_s):
            await self._lease.write(STATE, staged.records)  # a crash before it applies the input again: same decisions
        self._state.staged_is_durable()
        self._log.release(DELTAS, partition, staged.next_offset)
        tell = teller()
        for place, outcome in enumerate(told.decided):  # counted once: what is durable is not made again
            self._observer.decided(outcome)
            tell(outcome)
            if place % AT_ONCE == 0:
                await asyncio.sleep(0)
        for reason in told.rejected:
            self._observer.rejected(reason)
        took_s = asyncio.get_running_loop().time() - staged.began_s
        self._observer.checkpointed(partition, staged.next_offset, took_s, len(staged.records))
        await self.publish()

    async def publish(self) -> None:
        """Show what is durable; a crash here shows it again, with the same content."""
        outbox = list(self._state.outbox)
        if outbox:
            async with asyncio.timeout(self._settings.deadline_s):
                await self._lease.write(CHANGES, outbox)
            self._state.published(len(outbox))
            self.due.note()  # the next checkpoint forgets them


async def own(
    log: Log,
    partition: int,
    *,
    settings: TrackerSettings,
    clock: Clock,
    observer: TrackerObserver,
    stop: asyncio.Event,
    until: int | None = None,
) -> None:
    """Own a partition until `stop` is set, or its input is applied up to the offset `until`; then checkpoint and leave.

    Raises Fenced when another owner took over, Unavailable or TimeoutError when the log does not answer: drop
    everything and call it again.  Raises Truncated when input was removed before it was counted, unless
    `settings.accept_loss`.
    """
    async with taken_over(log, "tracker", partition, deadline_s=settings.deadline_s) as lease:  # 1 fences the former
        async with asyncio.timeout(RESTORE_S):
            snapshot = await lease.snapshot(STATE)  # 2 meta, and exactly the pages that it names
        state = restore(snapshot, partition, lambda service: wire.partition_of(service, log.partitions), log.partitions)
        del snapshot
        observer.restored(partition, state.tracker)
        log_.info("partition.restored", partition=partition, next_offset=state.tracker.next_offset)
        owned = Partition(log, lease, state, settings, clock, observer)
        await owned.publish()  # 3 what was durable but perhaps not shown
        await owned.skip_lost()
        async with _fetches(log, partition, state.tracker.next_offset, settings.deadline_s) as fetch, owned.beside:
            while not stop.is_set() and (until is None or state.tracker.next_offset < until):
                try:
                    fetched = await fetch(stop, owned.beside.task, owned.due.in_s)
                except Truncated as error:
                    await owned.skip_lost()  # says what there is to do, or else the next owner goes over it
                    raise Truncated(
                        f"{error}; if it ends before what is counted, an older copy of the log, or another one, stands "
                        "in its place: put the right one back"
                    ) from error
                for some in slices(fetched.records):
                    await owned.apply(some)  # 4 pure
                    await owned.checkpoint_when_due()
                owned.skip_to(fetched.next_offset)
                await owned.checkpoint_when_due()  # 5 dead letters, 6 pages, decisions, meta, 7 publish: beside 4
            await owned.finish()


def slices(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """In order, each of about SLICE_BYTES, but of one record at least."""
    first, size = 0, 0
    for place, record in enumerate(records):
        weight = RECORD_BYTES + len(record.value or b"")
        if place > first and size + weight > SLICE_BYTES:
            yield records[first:place]
            first, size = place, 0
        size += weight
    if first < len(records):
        yield records[first:]


@asynccontextmanager
async def _fetches(log: Log, partition: int, offset: int, deadline_s: float) -> AsyncIterator[_Fetches]:
    """`await fetch(stop, task, timeout_s)`: the next fetch, or NOTHING when `stop` was set, the task has ended, or,
    where there is no task, the time is over.

    A read that is under way is kept from call to call, so that nothing is lost by looking away.
    """
    reader = log.read(DELTAS, partition, offset, wait_s=IDLE_S)
    fetch = _Fetches(reader, IDLE_S + deadline_s)
    try:
        yield fetch
    finally:
        await fetch.close()


class _Fetches:
    def __init__(self, reader: AsyncGenerator[Fetch, None], deadline_s: float) -> None:
        self._reader = reader
        self._deadline_s = deadline_s
        self._read: asyncio.Task[Fetch] | None = None

    async def __call__(self, stop: asyncio.Event, task: asyncio.Task[None] | None, timeout_s: float | None) -> Fetch:
        if self._read is None:
            self._read = asyncio.create_task(self._next())
        stopped = asyncio.create_task(stop.wait())
        waited: set[asyncio.Future[Any]] = {self._read, stopped}
        if task is not None:
            waited.add(task)
            timeout_s = None
        try:
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if not self._read.done():
            return NOTHING
        read, self._read = self._read, None
        return read.result()

    async def _next(self) -> Fetch:
        async with asyncio.timeout(self._deadline_s):
            return await anext(self._reader)

    async def close(self) -> None:
        if self._read is not None:
            self._read.cancel()
            await asyncio.wait({self._read})
        await self._reader.aclose()
