"""What the decoder takes, what it refuses, and in which order things come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from stream.core.model import (
    MAX_BYTES,
    MAX_DELTA_MS,
    MAX_INSTANT,
    Adjustment,
    Deltas,
    Deregistration,
    Malformed,
    Plans,
    Position,
    Record,
    Registration,
    Watermark,
)
from stream.wire import Decoder
from tests.wire.samples import BATCH, DELTA, END, HOUR, NOW, START, all_rows, malformed, names_of, record, rows

REGISTRATION = {"type": "registration", "service": "vm1/101", "plans": ["vpn"]}
ADJUSTMENT = {"type": "adjustment", "id": "01J", "service": "vm1/101", "kind": "reset", "by": "anna"}
PLAN = {
    "window": {"kind": "sliding", "slice_ms": 600000, "slices": 6},
    "profiles": [
        {"name": "fast", "speed": {"in": None, "out": None}, "quota": 1000, "down": "slow"},
        {"name": "slow", "speed": {"in": 1, "out": 1}, "stay": 1, "up": {"else": "fast"}},
    ],
}


def decode(*values: dict[str, Any] | bytes | None) -> list[Any]:
    return list(Decoder().decode([record(value, offset) for offset, value in enumerate(values)]))


def test_a_single_delta() -> None:
    """A record without type is a delta."""
    (deltas,) = decode(DELTA)
    assert rows(deltas) == [("vm1/101", START, END, 120000, 4500, 0, 0, False)]


def test_single_deltas_are_gathered_up_to_a_control_record() -> None:
    """Deltas next to each other become one event; a control record keeps its place among them."""
    events = decode(DELTA, DELTA, {"type": "watermark", "source": "vm1", "at": END}, DELTA)
    assert [type(event) for event in events] == [Deltas, Watermark, Deltas]
    assert [row[5:7] for row in rows(events[0])] == [(0, 0), (1, 0)]
    assert [row[5:7] for row in rows(events[2])] == [(3, 0)]


def test_backfill_and_ordinary_deltas_are_not_mixed() -> None:
    """The mark is one for all deltas of an event, and their order stays."""
    events = decode(DELTA, DELTA | {"backfill": True}, DELTA | {"backfill": True}, DELTA | {"backfill": False})
    assert [[row[5] for row in rows(event)] for event in events] == [[0], [1, 2], [3]]
    assert [event.backfill for event in events] == [False, True, False]


def test_a_batch_and_a_single_delta_are_two_events() -> None:
    """A batch keeps its own record's offset and place."""
    events = decode(DELTA, BATCH, DELTA)
    assert [row[5:7] for row in all_rows(events)] == [(0, 0), (1, 0), (1, 1), (2, 0)]


def test_a_batch_with_columns_for_start_and_end() -> None:
    """Each element may have an interval of its own."""
    (deltas,) = decode(BATCH | {"start": [START, START + 1], "end": [END - 1, END], "backfill": True})
    assert [row[1:3] for row in rows(deltas)] == [(START, END - 1), (START + 1, END)]
    assert deltas.backfill


def test_an_empty_batch_is_nothing() -> None:
    """No services, no event, no complaint."""
    assert decode(BATCH | {"services": [], "in": [], "out": []}) == []


@pytest.mark.parametrize("padding", [0, 600], ids=["small", "large"])
def test_a_batch_is_rejected_element_by_element(padding: int) -> None:
    """Each bad element goes with its index; the others count, with theirs."""
    names = ["vm1/1", "nobody", "vm1/3", "vm1/4", "vm1/5"] + [f"vm2/{number}" for number in range(padding)]
    filler = [1] * padding
    batch = BATCH | {"services": names, "in": [1, 2, -3, 4, 5, *filler], "out": [1, 2, 3, 4.0, 5, *filler]}
    events = decode(batch)
    assert [row[6] for row in all_rows(events)][:2] == [0, 4]
    assert len(all_rows(events)) == 2 + padding
    assert [(bad.position, bad.reason) for bad in malformed(events)] == [
        (Position(0, 1), "service is no service id"),
        (Position(0, 2), "in is out of bounds: -3"),
        (Position(0, 3), "out is not an integer"),
    ]
    assert orjson.loads(malformed(events)[1].value) == {
        "service": "vm1/3", "start": START, "end": END, "in": -3, "out": 3,
    }  # fmt: skip


def test_an_element_of_a_backfill_says_so_when_it_is_rejected() -> None:
    """What is kept of it can be mended and published as it was meant."""
    (_, bad) = decode(BATCH | {"in": [1, "2"], "backfill": True})
    assert orjson.loads(bad.value)["backfill"] is True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"services": "vm1/101"}, "no batch: services is not an array"),
        ({"services": None}, "no batch: services is not an array"),
        ({"in": None}, "no batch: in is missing or of the wrong type"),
        ({"out": {}}, "no batch: out is missing or of the wrong type"),
        ({"in": [1]}, "no batch: in has 1 elements, services 2"),
        ({"start": [START]}, "no batch: start has 1 elements, services 2"),
        ({"start": None}, "no batch: start is missing or of the wrong type"),
        ({"end": str(END)}, "no batch: end is missing or of the wrong type"),
        ({"end": True}, "no batch: end is missing or of the wrong type"),
        ({"backfill": 1}, "backfill is not true or false"),
    ],
)
def test_what_is_no_batch_is_rejected_whole(change: dict[str, Any], reason: str) -> None:
    """One dead letter for the record, which counts nothing."""
    (bad,) = decode(BATCH | change)
    assert (bad.position, bad.reason) == (Position(0, 0), reason)


BAD_DELTAS = [
    ({"service": None}, "service is missing"),
    ({"service": 5}, "service is no service id"),
    ({"service": "vm1"}, "service is no service id"),
    ({"service": "/101"}, "service is no service id"),
    ({"service": "vm1/"}, "service is no service id"),
    ({"service": "vm1/1\n"}, "service is no service id"),
    ({"service": "vm1/\x85"}, "service is no service id"),
    ({"service": "@vm1/1"}, "service is no service id"),
    ({"service": "vm1/" + "x" * 197}, "service is no service id"),
    ({"in": None}, "in is missing"),
    ({"in": True}, "in is not an integer"),
    ({"in": "5"}, "in is not an integer"),
    ({"in": 5.0}, "in is not an integer"),
    ({"in": [5]}, "in is not an integer"),
    ({"out": -1}, "out is out of bounds: -1"),
    ({"out": MAX_BYTES + 1}, f"out is out of bounds: {MAX_BYTES + 1}"),
    ({"out": 2**63}, f"out is out of bounds: {2**63}"),
    ({"start": -1}, "start is out of bounds: -1"),
    ({"start": END}, f"end is not after start: {END} to {END}"),
    ({"start": END + 1}, f"end is not after start: {END + 1} to {END}"),
    ({"start": END - MAX_DELTA_MS - 1}, f"interval is too long: {END - MAX_DELTA_MS - 1} to {END}"),
    ({"end": MAX_INSTANT + 1}, f"end is out of bounds: {MAX_INSTANT + 1}"),
    ({"end": NOW + HOUR + 1}, f"end lies too far ahead: {NOW + HOUR + 1} is 1 ms later than is allowed"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_DELTAS)
def test_a_bad_delta_is_rejected_and_its_neighbours_count(change: dict[str, Any], reason: str) -> None:
    """Whether it stands alone among deltas or in a batch, the reason is the same and says what is wrong."""
    bad = DELTA | change
    events = decode(DELTA, bad, DELTA)
    assert [(one.position, one.reason) for one in malformed(events)] == [(Position(1), reason)]
    assert malformed(events)[0].value == orjson.dumps(bad)
    assert [row[5] for row in all_rows(events)] == [0, 2]
    columns = {name: [DELTA[name], bad[name]] for name in ("start", "end", "in", "out")}
    events = decode({"type": "batch", "services": ["vm1/101", bad["service"]]} | columns)
    assert [(one.position, one.reason) for one in malformed(events)] == [(Position(0, 1), reason)]
    assert [row[6] for row in all_rows(events)] == [0]


@pytest.mark.parametrize(
    "change",
    [
        {"service": "vm1/a/b c"},
        {"service": "vm1/@"},
        {"service": "платформа/7"},
        {"service": "vm1/" + "x" * 196},
        {"in": MAX_BYTES, "out": 0},
        {"start": 0, "end": 1},
        {"start": END - MAX_DELTA_MS},
        {"start": END - 1},
        {"end": NOW + HOUR},
        {"backfill": None, "type": None},
        {"unknown": {"deep": [1]}},
    ],
)
def test_a_delta_at_the_bounds_counts(change: dict[str, Any]) -> None:
    """The bounds belong to what is allowed, and unknown fields are ignored."""
    (deltas,) = decode(DELTA | change)
    assert names_of(deltas) == [(DELTA | change)["service"]]


def test_max_ahead_is_a_setting() -> None:
    """What lies further ahead than that is rejected."""
    events = Decoder(max_ahead_ms=0).decode([record(DELTA), record(DELTA | {"end": NOW + 1})])
    assert len(all_rows(events)) == len(malformed(events)) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b'{"in": NaN}', "not JSON"),
        (b'{"in": ' + b"1" * 400 + b"}", "not JSON"),
        (b"[" * 2000 + b"]" * 2000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b'{"a": 1, "a": 1}', "a key stands twice"),
        (b'{"a": 1, "\\u0061": 1}', "a key stands twice"),
        (b'{"x": {"a": 1, "a": 1}}', "a key stands twice"),
        (b'{"x": [{"a": 1, "a": 1}]}', "a key stands twice"),
        (b'{"x": ' + b'{"":' * 1000 + b"1" + b"}" * 1001, "nested too deeply"),
        (b'{"x": "' + b"y" * 600_000 + b'"}', "record too large"),
        (b'{"type": "traffic"}', "type is unknown"),
        (b'{"type": ["batch"]}', "type is unknown"),
    ],
)
def test_what_is_no_record_at_all(value: bytes | None, reason: str) -> None:
    """It becomes one dead letter with at most 64 KiB of it, a reason and a cure."""
    (bad,) = decode(value)
    assert isinstance(bad, Malformed)
    assert bad.reason.split(": ")[0] == reason
    assert bad.cure
    assert bad.value == (value or b"")[: 64 * 1024]


def test_colons_and_quotes_in_strings_are_no_keys() -> None:
    """Only a key that really stands twice is refused."""
    value = orjson.dumps(DELTA | {"service": "radius/00:11:22", "note": 'a":"b', "type": None})
    assert len(all_rows(decode(value))) == 1


def test_a_long_dead_letter_is_cut_between_characters() -> None:
    """What is kept of UTF-8 is UTF-8."""
    (bad,) = decode(b'{"a":"' + "€".encode() * 30_000)
    assert 64 * 1024 - 3 <= len(bad.value) <= 64 * 1024
    assert bad.value.decode()


def test_foreign_keys_are_counted_and_do_no_harm() -> None:
    """The key is the transport's: a record under another one counts all the same."""
    decoder = Decoder()
    keys = [b"vm1/101", b"vm1/102", None]
    events = decoder.decode([record(DELTA, key=key) for key in keys] + [record(REGISTRATION, key=b"x")])
    assert len(all_rows(events)) == 3
    assert decoder.foreign_keys == 2


def test_control_records() -> None:
    """Each kind with all that it can carry."""
    at = {"at": END}
    texts = {"why": "ticket 12", "plan": "vpn", "profile": "10Mbit", "bytes": 5, "until": MAX_INSTANT, "kind": "credit"}
    labels = {"quota": MAX_BYTES, "anchor_day": 31, "labels": {"account": "7\n"}, "source": "meter"}
    assert decode(
        REGISTRATION | labels | at,
        {"type": "deregistration", "service": "vm1/101"} | at,
        {"type": "watermark", "source": "vm1"} | at,
        ADJUSTMENT | texts | at,
    ) == [
        Registration(Position(0), END, "vm1/101", "meter", ("vpn",), MAX_BYTES, 31, {"account": "7\n"}),
        Deregistration(Position(1), END, "vm1/101"),
        Watermark(Position(2), END, "vm1"),
        Adjustment(
            Position(3), NOW, END, "01J", "vm1/101", "credit", "anna", "ticket 12", "vpn", 5, MAX_INSTANT, "10Mbit"
        ),
    ]


def test_control_records_have_defaults() -> None:
    """`at` is the append time and `source` the platform part; null counts as absent."""
    nothing = dict.fromkeys(
        ("at", "source", "quota", "anchor_day", "labels", "plan", "bytes", "until", "profile", "why")
    )
    for given in ({}, nothing):
        registration, adjustment = decode(given | REGISTRATION, given | ADJUSTMENT)
        assert registration == Registration(Position(0), NOW, "vm1/101", "vm1", ("vpn",))
        assert adjustment == Adjustment(Position(1), NOW, NOW, "01J", "vm1/101", "reset", "anna", "")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (REGISTRATION | {"plans": None}, "plans are not a list of names"),
        (REGISTRATION | {"plans": "vpn"}, "plans are not a list of names"),
        (REGISTRATION | {"plans": [""]}, "plans are not a list of names"),
        (REGISTRATION | {"plans": ["x" * 65]}, "plans are not a list of names"),
        (REGISTRATION | {"service": "vm1"}, "service is no service id"),
        (REGISTRATION | {"source": ""}, "source is no proper string"),
        (REGISTRATION | {"quota": 0}, "quota is out of bounds"),
        (REGISTRATION | {"quota": True}, "quota is not an integer"),
        (REGISTRATION | {"anchor_day": 32}, "anchor_day is out of bounds"),
        (REGISTRATION | {"labels": []}, "labels are not strings by name"),
        (REGISTRATION | {"labels": {"a": 1}}, "labels are not strings by name"),
        (REGISTRATION | {"labels": {"a": "x" * 201}}, "labels are not strings by name"),
        (REGISTRATION | {"labels": {str(n): "" for n in range(21)}}, "labels are not strings by name"),
        (REGISTRATION | {"at": NOW + HOUR + 1}, "at lies too far ahead"),
        ({"type": "deregistration"}, "service is missing"),
        ({"type": "deregistration", "service": "vm1/1", "at": NOW + HOUR + 1}, "at lies too far ahead"),
        ({"type": "watermark", "at": END}, "source is missing"),
        ({"type": "watermark", "source": "vm1", "at": NOW + HOUR + 1}, "at lies too far ahead"),
        ({"type": "watermark", "source": "vm1", "at": "now"}, "at is not an integer"),
        (ADJUSTMENT | {"kind": "gift"}, "kind is unknown"),
        (ADJUSTMENT | {"kind": ["pin"]}, "kind is unknown"),
        (ADJUSTMENT | {"id": ""}, "id is no proper string"),
        (ADJUSTMENT | {"by": None}, "by is missing"),
        (ADJUSTMENT | {"why": 5}, "why is no proper string"),
        (ADJUSTMENT | {"why": "x" * 1001}, "why is no proper string"),
        (ADJUSTMENT | {"bytes": 0}, "bytes is out of bounds"),
        (ADJUSTMENT | {"until": -1}, "until is out of bounds"),
        (ADJUSTMENT | {"profile": "x" * 65}, "profile is no proper string"),
        (ADJUSTMENT | {"at": NOW + HOUR + 1}, "at lies too far ahead"),
        ({"type": "plans", "version": 0, "plans": {}}, "version is out of bounds"),
        ({"type": "plans", "version": 1, "plans": []}, "plans are not an object"),
        ({"type": "plans", "version": 1, "plans": {str(n): PLAN for n in range(65)}}, "too many plans"),
    ],
)
def test_bad_control_records(document: dict[str, Any], reason: str) -> None:
    """Each is one dead letter, whose first words are a fixed phrase."""
    (bad,) = decode(document)
    assert bad.reason.split(": ")[0] == reason
    assert bad.cure


def test_plans() -> None:
    """All plans of the record, in its order."""
    (plans,) = decode({"type": "plans", "version": 3, "plans": {"b": PLAN, "a": PLAN}})
    assert isinstance(plans, Plans)
    assert plans.version == 3
    assert [(name, plan.name) for name, plan in plans.plans.items()] == [("b", "b"), ("a", "a")]


def test_bad_plans_say_every_problem() -> None:
    """The dead letter names each place, what is wrong there, and the cure."""
    worse = PLAN | {"warn": 100, "window": {"kind": "sliding", "slice_ms": 5, "slices": 6}}
    (bad,) = decode({"type": "plans", "version": 3, "plans": {"vpn": worse, "x\x07": PLAN}})
    assert bad.reason.startswith("plans are wrong: ")
    for place in ("vpn.window.slice_ms", "vpn.warn", "the name is"):
        assert place in bad.reason


def test_the_same_names_are_the_same_object() -> None:
    """So that what was found out about them once holds for the next poll; other names are another object."""
    decoder = Decoder()
    names = [f"vm1/{number}" for number in range(200)]

    def poll(names: list[str], seed: int) -> Deltas:
        columns = {"in": [seed] * len(names), "out": [0] * len(names)}
        (deltas,) = decoder.decode([record(BATCH | {"services": names} | columns)])
        assert isinstance(deltas, Deltas)
        assert names_of(deltas) == names
        assert np.array_equal(deltas.in_, columns["in"])
        return deltas

    first = poll(names, 1)
    assert poll(names, 2).names is first.names
    assert poll(names[1:], 3).names is not first.names
    assert poll(names, 4).names is first.names


def test_offsets_may_have_gaps() -> None:
    """Each gathered delta keeps the offset of its own record."""
    events = Decoder().decode([Record(offset, NOW, None, orjson.dumps(DELTA)) for offset in (3, 9, 10)])
    assert [row[5] for row in all_rows(events)] == [3, 9, 10]


def test_many_bad_elements_are_told_together() -> None:
    """A hundred of one record have a letter each, the rest one."""
    many = 5000
    batch = {"type": "batch", "start": 1, "end": 2, "services": [0] * many, "in": [0] * many, "out": [0] * many}
    events = decode(batch)
    assert [event.position.index for event in events] == list(range(101))
    assert events[-1].reason.startswith("many elements are rejected: 4900 more of this record, the first because ")
    assert "traffic.deltas" in events[-1].cure
