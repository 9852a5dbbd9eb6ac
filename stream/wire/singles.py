"""Single deltas, gathered while they stand next to each other in the log, so that they are applied in one go."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import orjson

from stream.core.errors import Rejected
from stream.core.model import Deltas, Event, Record
from stream.wire.columns import Elements, array
from stream.wire.documents import refused
from stream.wire.fields import flag

Element: TypeAlias = tuple[Any, Any, Any, Any, Any]
"""service, start, end, in, out: whatever JSON holds."""

_ELEMENT = itemgetter("service", "start", "end", "in", "out")
_KEYS = 5
_MOST_BYTES = 1024


def plain(records: Sequence[Record]) -> list[Element] | None:
    """Of records that are single deltas and say nothing but the five things of which each consists; else None.

    That is what foreign publishers send by the million, so it is looked for in many records at once.
    """
    values = [record.value or b"" for record in records]
    if max(map(len, values)) > _MOST_BYTES:
        return None
    try:
        documents = list(map(orjson.loads, values))
        elements = list(map(_ELEMENT, documents))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    # each key is followed by a colon: more colons than keys may be a key that stands twice
    alike = set(map(len, documents)) == {_KEYS} == {value.count(b":") for value in values}
    return elements if alike else None


class Singles:
    """The run of single deltas that is being gathered; each run is of one kind, backfill or not."""

    def __init__(self, events: list[Event], max_ahead_ms: int) -> None:
        """What is gathered goes to the end of `events`."""
        self._events = events
        self._max_ahead_ms = max_ahead_ms
        self._elements: list[Element] = []
        self._records: list[Record] = []
        self._mapped: dict[int, str] = {}
        self._backfill = False

    def add(self, record: Record, document: dict[str, Any], mapping: str | None = None) -> None:
        """One more; `mapping` is the name of the one that made it of what the record holds.  Raises Rejected."""
        get = document.get
        element = (get("service"), get("start"), get("end"), get("in"), get("out"))
        self.extend([record], [element], backfill=flag(document, "backfill"))
        if mapping is not None:
            self._mapped[record.offset] = mapping

    def extend(self, records: Sequence[Record], elements: Sequence[Element], *, backfill: bool) -> None:
        """More of one kind."""
        if backfill != self._backfill:
            self.end()
            self._backfill = backfill
        self._elements += elements
        self._records += records

    def end(self) -> None:
        """The run is over: its sound deltas as one event, then each of the others with what is wrong with it."""
        if not self._records:
            return
        records, mapped = self._records, self._mapped
        latest = [record.timestamp + self._max_ahead_ms for record in records]
        services, start, end, in_, out = zip(*self._elements, strict=True)
        elements = Elements(services, start, end, in_, out, latest)
        self._elements, self._records, self._mapped = [], [], {}
        refusals = elements.refusals()
        kept = [index for index in range(len(records)) if index not in refusals]
        if kept:
            sound = elements.only(kept) if refusals else elements
            offsets = [records[index].offset for index in kept]
            self._events.append(
                Deltas(
                    sound.services,
                    array(sound.start),
                    array(sound.end),
                    array(sound.in_),
                    array(sound.out),
                    array(offsets),
                    index=np.zeros(len(kept), np.int64),
                    backfill=self._backfill,
                )
            )
        for index, refusal in refusals.items():
            record = records[index]
            told = _told(refusal, mapped[record.offset]) if record.offset in mapped else refusal
            self._events.append(refused(record, told))


def _told(refusal: Rejected, mapping: str) -> Rejected:
    """With the mapping's name, behind the part of a reason that is a metric's label."""
    joined = ", " if ": " in refusal.reason else ": "
    return Rejected(f"{refusal.reason}{joined}as the mapping {mapping} reads it", refusal.cure)
