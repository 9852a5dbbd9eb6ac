"""What a machine is registered with: the outcome of the configuration's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from stream.ports import Machine

LABEL_LIMIT = 200
"""Characters of a label's value."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Plans, and what comes with them.  Without plans a service is left alone."""

    plans: tuple[str, ...]
    quota: int | None = None
    """Bytes, for plans with `quota: service`."""
    anchor_day: int | None = None
    """1..31, for plans with `anchor_day: service`."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def fitting(self) -> Enrolment:
        """With labels cut to what the log takes: a service is not to be lost for the sake of a long name."""
        return replace(self, labels={name: value[:LABEL_LIMIT] for name, value in self.labels.items()})


Match: TypeAlias = Callable[[Machine], Enrolment | None]
"""What the rules say of a machine; None: no rule matches."""
