"""What our own publishers write is what the decoder reads."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model import (
    MAX_RECORD_BYTES,
    Adjustment,
    Deregistration,
    Message,
    Plans,
    Position,
    Record,
    Registration,
    Watermark,
)
from stream.core.plan import Plan
from stream.wire import (
    MAX_BATCH_SERVICES,
    Decoder,
    encode_adjustment,
    encode_batches,
    encode_delta,
    encode_deregistration,
    encode_forget,
    encode_plans,
    encode_registration,
    encode_watermark,
)
from tests.wire.samples import END, NOW, START, all_rows, malformed

PLAN = Plan.from_json(
    "month",
    {
        "window": {"kind": "calendar", "unit": "month", "timezone": "Europe/Berlin", "anchor_day": "service"},
        "profiles": [{"name": "full", "speed": {"in": None, "out": None}, "quota": "service"}],
    },
)


def decode(*messages: Message) -> list[Any]:
    decoder = Decoder()
    records = [Record(offset, NOW, message.key, message.value) for offset, message in enumerate(messages)]
    events = list(decoder.decode(records))
    assert decoder.foreign_keys == 0
    return events


def test_a_delta() -> None:
    """Its key is its service."""
    plain = encode_delta("vm1/101", START, END, 120000, 4500)
    full = encode_delta("vm1/101", START, END, 120000, 4500, source="meter", backfill=True)
    assert plain.key == b"vm1/101"
    assert plain.value == b'{"service":"vm1/101","start":%d,"end":%d,"in":120000,"out":4500}' % (START, END)
    row = ("vm1/101", START, END, 120000, 4500)
    assert all_rows(decode(plain, full)) == [(*row, 0, 0, False), (*row, 1, 0, True)]


@given(st.lists(st.integers(0, 10**12), max_size=30), st.booleans(), st.booleans())
def test_a_batch(amounts: list[int], columns: bool, backfill: bool) -> None:
    """One interval for all or one for each, marked or not."""
    count = len(amounts)
    start: Any = list(range(START, START + count)) if columns else START
    end: Any = [END] * count if columns else END
    services = [f"vm1/{number}" for number in range(count)]
    messages = encode_batches("vm1", start, end, services, amounts, amounts[::-1], backfill=backfill)
    assert [row[:5] + row[7:] for row in all_rows(decode(*messages))] == [
        (services[i], start[i] if columns else start, END, amounts[i], amounts[-1 - i], backfill) for i in range(count)
    ]


@pytest.mark.parametrize("width", [3, 190], ids=["short names", "names of 190 characters"])
def test_batches_are_cut(width: int) -> None:
    """At 5,000 services and below the limit of a record, in order and with nothing lost."""
    count = 12_001
    services = [f"vm1/{'€' * width}{number:05}" for number in range(count)]
    messages = encode_batches("vm1", START, END, services, list(range(count)), [2**50] * count)
    assert len(messages) >= 3
    for message in messages:
        assert message.value is not None
        assert len(message.value) < MAX_RECORD_BYTES
        assert len(orjson.loads(message.value)["services"]) <= MAX_BATCH_SERVICES
    assert [row[0] for row in all_rows(decode(*messages))] == services
    if width == 3:
        assert [row[6] for row in all_rows(decode(*messages))] == [*range(5000), *range(5000), *range(2001)]


def test_control_records() -> None:
    """With defaults, and with everything."""
    assert decode(
        encode_registration("vm1/101", ["vpn"]),
        encode_registration(
            "vm1/101", [], source="meter", quota=5, anchor_day=31, labels={"account": "7"}, at=END
        ),
        encode_deregistration("vm1/101"),
        encode_forget("vm1/101", at=END),
        encode_watermark("vm1", END),
        encode_adjustment("vm1/101", "reset", id="01J", by="anna", why=""),
        encode_adjustment("vm1/1", "pin", id="2", by="b", why="w", at=END, plan="p", bytes=3, until=4, profile="f"),
        encode_plans(3, {"month": PLAN}),
    ) == [
        Registration(Position(0), NOW, "vm1/101", "vm1", ("vpn",)),
        Registration(Position(1), END, "vm1/101", "meter", (), 5, 31, {"account": "7"}),
        Deregistration(Position(2), NOW, "vm1/101"),
        Deregistration(Position(3), END, "vm1/101"),
        Watermark(Position(4), END, "vm1"),
        Adjustment(Position(5), NOW, NOW, "01J", "vm1/101", "reset", "anna", ""),
        Adjustment(Position(6), NOW, END, "2", "vm1/1", "pin", "b", "w", "p", 3, 4, "f"),
        Plans(Position(7), 3, {"month": PLAN}),
    ]  # fmt: skip


def test_what_is_wrong_is_refused_by_the_decoder() -> None:
    """The encoders check nothing: the one who reads does."""
    assert len(malformed(decode(encode_delta("vm1/101", END, START, 1, 1)))) == 1


def test_headers_say_what_a_record_is() -> None:
    """CloudEvents attributes that follow from the content: the same record, the same headers."""
    message = encode_delta("vm 1/101", START, END, 1, 2)
    assert message.headers == encode_delta("vm 1/101", START, END, 1, 2).headers
    headers = dict(message.headers)
    other = dict(encode_delta("vm 1/101", START, END, 1, 3).headers)
    assert headers.pop("ce_id") != other["ce_id"]
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_type": b"quota-stream.delta",
        "ce_source": b"vm%201",
        "ce_time": b"2025-12-01T00:01:00.000Z",
        "ce_subject": b"vm 1/101",
        "content-type": b"application/json",
    }


def test_a_time_that_cannot_be_written_is_left_out() -> None:
    """Instants reach beyond the year 9999, RFC 3339 does not."""
    assert "ce_time" not in dict(encode_watermark("vm1", 2**48).headers)
