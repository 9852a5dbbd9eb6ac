"""Single deltas, gathered while they stand next to each other in the log, so that they are applied in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.core.model import Deltas, Event, Record
from stream.wire.columns import Elements, array
from stream.wire.documents import refused
from stream.wire.fields import flag


class Singles:
    """The run of single deltas that is being gathered; each run is of one kind, backfill or not."""

    def __init__(self, events: list[Event]) -> None:
        """What is gathered goes to the end of `events`."""
        self._events = events
        self._elements: list[tuple[Any, Any, Any, Any, Any, int]] = []
        self._records: list[Record] = []
        self._backfill = False

    def add(self, record: Record, document: dict[str, Any], latest: int) -> None:
        """One more.  Raises Rejected."""
        backfill = flag(document, "backfill")
        if backfill != self._backfill:
            self.end()
            self._backfill = backfill
        get = document.get
        self._elements.append((get("service"), get("start"), get("end"), get("in"), get("out"), latest))
        self._records.append(record)

    def end(self) -> None:
        """The run is over: its sound deltas as one event, then each of the others with what is wrong with it."""
        if not self._records:
            return
        elements, records = Elements(*zip(*self._elements, strict=True)), self._records
        self._elements, self._records = [], []
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
        self._events += (refused(records[index], refusal) for index, refusal in refusals.items())
