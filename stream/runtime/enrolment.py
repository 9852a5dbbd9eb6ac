"""What a machine is registered with: the outcome of the configuration's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from stream.ports import Machine


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Plans, and what comes with them.  Without plans a service is left alone."""

    plans: tuple[str, ...]
    quota: int | None = None
    """Bytes, for plans with `quota: service`."""
    anchor_day: int | None = None
    """1..31, for plans with `anchor_day: service`."""
    labels: Mapping[str, str] = field(default_factory=dict)


Match: TypeAlias = Callable[[Machine], Enrolment | None]
"""What the rules say of a machine; None: no rule matches."""
