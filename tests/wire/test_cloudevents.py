"""Every record of ours is a CloudEvent in binary mode: its headers say what it is, whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import wire
from stream.core.control import Control
from stream.core.model import DeadLetter, Decision, Message, Position, QuotaWarning
from tests.wire.samples import END, NOW, START
from tests.wire.test_inputs import PLAN
from tests.wire.test_outcomes import decisions, warnings

_NAME = re.compile("ce_[a-z0-9]{1,20}|content-type")
_MESSAGES: Mapping[str, Message] = {
    "delta": wire.encode_delta("vm 1/€ 101", START, END, 1, 2),
    "batch": wire.encode_batches("vm1", START, END, ["vm1/101"], [1], [2])[0],
    "registration": wire.encode_registration("vm1/101", ["vpn"], at=END),
    "deregistration": wire.encode_deregistration("vm1/101", at=END),
    "watermark": wire.encode_watermark("vm1", END),
    "adjustment": wire.encode_adjustment("vm1/101", "reset", id="01J", by="anna", why="", at=END),
    "plans": wire.encode_plans(3, {"month": PLAN}),
    "control": wire.encode_control(Control(verb="allow", platform="vm1", at=END, by="anna", until=END + 1)),
    "dead-letter": wire.encode_dead_letter(
        "traffic.deltas", 2, DeadLetter(Position(4790, 3), "not JSON", "write JSON", b"x"), appended=NOW
    ),
}


def is_cloudevent(message: Message, kind: str, *, timed: bool = True) -> None:
    """As version 1.0 of the specification and its Kafka binding want it."""
    attributes = {name: value.decode() for name, value in message.headers}
    assert len(attributes) == len(message.headers)
    assert all(map(_NAME.fullmatch, attributes))
    assert all(attributes.values())
    assert attributes["ce_specversion"] == "1.0"
    assert attributes["ce_type"] == f"quota-stream.{kind}"
    assert attributes["content-type"] == "application/json"
    assert re.fullmatch("[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+", attributes["ce_source"])
    assert urlsplit(attributes["ce_source"]).path
    assert attributes["ce_id"]
    assert ("ce_time" in attributes) is timed
    if timed:
        assert datetime.fromisoformat(attributes["ce_time"]).utcoffset() == timedelta()


@pytest.mark.parametrize("kind", _MESSAGES)
def test_what_is_written(kind: str) -> None:
    """All that publishers and trackers write has the attributes; only plans are of no instant."""
    is_cloudevent(_MESSAGES[kind], kind, timed=kind != "plans")


@given(decisions | warnings)
def test_what_is_decided(outcome: Decision | QuotaWarning) -> None:
    """Decisions and warnings, of whatever service, at whatever instant that can be written."""
    message = wire.encode_outcome(outcome)
    timed = "ce_time" in dict(message.headers)
    assert timed or outcome.at > END
    is_cloudevent(message, "profile-change" if isinstance(outcome, Decision) else "warning", timed=timed)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 5000)), unique=True, max_size=9))
def test_each_dead_letter_is_an_event_of_its_own(places: list[tuple[int, int]]) -> None:
    """No two places have the same id, and one place has always the same."""
    letters = [DeadLetter(Position(*place), "not JSON", "", b"") for place in places]
    ids = [dict(wire.encode_dead_letter("traffic.deltas", 0, letter).headers)["ce_id"] for letter in letters]
    assert len(set(ids)) == len(ids)
    assert ids == [
        dict(wire.encode_dead_letter("traffic.deltas", 0, each, appended=5).headers)["ce_id"] for each in letters
    ]
