"""Bytes of any kind: the decoders never raise anything but our own errors, and take nothing that is unsound."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from stream.core.errors import Rejected
from stream.core.model import MAX_BYTES, MAX_INSTANT, Deltas, Malformed, Record
from stream.wire import Decoder, decode_outcome
from stream.wire.fields import are_services, is_service
from tests.wire.samples import BATCH, DELTA, END, HOUR, NOW, START, all_rows, json_values, record

KINDS = ["batch", "registration", "deregistration", "watermark", "adjustment", "plans", "forget", "warning"]
FIELDS = [
    "service", "source", "start", "end", "in", "out", "services", "backfill", "plans", "quota", "anchor_day", "labels",
    "at", "id", "kind", "by", "why", "plan", "bytes", "until", "profile", "version", "input", "window", "speed",
    "reason", "incarnation", "revision", "plans_version",
]  # fmt: skip
GOOD: dict[str, Any] = {
    "service": "vm1/101", "source": "vm1", "start": START, "end": END, "in": 1, "out": 2, "plans": ["vpn"], "at": END,
    "id": "01J", "kind": "pin", "by": "anna", "version": 1, "input": {"partition": 0, "offset": 1, "index": 2},
    "speed": {"in": None, "out": 5}, "reason": "exceeded", "incarnation": 1, "revision": 2, "plans_version": 3,
    "window": {"slices": [{"start": 0, "end": 1, "bytes": 2}]},
}  # fmt: skip

any_document = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6)
nearly_good = st.builds(
    lambda kind, changes, gone: {
        name: value for name, value in (GOOD | ({"type": kind} if kind else {}) | changes).items() if name not in gone
    },
    st.sampled_from([None, *KINDS]),
    any_document,
    st.sets(st.sampled_from(FIELDS), max_size=2),
)
damaged = st.builds(
    lambda value, place, piece: value[: place % len(value)] + piece + value[place % len(value) + 1 :],
    st.sampled_from([orjson.dumps(document) for document in (DELTA, BATCH, GOOD)]),
    st.integers(0, 10_000),
    st.binary(max_size=3),
)
any_value = (
    st.none()
    | st.binary(max_size=60)
    | json_values.map(lambda value: orjson.dumps(value, default=str) if _fits(value) else b"0")
    | nearly_good.map(lambda value: orjson.dumps(value) if _fits(value) else b"0")
    | damaged
)


def _fits(value: Any) -> bool:
    """Whether orjson can write it: no integer beyond 64 bits."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


@given(st.lists(st.tuples(any_value, st.none() | st.binary(max_size=9)), max_size=6))
def test_any_records_become_events(values: list[tuple[bytes | None, bytes | None]]) -> None:
    """Each record is in the events: counted, told, or refused with a reason; what is counted keeps every bound."""
    records = [Record(10 + place, NOW, key, value) for place, (value, key) in enumerate(values)]
    events = Decoder().decode(records)
    for service, start, end, in_, out, offset, _, _ in all_rows(events):
        assert is_service(service)
        assert 0 <= start < end <= min(NOW + HOUR, MAX_INSTANT)
        assert 0 <= in_ <= MAX_BYTES
        assert 0 <= out <= MAX_BYTES
        assert 10 <= offset < 10 + len(records)
    spoken_of = {row[5] for row in all_rows(events)}
    for event in events:
        if isinstance(event, Malformed):
            assert event.reason
            assert event.cure
            assert len(event.value) <= 64 * 1024
        if not isinstance(event, Deltas):
            spoken_of.add(event.position.offset)
    unspoken = [one for one in records if one.offset not in spoken_of]
    assert all(_is_empty_batch(one.value) for one in unspoken)


def _is_empty_batch(value: bytes | None) -> bool:
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("type") == "batch" and document.get("services") == []


@given(
    st.integers(1, 1020),
    st.sampled_from(["in", "services", "labels", "plans", "start", "x", "at"]),
    st.sampled_from(KINDS),
)
def test_deep_nesting_is_survived(depth: int, field: str, kind: str) -> None:
    """Arrays and objects in each other, anywhere, up to where JSON readers stop."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        nested = opening * depth + b"1" + closing * depth
        value = orjson.dumps(GOOD | {"type": kind, field: 0}).replace(
            f'"{field}":0'.encode(), f'"{field}":'.encode() + nested
        )
        in_names = orjson.dumps(BATCH).replace(b'"vm1/102"', nested)
        in_plan = b'{"type":"plans","version":1,"plans":{"vpn":{"window":' + nested + b"}}}"
        for text in (value, in_names, in_plan):
            assert Decoder().decode([record(text)])


@given(any_value)
def test_outcomes_are_read_or_rejected(value: bytes | None) -> None:
    """Reading quota.profile-changes raises Rejected and nothing else."""
    try:
        outcome = decode_outcome(value)
    except Rejected:
        return
    assert outcome.service


@given(st.lists(st.text(max_size=6).map(lambda text: f"vm1/{text}") | st.text(max_size=5) | st.integers(), max_size=5))
def test_many_services_by_the_rule_for_one(values: list[Any]) -> None:
    """All of them are services if each is."""
    assert are_services(values) == all(is_service(value) for value in values)
