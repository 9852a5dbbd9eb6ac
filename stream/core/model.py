"""The words of the product as types: what comes in (events), what goes out (decisions, warnings, rejects).

Instants are integer milliseconds since the epoch (`*_ms` or, for fields named as on the wire, `at`, `start`,
`end`, `until`).  Bytes are integers.  An *amount* is in hundredths of a byte (in x weight + out x weight, in
percent).  Intervals are half-open `[start, end)`.  Speeds are bit/s per direction; None is `original`, the
speed that the platform had before we touched it, and counts as faster than any number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.core.mapping import FieldMapping
from stream.core.plan import Plan
from stream.core.speed import ORIGINAL as ORIGINAL
from stream.core.speed import Speed as Speed

Int64s: TypeAlias = NDArray[np.int64]

MAX_BYTES = 1 << 50
"""Most bytes that one delta may carry per direction (1 PiB); more is a dead letter."""

MAX_DELTA_MS = 400 * 86_400_000
"""Longest interval of one delta; a longer one is a dead letter."""

MAX_INSTANT = 253_402_300_800_000 - 1
"""No instant lies after this one, the last of the year 9999 (UTC), nor before 0."""

MAX_AHEAD_MS = 3_600_000
"""Default of `max_ahead`: how far after its append time a record may speak of."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where an event stands: in this partition's input, the record's offset and the element's place in it."""

    offset: int
    index: int = 0


# ---------------------------------------------------------------- what the log carries

MAX_RECORD_BYTES = 512 * 1024
"""Most bytes of a record, key and value together."""


class Message(NamedTuple):
    """A record to be written.  `value=None` on a compacted topic removes the key."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Record(NamedTuple):
    """A record as read.  `timestamp` is the log's append time in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


# ---------------------------------------------------------------- what comes in


class Names:
    """The `services` column of a batch.  The decoder hands out the *same* object for the same bytes again, so that
    the tracker can remember the row numbers on it (`resolved`); the strings are parsed only when asked for."""

    __slots__ = ("count", "resolved", "strings")

    def __init__(self, strings: Callable[[], list[str]], count: int) -> None:
        self.strings = strings
        """Parses the names anew (they are not kept: a million strings are 70 MB), in order."""
        self.count = count
        self.resolved: Any = None  # the tracker's own; it checks whether that is still valid

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class Deltas:
    """Deltas as columns: one batch record, or single deltas that stand next to each other in the log.

    Every element is well-formed by itself (types, 0 <= bytes <= MAX_BYTES, 0 <= start < end <= MAX_INSTANT, at most
    MAX_DELTA_MS long, end not more than max_ahead after its append time): the decoder has turned the others into
    `Malformed`.
    """

    names: Names | Sequence[str]
    """N service ids.  The same one may stand here more than once; elements act in order."""
    start: int | Int64s
    """One instant for all, or N."""
    end: int | Int64s
    in_: Int64s
    out: Int64s
    offset: int | Int64s
    """The record's offset; N of them where single deltas were gathered."""
    index: Int64s | None = None
    """Place in the record (N; zeros for gathered singles); None: 0, 1, 2, ... for a batch that is here as a whole."""
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    position: Position
    at: int
    service: str
    source: str
    plans: tuple[str, ...]
    quota: int | None = None
    """Bytes, for plans with `quota: service`."""
    anchor_day: int | None = None
    """1..31, for plans with `anchor_day: service`."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deregistration:
    position: Position
    at: int
    service: str


@dataclass(frozen=True, slots=True)
class Watermark:
    position: Position
    at: int
    source: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    position: Position
    appended: int
    """The log's append time: ids are remembered for 40 days of it."""
    at: int
    id: str
    service: str
    kind: Literal["credit", "exempt", "pin", "unpin", "reset"]
    by: str
    why: str
    plan: str | None = None
    """None: all plans of the service.  A pin names one."""
    bytes: int | None = None
    until: int | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans, with their version, and how foreign records that come after this one are read.  Both keep the order of
    the configuration."""

    position: Position
    version: int
    plans: Mapping[str, Plan]
    mappings: Mapping[str, FieldMapping] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Malformed:
    """What the decoder refuses by itself: a record, or one element of a batch."""

    position: Position
    reason: str
    cure: str
    value: bytes
    """The rejected record or element as JSON, at most 64 KiB."""


Event: TypeAlias = Deltas | Registration | Deregistration | Watermark | Adjustment | Plans | Malformed

# ---------------------------------------------------------------- what goes out

Reason: TypeAlias = Literal[
    "registered", "exceeded", "reached", "stay_over", "period", "credit", "exempt", "pin", "unpinned", "resumed",
    "reset", "plans_changed", "deregistered",
]  # fmt: skip


class Slice(NamedTuple):
    """One slice of a window: `[start, end)` and floor(sum / 100) bytes."""

    start: int
    end: int
    bytes: int


class Decision(NamedTuple):
    """A profile change.  Explains itself; the same records always give the same decision."""

    service: str
    incarnation: int
    revision: int
    at: int
    reason: Reason
    speed: Speed
    """The speed to enforce, over all plans and adjustments."""
    plans_version: int
    input: Position
    partition: int
    plan: str | None = None
    from_: str | None = None
    to: str | None = None
    profile_speed: Speed | None = None
    usage_bytes: int | None = None
    quota_bytes: int | None = None
    """The quota of `from` with its credit; None where there is none."""
    window: tuple[Slice, ...] | None = None
    """Oldest first; as judged, before a reset empties it."""
    adjustment: Mapping[str, Any] | None = None
    """id, kind, by, why (and bytes, until, plan, profile where given) of the adjustment that caused it."""


class QuotaWarning(NamedTuple):
    """`percent` of quota plus credit is reached without a step down."""

    service: str
    incarnation: int
    plan: str
    profile: str
    at: int
    percent: int
    usage_bytes: int
    quota_bytes: int
    window: tuple[Slice, ...]
    plans_version: int
    input: Position
    partition: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record or element, with origin, reason and cure."""

    position: Position
    reason: str
    cure: str
    value: bytes
