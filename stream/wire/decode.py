"""From the records of one partition of traffic.deltas to events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from stream.core.errors import Rejected
from stream.core.mapping import FieldMapping
from stream.core.model import MAX_AHEAD_MS, Event, Plans, Record
from stream.wire.batches import MIN_QUICK_BYTES, quick, thorough
from stream.wire.controls import CONTROLS
from stream.wire.documents import parse, refused, sized
from stream.wire.mappings import Translator
from stream.wire.names import RememberedNames
from stream.wire.singles import Singles, plain

CHUNK = 256
"""So many records are looked at together."""

_TYPES: Final = frozenset(("batch", *CONTROLS))
_DELTA: Final = frozenset(("service", "start", "end", "in", "out"))


class Decoder:
    """Reads the records of one partition; remembers the names of its batches, and the mappings in force.

    No record makes it raise: what cannot be read comes out as Malformed, in its place in the order of the log.
    """

    def __init__(
        self,
        *,
        max_ahead_ms: int = MAX_AHEAD_MS,
        plans_version: int = 0,
        mappings: Mapping[str, FieldMapping] | None = None,
    ) -> None:
        """`mappings` are in force at first, with the plans of that version; a newer plans record brings its own."""
        self._max_ahead_ms = max_ahead_ms
        self.plans_version = plans_version
        self._translator = Translator(mappings or {})
        self._remembered = RememberedNames()
        self.foreign_keys = 0
        """Records so far whose key was not the service they speak of.  They count all the same: the key only chose the
        partition, and the tracker says so if that was the wrong one."""

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """The events of these records, in order.  Single deltas that stand next to each other are gathered."""
        events: list[Event] = []
        singles = Singles(events, self._max_ahead_ms)
        for first in range(0, len(records), CHUNK):
            some = records[first : first + CHUNK]
            columns = plain(some)
            if columns is None:
                self._decode_each(some, singles, events)
            else:
                self._check_keys([record.key for record in some], columns[0])
                singles.extend(some, columns, backfill=False)
        singles.end()
        return events

    def _decode_each(self, records: Sequence[Record], singles: Singles, events: list[Event]) -> None:
        for record in records:
            try:
                read = self._read(record, singles)
            except Rejected as refusal:
                read = [refused(record, refusal)]
            if read is not None:
                singles.end()
                events += read

    def _read(self, record: Record, singles: Singles) -> Sequence[Event] | None:
        """The events of one record; None if it is a single delta and waits with the others for a gathering."""
        value = sized(record.value)
        latest = record.timestamp + self._max_ahead_ms
        if len(value) >= MIN_QUICK_BYTES and (batch := quick(record, value, latest, self._remembered)):
            return [batch]
        document = parse(value)
        kind, mapping = document.get("type"), None
        if self._translator and not _is_ours(document, kind):
            mapping, document = self._translator.read(document, value)
            kind = None
        self._check_key(record.key, document.get("service"))
        if kind is None:
            singles.add(record, document, mapping)
            return None
        if kind == "batch":
            return thorough(record, document, latest)
        control = CONTROLS.get(kind) if isinstance(kind, str) else None
        if control is None:
            known = ", ".join(("batch", *CONTROLS))
            raise Rejected("type is unknown", f"write one of {known}, or no type for a single delta; or upgrade")
        event = control(record, document, latest)
        if isinstance(event, Plans) and event.version > self.plans_version:  # as the tracker does it
            self.plans_version, self._translator = event.version, Translator(event.mappings)
        return [event]

    def _check_keys(self, keys: Sequence[bytes | None], services: Sequence[object]) -> None:
        with suppress(TypeError):  # services may be anything
            if list(map(str.encode, services)) == keys:  # type: ignore[arg-type]
                return
        for key, service in zip(keys, services, strict=True):
            self._check_key(key, service)

    def _check_key(self, key: bytes | None, service: object) -> None:
        if key is not None and isinstance(service, str) and service.encode() != key:
            self.foreign_keys += 1


def _is_ours(document: Mapping[str, Any], kind: object) -> bool:
    """Whether it is a record of our own format, of which no mapping reads anything."""
    return document.keys() >= _DELTA if kind is None else isinstance(kind, str) and kind in _TYPES
