"""What a replica knows, in the words of the API and the pages.  Instants are ms since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from stream.core.enforced import Enforcement
from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.core.view import ServiceView

Sort: TypeAlias = Literal["service", "usage", "changed", "counted_to", "speed"]
EntryKind: TypeAlias = Literal["decision", "warning", "enforcement"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what a replica shows is."""

    as_of: int | None
    """Everything that was durable at this instant is shown; None until all was read once."""
    age_ms: int | None
    restored: int
    """How many partitions were read to their end so far, of `partitions`."""
    partitions: int
    behind_ms: int
    """The age of the oldest record that no tracker has counted yet; 0 when all are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One service in a list."""

    service: str
    labels: Mapping[str, str]
    speed: Speed
    """Due, over all plans and adjustments."""
    plans: tuple[RowPlan, ...]
    source: str
    counted_to: int | None
    changed_at: int | None
    """Of the last decision: when the youngest of its plans' profiles was entered."""


@dataclass(frozen=True, slots=True)
class RowPlan:
    plan: str
    profile: str
    usage_bytes: int
    quota_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which services, in which order.  Everything that is given must hold."""

    text: str = ""
    """Of id, name, account or IP address: a beginning, whatever its case; `exact` asks for the whole."""
    exact: bool = False
    platform: str | None = None
    plan: str | None = None
    profile: str | None = None
    slowed: bool | None = None
    """Whether they are due less than the speed of their plans' first profiles."""
    sort: Sort = "service"
    descending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Found:
    rows: Sequence[Row]
    total: int
    """How many services there are of which `rows` is a part."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything about one service."""

    view: ServiceView
    plans: Mapping[str, Plan]
    """Of the service, as in force, by name."""
    enforcement: Enforcement | None
    comparison: Mapping[str, Any] | None
    """The platform's own total of the month beside ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened to a service: a line of its history."""

    id: str
    """Unique and stable: of a decision `<service>/<incarnation>/<revision>`."""
    kind: EntryKind
    service: str
    at: int
    incarnation: int
    revision: int | None
    document: Mapping[str, Any]
    """The record as it is in the log: see `schemas/`; of an enforcement the receipt."""
    appended: int
    """The log's append time: when it was known, ms."""


@dataclass(frozen=True, slots=True)
class Entries:
    entries: Sequence[Entry]
    """Newest first."""
    next: str | None
    """Give it as `before` to get those that follow; None at the end."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    name: str
    services: int
    counted_to: int | None
    """Up to where the service that is furthest behind is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformStatus:
    name: str
    released: bool
    braked: bool
    allowed_until: int
    shadow: bool
    configured: bool
    standing: Mapping[str, Standing] = field(default_factory=dict)
    """What waits for somebody, by kind: braked, suspect, left, yielded, unreturned."""


@dataclass(frozen=True, slots=True)
class Standing:
    services: int
    some: Sequence[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should mend."""

    id: str
    """Stable while it lasts, e.g. `stale-source/vm1`."""
    text: str
    """A sentence with what, where and what to do."""
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    id: str
    at: int
    reason: str
    cure: str
    value: str
    """The rejected record as text; what is no UTF-8 is replaced."""
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Letters:
    letters: Sequence[Letter]
    """Newest first."""
    next: str | None


@dataclass(frozen=True, slots=True)
class PlansInForce:
    version: int
    plans: Mapping[str, Plan]
    versions: Sequence[int]
    """By partition: they differ while a broadcast is under way."""


@dataclass(frozen=True, slots=True)
class Population:
    """How many services were in a profile at an instant."""

    at: int
    plan: str
    profile: str
    services: int


@dataclass(frozen=True, slots=True)
class News:
    """Something has changed: whoever shows it asks anew."""

    kind: Literal["state", "entry", "letter"]
    services: frozenset[str] | None = None
    """Those that changed; None: any may have."""
