"""From the records of one partition of traffic.deltas to events."""

from __future__ import annotations

from collections.abc import Sequence

from stream.core.errors import Rejected
from stream.core.model import MAX_AHEAD_MS, Event, Record
from stream.wire.batches import MIN_QUICK_BYTES, quick, thorough
from stream.wire.controls import CONTROLS
from stream.wire.documents import parse, refused, sized
from stream.wire.names import RememberedNames
from stream.wire.singles import Singles


class Decoder:
    """Reads the records of one partition; remembers the names of its batches.

    No record makes it raise: what cannot be read comes out as Malformed, in its place in the order of the log.
    """

    def __init__(self, *, max_ahead_ms: int = MAX_AHEAD_MS) -> None:
        self._max_ahead_ms = max_ahead_ms
        self._remembered = RememberedNames()
        self.foreign_keys = 0
        """Records so far whose key was not the service they speak of.  They count all the same: the key only chose the
        partition, and the tracker says so if that was the wrong one."""

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """The events of these records, in order.  Single deltas that stand next to each other are gathered."""
        events: list[Event] = []
        singles = Singles(events)
        for record in records:
            try:
                read = self._read(record, singles)
            except Rejected as refusal:
                read = [refused(record, refusal)]
            if read is not None:
                singles.end()
                events += read
        singles.end()
        return events

    def _read(self, record: Record, singles: Singles) -> Sequence[Event] | None:
        """The events of one record; None if it is a single delta and waits with the others for a gathering."""
        value = sized(record.value)
        latest = record.timestamp + self._max_ahead_ms
        if len(value) >= MIN_QUICK_BYTES and (batch := quick(record, value, latest, self._remembered)):
            return [batch]
        document = parse(value)
        kind = document.get("type")
        if record.key is not None:
            self._check_key(record.key, document.get("service"))
        if kind is None:
            singles.add(record, document, latest)
            return None
        if kind == "batch":
            return thorough(record, document, latest)
        control = CONTROLS.get(kind) if isinstance(kind, str) else None
        if control is None:
            known = ", ".join(("batch", *CONTROLS))
            raise Rejected("type is unknown", f"write one of {known}, or no type for a single delta; or upgrade")
        return [control(record, document, latest)]

    def _check_key(self, key: bytes, service: object) -> None:
        if isinstance(service, str) and service.encode() != key:
            self.foreign_keys += 1
