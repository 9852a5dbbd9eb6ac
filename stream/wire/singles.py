"""Single deltas, gathered while they stand next to each other in the log, so that they are applied in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson

from stream.core.errors import Rejected
from stream.core.model import Deltas, Event, Record
from stream.wire.columns import Elements, Numbers, array
from stream.wire.documents import refused
from stream.wire.fields import flag

Columns: TypeAlias = tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]
"""service, start, end, in, out: whatever JSON holds."""

_NAMES = ("service", "start", "end", "in", "out")
_MOST_BYTES = 1024


def plain(records: Sequence[Record]) -> Columns | None:
    """Of records that are single deltas and say nothing but the five things of which each consists; else None.

    That is what foreign publishers send by the million, so many records are read as one array.  Each is one object of
    it: between two of them, and nowhere else, is a line's end, which no string can hold, an object ends before it and
    one begins after it; and there are no more braces than records.
    """
    values, count = [record.value or b"" for record in records], len(records)
    if max(map(len, values)) > _MOST_BYTES:
        return None
    text = b"[%b]" % b",\n".join(values)
    if text.count(b"\n") != count - 1 or text.count(b"},\n{") != count - 1 or text.count(b"{") != count:
        return None
    if text.count(b":") != len(_NAMES) * count:  # one for each key: more may be a key that stands twice
        return None
    try:
        documents = orjson.loads(text)
        services, start, end, in_, out = ([document[name] for document in documents] for name in _NAMES)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return (services, start, end, in_, out)


class Singles:
    """The run of single deltas that is being gathered; each run is of one kind, backfill or not."""

    def __init__(self, events: list[Event], max_ahead_ms: int) -> None:
        """What is gathered goes to the end of `events`."""
        self._events = events
        self._max_ahead_ms = max_ahead_ms
        self._columns: Columns = ([], [], [], [], [])
        self._records: list[Record] = []
        self._mapped: dict[int, str] = {}
        self._backfill = False

    def add(self, record: Record, document: dict[str, Any], mapping: str | None = None) -> None:
        """One more; `mapping` is the name of the one that made it of what the record holds.  Raises Rejected."""
        services, start, end, in_, out = ([document.get(name)] for name in _NAMES)
        self.extend([record], (services, start, end, in_, out), backfill=flag(document, "backfill"))
        if mapping is not None:
            self._mapped[record.offset] = mapping

    def extend(self, records: Sequence[Record], columns: Columns, *, backfill: bool) -> None:
        """More of one kind."""
        if backfill != self._backfill:
            self.end()
            self._backfill = backfill
        for column, more in zip(self._columns, columns, strict=True):
            column += more
        self._records += records

    def end(self) -> None:
        """The run is over: its sound deltas as one event, then each of the others with what is wrong with it."""
        if not self._records:
            return
        records, mapped = self._records, self._mapped
        elements = Elements(*self._columns, [record.timestamp + self._max_ahead_ms for record in records])
        self._columns, self._records, self._mapped = ([], [], [], [], []), [], {}
        numbers = elements.numbers()
        if numbers is not None:
            self._events.append(self._deltas(elements.services, numbers, records))
            return
        refusals = elements.refusals()
        kept = [index for index in range(len(records)) if index not in refusals]
        if kept:
            sound = elements.only(kept)
            start, end, in_, out = map(array, sound[1:5])
            self._events.append(self._deltas(sound.services, (start, end, in_, out), [records[each] for each in kept]))
        for index, refusal in refusals.items():
            record = records[index]
            told = _told(refusal, mapped[record.offset]) if record.offset in mapped else refusal
            self._events.append(refused(record, told))

    def _deltas(self, services: Sequence[str], numbers: Numbers, records: Sequence[Record]) -> Deltas:
        offsets = array([record.offset for record in records])
        places = np.zeros(len(records), np.int64)
        return Deltas(services, *numbers, offsets, index=places, backfill=self._backfill)


def _told(refusal: Rejected, mapping: str) -> Rejected:
    """With the mapping's name, behind the part of a reason that is a metric's label."""
    joined = ", " if ": " in refusal.reason else ": "
    return Rejected(f"{refusal.reason}{joined}as the mapping {mapping} reads it", refusal.cure)
