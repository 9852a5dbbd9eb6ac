"""Decisions, warnings and dead letters as others see them."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.control import Control
from stream.core.errors import Rejected
from stream.core.model import MAX_RECORD_BYTES, DeadLetter, Decision, Position, QuotaWarning, Reason, Slice, Speed
from stream.wire import decode_outcome, encode_control, encode_dead_letter, encode_outcome

REASONS: list[Reason] = ["registered", "exceeded", "reached", "stay_over", "credit", "plans_changed", "deregistered"]

numbers = st.integers(0, 2**62)
names = st.sampled_from(["vpn", "month", "тариф", "10Mbit"])
services = st.sampled_from(["vm1/101", "радиус/anna"])
speeds = st.builds(Speed, st.none() | numbers, st.none() | numbers)
windows = st.lists(st.builds(Slice, numbers, numbers, numbers), min_size=1, max_size=4).map(tuple)
positions = st.builds(Position, numbers, numbers)
adjustments = st.fixed_dictionaries(
    {"id": names, "kind": st.sampled_from(["credit", "pin"]), "by": names, "why": st.text(max_size=9)},
    optional={"bytes": numbers, "until": numbers, "plan": names, "profile": names},
)
decisions = st.builds(
    Decision,
    service=services, incarnation=numbers, revision=numbers, at=numbers, reason=st.sampled_from(REASONS), speed=speeds,
    plans_version=numbers, input=positions, partition=numbers, plan=st.none() | names, from_=st.none() | names,
    to=st.none() | names, profile_speed=st.none() | speeds, usage_bytes=st.none() | numbers,
    quota_bytes=st.none() | numbers, window=st.none() | windows, adjustment=st.none() | adjustments,
)  # fmt: skip
warnings = st.builds(
    QuotaWarning,
    service=services, incarnation=numbers, plan=names, profile=names, at=numbers, percent=numbers, usage_bytes=numbers,
    quota_bytes=numbers, window=windows, plans_version=numbers, input=positions, partition=numbers,
)  # fmt: skip

DECISION = Decision(
    service="vm1/101", incarnation=4711, revision=2, at=1764547260000, reason="exceeded", speed=Speed(50, None),
    plans_version=3, input=Position(4790, 17), partition=1, plan="vpn", from_="default", to="50Mbit",
    profile_speed=Speed(50, 60), usage_bytes=1001, quota_bytes=1000, window=(Slice(0, 5, 1), Slice(5, 10, 1000)),
)  # fmt: skip


@given(decisions | warnings)
def test_outcomes_go_and_come_back(outcome: Decision | QuotaWarning) -> None:
    """Nothing of them is lost, and the same outcome is the same record."""
    message = encode_outcome(outcome)
    assert message == encode_outcome(outcome)
    assert message.key == outcome.service.encode()
    assert decode_outcome(message.value) == outcome


def test_a_decision_as_it_is_written() -> None:
    """Every field by its name on the wire."""
    message = encode_outcome(DECISION)
    assert orjson.loads(message.value or b"") == {
        "service": "vm1/101",
        "incarnation": 4711,
        "revision": 2,
        "plan": "vpn",
        "at": 1764547260000,
        "from": "default",
        "to": "50Mbit",
        "profile_speed": {"in": 50, "out": 60},
        "speed": {"in": 50, "out": None},
        "reason": "exceeded",
        "usage_bytes": 1001,
        "quota_bytes": 1000,
        "window": {
            "start": 0,
            "end": 10,
            "slices": [{"start": 0, "end": 5, "bytes": 1}, {"start": 5, "end": 10, "bytes": 1000}],
        },
        "plans_version": 3,
        "input": {"partition": 1, "offset": 4790, "index": 17},
        "adjustment": None,
    }
    headers = dict(message.headers)
    assert headers["ce_type"] == b"quota-stream.profile-change"
    assert (headers["ce_source"], headers["ce_id"]) == (b"quota-stream/tracker/1", b"vm1/101/4711/2")


def test_what_a_later_version_adds_is_ignored() -> None:
    """Unknown fields and reasons do not keep anybody from what is due."""
    document = orjson.loads(encode_outcome(DECISION).value or b"") | {"reason": "taper", "new": {"field": [1]}}
    outcome = decode_outcome(orjson.dumps(document))
    assert isinstance(outcome, Decision)
    assert outcome.speed == DECISION.speed


@pytest.mark.parametrize(
    "change",
    [
        {"service": None},
        {"service": "vm1"},
        {"revision": None},
        {"revision": True},
        {"revision": "2"},
        {"speed": None},
        {"speed": {"in": -1, "out": None}},
        {"window": {"slices": []}},
        {"window": {"slices": [5]}},
        {"window": []},
        {"input": 5},
        {"reason": 5},
        {"adjustment": []},
        {"type": "control"},
        {"type": "news"},
        {"type": "warning"},
    ],
)
def test_what_is_no_outcome_is_rejected(change: dict[str, Any]) -> None:
    """With a reason, and by no other error."""
    document = orjson.loads(encode_outcome(DECISION).value or b"") | change
    with pytest.raises(Rejected):
        decode_outcome(orjson.dumps(document))


def test_a_control_record() -> None:
    """What an operator says, under the key that the enforcers look for."""
    control = Control(verb="allow", platform="vm1", at=5, by="anna", until=9)
    message = encode_control(control)
    assert message.key == b"@platform/vm1"
    assert Control.from_json(orjson.loads(message.value or b"")) == control
    assert dict(message.headers)["ce_type"] == b"quota-stream.control"


def test_a_dead_letter() -> None:
    """Its key says where the record stood, its value what was wrong with what."""
    letter = DeadLetter(Position(4790, 3), "not registered: vm1/7", "register it first", b'{"service":"vm1/7"}')
    message = encode_dead_letter("traffic.deltas", 2, letter)
    assert message.key == b"traffic.deltas/2/4790/3"
    assert orjson.loads(message.value or b"") == {
        "reason": "not registered: vm1/7",
        "cure": "register it first",
        "origin": {"topic": "traffic.deltas", "partition": 2, "offset": 4790, "index": 3},
        "value": '{"service":"vm1/7"}',
    }
    assert message == encode_dead_letter("traffic.deltas", 2, letter)


@given(st.binary(max_size=40), st.sampled_from([1, 10_000]))
def test_any_dead_letter_fits_a_record(value: bytes, times: int) -> None:
    """Whatever was rejected is kept as text or, where it is none, as base64, up to 64 KiB, below the record's limit."""
    letter = DeadLetter(Position(1, 0), "not JSON: \x00" * times, "€" * 10_000, value * times)
    message = encode_dead_letter("traffic.deltas", 0, letter)
    assert message.value is not None
    assert len(message.value) < MAX_RECORD_BYTES
    document = orjson.loads(message.value)
    kept = document["value"].encode() if "value" in document else b64decode(document["value_base64"])
    assert (value * times).startswith(kept)
    assert len(kept) == len(value * times) or 64 * 1024 - 4 <= len(kept) <= 64 * 1024


def test_the_worst_dead_letter_fits_a_record() -> None:
    """Control characters take six bytes each in JSON."""
    letter = DeadLetter(Position(1, 0), "\x00" * 10_000, "\x00" * 10_000, b"\x00" * 100_000)
    assert len(encode_dead_letter("traffic.deltas", 0, letter).value or b"") < MAX_RECORD_BYTES - 1024


def test_the_cause_of_a_decision_is_flat() -> None:
    """An adjustment that is nested, however deep, is none: whoever shows it can rely on that."""
    document = orjson.loads(encode_outcome(DECISION).value or b"")
    nested = b'"adjustment":{"why":' + b"[" * 900 + b"]" * 900 + b"}"
    value = orjson.dumps(document | {"adjustment": 0}).replace(b'"adjustment":0', nested)
    with pytest.raises(Rejected, match="adjustment is nested"):
        decode_outcome(value)
