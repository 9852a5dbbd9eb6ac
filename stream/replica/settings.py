"""What a replica is told: what its judgements need to know of the configuration, and how it goes about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.mapping import FieldMapping
from stream.core.plan import Plan
from stream.ports import RETENTION_MS


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Of a configured platform."""

    patience_ms: int
    """A service that is counted to an instant so long ago is a problem."""
    shown_within_ms: int
    """The platform shows what it was asked for within this time; later is a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    shadow: bool = False
    platforms: Mapping[str, PlatformSettings] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    """Of the configuration, to be compared with those in force; none: not compared."""
    mappings: Mapping[str, FieldMapping] = field(default_factory=dict)
    retention_ms: Mapping[str, int] = field(default_factory=lambda: dict(RETENTION_MS))
    """How long the index keeps what was in a topic."""
    history: bool = True
    """Without it, `quota.profile-changes` is not read, and there is no history."""
    sample_every_ms: int = 300_000
    """How often the population is noted."""
