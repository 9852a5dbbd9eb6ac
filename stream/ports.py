"""What the runtime asks of the world: four small protocols, whose docstrings are the contracts.

Two adapters at least stand behind each: memory and SQLite (later Kafka) behind `Log` and `Lease`, VMmanager and the
tests' in-process platform behind `Platform`, the system and the warped clock behind `Clock`.  Everything that waits
uses asyncio's own time (`asyncio.sleep`, `asyncio.timeout`), so a loop with another idea of time moves all of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

from stream.core.model import MAX_RECORD_BYTES as MAX_RECORD_BYTES
from stream.core.model import Message as Message
from stream.core.model import Record as Record
from stream.core.model import Speed

DELTAS = "traffic.deltas"
STATE = "quota.state"
CHANGES = "quota.profile-changes"
ENFORCEMENTS = "quota.enforcements"
DEAD_LETTERS = "quota.dead-letters"

TOPICS = (DELTAS, STATE, CHANGES, ENFORCEMENTS, DEAD_LETTERS)
COMPACTED = frozenset({STATE, ENFORCEMENTS})
"""Of these only the latest value of each key is kept; a value of None removes the key."""

_DAY_MS = 86_400_000
RETENTION_MS: Mapping[str, int] = {DELTAS: 40 * _DAY_MS, CHANGES: 400 * _DAY_MS, DEAD_LETTERS: 30 * _DAY_MS}
"""How long the records of the other topics are kept, unless the configuration says something else."""

Role: TypeAlias = Literal["tracker", "enforcer", "collector", "notifier"]


class Fetch(NamedTuple):
    """What one step of a read has found.

    offsets   17 | 18  19  20  21  22 | 23
    records      |  x   x       x     |           next_offset = 23: at 20, 21 and 22 nothing is left for readers
    """

    records: Sequence[Record]
    """In order of their offsets; perhaps none."""
    next_offset: int
    """Where the next fetch begins: behind the last record, or further where nothing for readers lies behind it (a
    transaction's marker, what was aborted or compacted away).  It never goes back; without records it may move on."""


class Log(Protocol):
    """Ordered, durable partitions.  All topics have the same number of them.

    Offsets are *next to read*: they grow by at least one from record to record within a partition (there may be gaps)
    and are never used twice.  Raises Unavailable when it cannot answer now, Truncated and Corrupt as their names say.
    """

    @property
    def partitions(self) -> int: ...

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        """Append in order; durable when it returns.  Not fenced.  Returns the offset after the last one.

        A message over MAX_RECORD_BYTES (key and value together), or without a key on a compacted topic, raises Rejected
        and nothing is appended.
        When it raises Unavailable, any part of `messages` may be in the log all the same.
        """
        ...

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(first offset kept, offset after the last durable record)."""
        ...

    def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        """Fetches from `offset` on, in order, for ever; at most a few MB each.

        Yields a fetch without records whenever nothing came for `wait_s`, so that the caller can look at its own clock.
        Who reads up to an end that `bounds` has given looks at `next_offset`, which gets there, and not at records.
        Raises Truncated when records from `offset` on are no longer kept, also when the log ends before `offset` (an
        older copy was put in its place).  Close it with `aclose()`.
        """
        ...

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        """The latest value of each key of a compacted topic, as of one instant not before the call."""
        ...

    def take_over(self, role: Role, partition: int) -> AbstractAsyncContextManager[Lease]:
        """Become the one owner of (role, partition): from the moment it is entered, every write of a former owner
        raises Fenced there and leaves no trace.  Raises Unavailable when that cannot be had now."""
        ...

    def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        """The partitions that this process is to serve in `role`, each time that changes; the first one at once.
        The embedded log yields all of them once and then waits."""
        ...

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        """Nobody is going to read what lies before `before_offset`.  Deltas that nobody has released are kept however
        old they are, where the log itself decides on that (Kafka does not); call it after each checkpoint."""
        ...

    async def close(self) -> None:
        """Let what is under way end, then leave the log.  Waiting readers and later calls get Unavailable."""
        ...


class Lease(Protocol):
    """Ownership of one (role, partition).  Ends with its context manager."""

    @property
    def partition(self) -> int: ...

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        """As Log.snapshot of this partition, but not before the take-over: nothing of a former owner comes later."""
        ...

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        """Append to this partition of `topic`, all or nothing where the log can (Kafka may tear it: any prefix), in
        order, durable when it returns.  Raises Fenced when somebody else has taken over, and writes nothing then."""
        ...


# ---------------------------------------------------------------- platforms


@dataclass(frozen=True, slots=True)
class Machine:
    """One service as the platform lists it.  `limits` are what it enforces now; None is "unlimited"."""

    service: str
    """`<platform>/<id>`."""
    name: str
    running: bool
    limits: Speed
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For rules and labels: id, name, tag (many), account, node, cluster, ip."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything the platform has, as of some instant between `began_at` and its arrival (ms)."""

    began_at: int
    machines: Mapping[str, Machine]
    """By service id."""
    unreadable: frozenset[str] = frozenset()
    """Services that the platform has but whose entry could not be understood: they exist, and no more is known."""


class Traffic(NamedTuple):
    """Bytes per direction in `[start, end)`."""

    end: int
    in_: int
    out: int


TaskState: TypeAlias = Literal["running", "complete", "failed", "unknown"]


class Platform(Protocol):
    """What holds the services.  Raises Unavailable (try later), Refused (do not loop), both with platform and cause."""

    @property
    def name(self) -> str: ...

    async def list(self) -> Listing: ...

    async def traffic(self, service: str, start: int, ends: Sequence[int]) -> Sequence[Traffic] | None:
        """Totals of `[start, end)` for each of `ends` (ascending, all after `start`, within 26 hours of it).

        Only what the platform has closed is in them: a later call for the same interval may give more.  An element
        ends where its newest closed numbers end, which may be before the end that was asked for, and ends that say
        nothing new are left out; so fewer may come than were asked for.  None: the platform has no data (which is not
        zero).  Edges are whole multiples of `sampling_ms`.
        """
        ...

    async def total(self, service: str, start: int, end: int) -> Traffic | None:
        """The platform's own figure for `[start, end)`, got in another way than `traffic`, to be compared with ours.

        Not exact at its edges.  None: the platform has no data, or no such figure.
        """
        ...

    @property
    def sampling_ms(self) -> int:
        """The platform's sampling step: intervals begin and end on multiples of it (UTC)."""
        ...

    async def set_speed(self, service: str, speed: Speed) -> str | None:
        """Ask for new limits (None: unlimited).  Returns the id of the platform's task, or None when it is done."""
        ...

    async def task(self, task_id: str) -> TaskState: ...

    def express(self, speed: Speed) -> Speed:
        """The nearest speed that the platform can show, never faster (VMmanager: whole Mbit/s, at least 1)."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- who is told


class Receiver(Protocol):
    """Who is told of what happens."""

    async def deliver(self, event: bytes) -> None:
        """One CloudEvent in structured JSON; the receiver has it for good when this returns.

        Raises Unavailable (try again later: it may have got it), Refused (it understood and does not want this one).
        """
        ...

    async def close(self) -> None: ...


class Clock(Protocol):
    def now(self) -> int:
        """Wall-clock time in ms since the epoch (UTC)."""
        ...
