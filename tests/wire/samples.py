"""Records, events and documents that the tests of this folder have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from hypothesis import strategies as st

from stream.core.model import Deltas, Event, Malformed, Names, Record

NOW = 1_764_547_260_000
HOUR = 3_600_000
START, END = NOW - HOUR, NOW

DELTA = {"service": "vm1/101", "start": START, "end": END, "in": 120000, "out": 4500}
BATCH = {
    "type": "batch",
    "source": "vm1",
    "start": START,
    "end": END,
    "services": ["vm1/101", "vm1/102"],
    "in": [120000, 7],
    "out": [4500, 0],
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(["vm1/101", "batch", "vpn", START, END]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def record(value: Mapping[str, Any] | bytes | None, offset: int = 7, *, key: bytes | None = None) -> Record:
    """A record appended at NOW."""
    return Record(offset, NOW, key, written(value) if isinstance(value, Mapping) else value)


def written(value: Mapping[str, Any]) -> bytes:
    """As JSON; integers beyond 64 bits, which JSON has and orjson does not write, as well."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value).encode()


def names_of(deltas: Deltas) -> list[str]:
    return deltas.names.strings() if isinstance(deltas.names, Names) else list(deltas.names)


def rows(deltas: Deltas) -> list[tuple[Any, ...]]:
    """One tuple for each delta: service, start, end, in, out, offset, index, backfill."""
    count = len(deltas.in_)

    def column(value: Any) -> list[int]:
        return [value] * count if isinstance(value, int) else [int(element) for element in value]

    index = list(range(count)) if deltas.index is None else column(deltas.index)
    columns = (deltas.start, deltas.end, deltas.in_, deltas.out, deltas.offset)
    return list(zip(names_of(deltas), *map(column, columns), index, [deltas.backfill] * count, strict=True))


def all_rows(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    return [row for event in events if isinstance(event, Deltas) for row in rows(event)]


def malformed(events: Sequence[Event]) -> list[Malformed]:
    return [event for event in events if isinstance(event, Malformed)]
