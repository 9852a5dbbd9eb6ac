"""An auditor of what was published: the rules of growing deltas in a few lines, with no import from the product."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Published(Protocol):
    @property
    def value(self) -> bytes | None: ...


class Amount(NamedTuple):
    start: int
    end: int
    in_: int
    out: int


@dataclass
class Row:
    """One service, as it should be counted."""

    service: str
    plans: tuple[str, ...] = ()
    quota: int | None = None
    anchor_day: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    current: Amount | None = None
    previous: Amount | None = None
    backfilling: bool = False
    accepted: tuple[int, int] = (0, 0)
    gap_ms: int = 0
    deltas: list[tuple[int, int, int, int, bool]] = field(default_factory=list)
    """Every delta as it came: start, end, in, out, backfill."""


@dataclass
class Book:
    """Everything that was published, applied in order."""

    rows: dict[str, Row] = field(default_factory=dict)
    registrations: list[dict[str, Any]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unregistered: list[str] = field(default_factory=list)
    """Services of deltas that no registration preceded: each would be a dead letter."""
    stale: list[tuple[str, int, int]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    """How many services each batch had."""

    def apply(self, records: Iterable[Published]) -> Book:
        for record in records:
            assert record.value is not None
            document = json.loads(record.value)
            kind = document.get("type", "delta")
            if kind == "registration":
                self._register(document)
            elif kind == "deregistration":
                self.gone.append(document["service"])
                self.rows.pop(document["service"], None)
            elif kind == "batch":
                self._batch(document)
        return self

    def accepted(self, service: str) -> tuple[int, int]:
        return self.rows[service].accepted

    def _register(self, document: dict[str, Any]) -> None:
        self.registrations.append(document)
        row = self.rows.setdefault(document["service"], Row(document["service"]))
        row.plans = tuple(document["plans"])
        row.quota, row.anchor_day = document.get("quota"), document.get("anchor_day")
        row.labels = document.get("labels", {})

    def _batch(self, document: dict[str, Any]) -> None:
        self.batches.append(len(document["services"]))
        columns = zip(document["services"], document["in"], document["out"], strict=True)
        for service, in_, out in columns:
            if service not in self.rows:
                self.unregistered.append(service)
                continue
            amount = Amount(document["start"], document["end"], in_, out)
            self.count(service, amount, bool(document.get("backfill")))

    def count(self, service: str, delta: Amount, backfill: bool) -> None:
        """One delta of a registered service."""
        row = self.rows[service]
        row.deltas.append((*delta, backfill))
        row.backfilling = backfill
        current, previous = row.current, row.previous
        if current is None or (delta.start != current.start and delta.start >= current.end):
            row.gap_ms += delta.start - current.end if current is not None else 0
            row.previous, row.current = current, delta
            self._add(row, delta.in_, delta.out)
        elif delta.start == current.start:
            row.current = self._grow(row, current, delta)
        elif previous is not None and delta.start == previous.start and delta.end <= current.start:
            row.previous = self._grow(row, previous, delta)
        else:
            self.stale.append((row.service, delta.start, delta.end))

    def _grow(self, row: Row, former: Amount, delta: Amount) -> Amount:
        if delta.end < former.end:
            return former
        self._add(row, max(0, delta.in_ - former.in_), max(0, delta.out - former.out))
        return Amount(former.start, delta.end, max(former.in_, delta.in_), max(former.out, delta.out))

    def _add(self, row: Row, in_: int, out: int) -> None:
        row.accepted = row.accepted[0] + in_, row.accepted[1] + out
