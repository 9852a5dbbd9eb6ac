"""Foreign JSON as deltas: which mapping reads what, exactly, and what is said about the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.mapping import FieldMapping, MappingError
from stream.core.model import MAX_BYTES, MAX_INSTANT, Event, Malformed, Plans, Record
from stream.core.tracker import Tracker
from stream.wire import Decoder, decode_page, encode_page, encode_plans
from tests.wire.samples import DELTA, END, NOW, START, all_rows, json_values, malformed, record

NETFLOW: dict[str, Any] = {
    "service": "vm1/{vm.id}",
    "start": {"field": "begin", "format": "rfc3339"},
    "end": {"field": "end", "format": "rfc3339"},
    "in": {"field": "rx"},
    "out": {"field": "tx", "factor": 1024},
}
RADIUS: dict[str, Any] = {
    "service": "{Acct-Session}",
    "end": {"field": "time", "format": "s"},
    "duration": {"field": "length", "format": "s"},
    "in": {"field": "input"},
}
FLOW: dict[str, Any] = {
    "vm": {"id": 101},
    "begin": "2025-11-30T23:01:00Z",
    "end": "2025-12-01T01:01:00+01:00",
    "rx": 7,
    "tx": 2,
}
SESSION: dict[str, Any] = {"Acct-Session": "radius/anna", "time": NOW // 1000, "length": 60.5, "input": 9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCALES = {"s": Fraction(1000), "ms": Fraction(1), "us": Fraction(1, 1000), "ns": Fraction(1, 1_000_000)}


def mapping(name: str = "netflow", **changes: Any) -> FieldMapping:
    form = NETFLOW | changes
    return FieldMapping.from_json(name, {key: value for key, value in form.items() if value is not None})


def decoder(*mappings: FieldMapping) -> Decoder:
    return Decoder(mappings={each.name: each for each in mappings}, max_ahead_ms=MAX_INSTANT)


def read(value: dict[str, Any] | bytes, **changes: Any) -> tuple[Any, ...]:
    """service, start, end, in, out of the one delta that it is."""
    events = decoder(mapping(**changes)).decode([record(value)])
    assert malformed(events) == []
    ((service, start, end, in_, out, *_),) = all_rows(events)
    return service, start, end, in_, out


def refused(value: dict[str, Any] | bytes, **changes: Any) -> Malformed:
    (event,) = decoder(mapping(**changes), FieldMapping.from_json("radius", RADIUS)).decode([record(value)])
    assert isinstance(event, Malformed)
    return event


def literal(value: object) -> bytes:
    """JSON that writes each Decimal with all its digits."""
    return json.dumps(value, default=lambda number: f"\0{number}\0").replace('"\\u0000', "").replace(
        '\\u0000"', ""
    ).encode()  # fmt: skip


# ---------------------------------------------------------------- what is read


def test_a_flow() -> None:
    """Fields by name, objects by dots, instants as text with any offset, amounts by a factor."""
    assert read(FLOW) == ("vm1/101", START, END, 7, 2048)


def test_a_session() -> None:
    """An end and a duration make the interval; a direction that is not told is 0."""
    (row,) = all_rows(decoder(FieldMapping.from_json("radius", RADIUS)).decode([record(SESSION)]))
    assert row[:5] == ("radius/anna", END - 60_500, END, 9, 0)


@pytest.mark.parametrize(
    ("changes", "flow", "told"),
    [
        ({"service": "{vm.id}"}, {"vm.id": "a/b"}, ("a/b", START, END, 7, 2048)),
        ({"service": "{{x}}/{vm.id}{rx}"}, {}, ("{x}/1017", START, END, 7, 2048)),
        ({"start": None, "duration": 60_000}, {}, ("vm1/101", END - 60_000, END, 7, 2048)),
        ({"end": None, "duration": 60_000}, {}, ("vm1/101", START, START + 60_000, 7, 2048)),
        ({"out": None}, {"tx": "no number"}, ("vm1/101", START, END, 7, 0)),
        ({}, {"rx": "120000", "tx": "1.5"}, ("vm1/101", START, END, 120000, 1536)),
        ({}, {"rx": 1.2e5}, ("vm1/101", START, END, 120000, 2048)),
        ({}, {"type": "netflow"}, ("vm1/101", START, END, 7, 2048)),
        ({}, {"type": ["batch"]}, ("vm1/101", START, END, 7, 2048)),
        ({}, {"service": "other", "start": 1, "in": None}, ("vm1/101", START, END, 7, 2048)),
        ({}, {"begin": "2025-11-30t22:59:60.5z"}, ("vm1/101", START - 60_000 + 500, END, 7, 2048)),
    ],
)  # fmt: skip
def test_forms(changes: dict[str, Any], flow: dict[str, Any], told: tuple[Any, ...]) -> None:
    """Names with dots of their own, braces, fixed durations, numbers in quotes, a foreign type, a leap second."""
    assert read(FLOW | flow, **changes) == told


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29)),
    st.integers(-1439, 1439),
    st.text("0123456789", max_size=12),
    st.sampled_from("Tt "),
)
def test_times_as_text_are_exact(at: datetime, minutes: int, decimals: str, between: str) -> None:
    """Whatever the offset and however many decimals: cut to whole milliseconds, as `datetime` has it."""
    at = at.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{at:%Y-%m-%d}{between}{at:%H:%M:%S}{'.' if decimals else ''}{decimals}{sign}{hours:02}:{rest:02}"
    expected = floor(((at - _EPOCH) // timedelta(seconds=1) + Fraction(f"0.{decimals or 0}")) * 1000)
    _, start, *_ = read(FLOW | {"begin": text}, end=None, duration=1)
    assert start == expected


@given(st.decimals(0, 253_402_300_000, places=9), st.sampled_from(list(_SCALES)), st.booleans())
def test_times_as_numbers_are_exact(seconds: Decimal, unit: str, quoted: bool) -> None:
    """Of any unit, with decimals, in quotes or not: cut to whole milliseconds, without a rounding on the way."""
    number = seconds * 1000 * _SCALES[unit].denominator / _SCALES[unit].numerator
    flow = literal(FLOW | {"begin": str(number) if quoted else number})
    _, start, *_ = read(flow, start={"field": "begin", "format": unit}, end=None, duration=1)
    assert start == floor(Fraction(number) * _SCALES[unit])


@given(
    st.decimals(0, 10**9, places=6),
    st.integers(1, 10**6) | st.decimals("0.000001", 10**6, places=6),
    st.booleans(),
)
def test_amounts_are_exact(number: Decimal, factor: int | Decimal, quoted: bool) -> None:
    """A factor's product is cut to whole bytes once, however many digits it has."""
    expected = floor(Fraction(number) * Fraction(factor))
    flow = literal(FLOW | {"rx": str(number) if quoted else number})
    scaled = {"field": "rx", "factor": str(factor) if isinstance(factor, Decimal) else factor}
    if expected <= MAX_BYTES:
        assert read(flow, **{"in": scaled})[3] == expected
    else:
        assert refused(flow, **{"in": scaled}).reason.startswith("a mapped field is out of bounds: rx is ")


@given(st.lists(st.decimals("0.001", 100, places=6), min_size=2, max_size=6), st.decimals(10**9, 10**10, places=6))
def test_intervals_that_meet_still_meet(lengths: list[Decimal], begin: Decimal) -> None:
    """A chain of starts and durations in fractions of a millisecond has no gap and no overlap afterwards."""
    form = {"start": {"field": "begin", "format": "s"}, "end": None, "duration": {"field": "length", "format": "s"}}
    former = None
    for length in lengths:
        _, start, end, *_ = read(literal(FLOW | {"begin": begin, "length": length + Decimal("0.002")}), **form)
        assert former in (None, start)
        begin, former = begin + length + Decimal("0.002"), end


# ---------------------------------------------------------------- which mapping


def test_the_first_that_fits_reads_it() -> None:
    """In the order of the mappings; one that lacks a field, or has null there, does not fit."""
    one, two = mapping("one"), mapping("two", service="two/{vm.id}", out=None)
    flows = [FLOW, FLOW | {"tx": None}]
    told = [[row[0] for row in all_rows(decoder(*both).decode([record(each) for each in flows]))]
            for both in ((one, two), (two, one))]  # fmt: skip
    assert told == [["vm1/101", "two/101"], ["two/101", "two/101"]]


@pytest.mark.parametrize("own", [DELTA | FLOW, {"type": "watermark", "source": "vm1", "at": END} | FLOW])
def test_our_own_records_are_never_mapped(own: dict[str, Any]) -> None:
    """What has all five fields of a delta, or a type of ours, means what it means without mappings."""
    own |= {"end": END}
    plain, mapped = Decoder().decode([record(own)]), decoder(mapping()).decode([record(own)])
    assert list(map(str, plain)) == list(map(str, mapped))


def test_none_that_fits() -> None:
    """The dead letter names what each mapping lacks."""
    letter = refused({"begin": 1, "time": 5})
    assert letter.reason == (
        "no mapping fits: netflow lacks vm.id, end, rx, tx; radius lacks Acct-Session, length, input"
    )
    assert "quota-stream plans apply" in letter.cure


def test_the_key_is_held_to_the_mapped_service() -> None:
    """As with records of ours: a key that is another, or none, does no harm, and the first is counted."""
    reader = decoder(mapping())
    events = reader.decode([record(FLOW, key=key) for key in (b"vm1/101", b"101", None)])
    assert (len(all_rows(events)), reader.foreign_keys) == (3, 1)


# ---------------------------------------------------------------- what is wrong

IS = "as the mapping netflow reads it"


@pytest.mark.parametrize(
    ("flow", "reason", "cure"),
    [
        ({"begin": "2025-12-01T00:00:00"}, "a mapped field has no time zone: begin is '2025-12-01T00:00:00'", "offset"),
        ({"begin": "2025-13-01T00:00:00Z"}, "a mapped field is no time: begin is '2025-13-01T00:00:00Z'", "RFC 3339"),
        ({"begin": "2025-12-01T24:00:00Z"}, "a mapped field is no time: begin is '2025-12-01T24:00:00Z'", "RFC 3339"),
        ({"begin": "2025-12-01"}, "a mapped field is no time: begin is '2025-12-01'", "RFC 3339"),
        ({"begin": 1764547200}, "a mapped field is no time: begin is 1764547200", "RFC 3339"),
        ({"rx": -1}, "a mapped field is negative: rx is -1", "not below 0"),
        ({"rx": -0.5}, "a mapped field is negative: rx is '-0.5'", "not below 0"),
        ({"rx": "NaN"}, "a mapped field is no number: rx is 'NaN'", "as a number"),
        ({"rx": "١٢"}, "a mapped field is no number: rx is '١٢'", "as a number"),
        ({"rx": True}, "a mapped field is no number: rx is True", "as a number"),
        ({"rx": [1]}, "a mapped field is no number: rx is [1]", "as a number"),
        ({"rx": "1e400"}, "a mapped field is out of bounds: rx is '1E+400'", "exponent"),
        ({"rx": "1" * 65}, "a mapped field is out of bounds: rx is 'Infinity'", "64 characters"),
        ({"rx": 1 << 51}, "a mapped field is out of bounds: rx is 2251799813685248 and gives 2251799813685248 bytes "
                          "with the factor 1", "factor"),
        ({"tx": 1 << 41}, "a mapped field is out of bounds: tx is 2199023255552 and gives 2251799813685248 bytes "
                          "with the factor 1024", "factor"),
        ({"vm": {"id": 1.5}}, "a mapped field is no id: vm.id is 1.5", "string or a whole number"),
        ({"vm": {"id": ""}}, "a mapped field is no id: vm.id is ''", "string or a whole number"),
        ({"vm": {"id": "a\n"}}, "service is no service id: as the mapping netflow reads it", "<platform>/<id>"),
        ({"end": FLOW["begin"]}, f"end is not after start: {START} to {START}", "[start, end)"),
    ],
)  # fmt: skip
def test_refusals(flow: dict[str, Any], reason: str, cure: str) -> None:
    """Each says which field, with which value, by which mapping, and what to do."""
    letter = refused(FLOW | flow)
    assert letter.reason == (reason if IS in reason else f"{reason}, {IS}")
    assert cure in letter.cure
    assert orjson.loads(letter.value) == FLOW | flow


@pytest.mark.parametrize("number", [b"NaN", b"1e999999999", b"1" * 5000, b"0." + b"1" * 400_000, b"-1e-999999"])
def test_numbers_that_make_no_sense(number: bytes) -> None:
    """None of them costs much, and each is a dead letter."""
    assert refused(orjson.dumps(FLOW | {"rx": "?"}).replace(b'"?"', number))


def test_a_wrong_unit_is_guessed() -> None:
    """Nanoseconds that are taken for seconds are beyond the year 9999, and the cure asks for the unit."""
    letter = refused(FLOW | {"begin": START * 1_000_000}, start={"field": "begin", "format": "s"})
    assert letter.reason.startswith("a mapped field is out of bounds: begin is 1764543660000000000")
    assert "takes begin for s since 1970" in letter.cure


def test_too_far_ahead() -> None:
    """`max_ahead` holds for mapped records as well."""
    flow = FLOW | {"end": "2026-12-01T00:00:00Z"}
    (letter,) = malformed(Decoder(mappings={"netflow": mapping()}).decode([record(flow)]))
    assert letter.reason.startswith("end lies too far ahead: ")
    assert letter.reason.endswith(IS)


@given(st.dictionaries(st.sampled_from(["vm", "vm.id", *FLOW, *SESSION]), json_values), st.booleans())
def test_nothing_makes_it_raise(flow: dict[str, Any], whole: bool) -> None:
    """Whatever stands in the fields: a delta or a dead letter."""
    reader = decoder(mapping(), FieldMapping.from_json("radius", RADIUS))
    events = reader.decode([record((FLOW if whole else {}) | flow)])
    assert len(all_rows(events)) + len(malformed(events)) == 1


# ---------------------------------------------------------------- in the log


def test_a_plans_record_carries_them() -> None:
    """What is encoded comes out again, in its order; without mappings the record is as it always was."""
    mappings = {"two": mapping("two"), "one": FieldMapping.from_json("one", RADIUS)}
    (event,) = Decoder().decode([record(encode_plans(3, {}, mappings).value)])
    assert isinstance(event, Plans)
    assert list(event.mappings.items()) == list(mappings.items())
    assert encode_plans(3, {}, {}) == encode_plans(3, {})


@pytest.mark.parametrize(
    ("mappings", "reason"),
    [
        ([], None),
        (["netflow"], "mappings are not an object"),
        ({str(n): NETFLOW for n in range(17)}, "too many mappings: 17"),
        (
            {"a": NETFLOW | {"when": 1}, "b": RADIUS | {"duration": 0}},
            "mappings are wrong: a.when is not known here (known are service, start, end, duration, in, out); "
            "b.duration is 0 (write an integer from 1 to 34560000000)",
        ),
    ],
)
def test_wrong_mappings_in_the_log(mappings: object, reason: str | None) -> None:
    """The whole record is refused, as with wrong plans: half of it would do harm."""
    (event,) = Decoder().decode([record({"type": "plans", "version": 1, "plans": {}, "mappings": mappings})])
    assert (event.reason if isinstance(event, Malformed) else None) == reason


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"service": "{vm"}, "service: '{vm' is no template"),
        ({"service": "{}"}, "service: '{}' is no template"),
        ({"service": "{vm!r}"}, "service: '{vm!r}' is no template"),
        ({"service": "{vm:>9}"}, "service: '{vm:>9}' is no template"),
        ({"service": ""}, "service: is ''"),
        ({"start": {}}, "start.field: is missing; start.format: is missing"),
        ({"start": "begin"}, "start: is 'begin', not an object"),
        ({"start": {"field": "x", "format": "h"}}, "start.format: is 'h'"),
        ({"duration": 5}, "mapping: an interval is told by two of start, end and duration"),
        ({"end": None}, "mapping: an interval is told by two of start, end and duration"),
        ({"end": None, "duration": {"field": "x", "format": "rfc3339"}}, "duration.format: is 'rfc3339'"),
        ({"in": None, "out": None}, "mapping: no bytes are told"),
        *(
            ({"in": {"field": "rx", "factor": factor}}, f"in.factor: is {factor!r}")
            for factor in (0, -1, True, 10**12 + 1, "1e-13", "NaN", "Infinity", "x", [1])
        ),
    ],
)
def test_wrong_mappings(changes: dict[str, Any], problem: str) -> None:
    """Every problem has its place."""
    with pytest.raises(MappingError) as found:
        mapping(**changes)
    assert found.value.reason == f"mapping 'netflow': {problem}"


_factors = st.integers(1, 10**12) | st.decimals("0.000000000001", 10**6, places=12).map(str)
_instants = st.fixed_dictionaries({"field": st.text(min_size=1), "format": st.sampled_from(["rfc3339", *_SCALES])})
_lengths = st.fixed_dictionaries({"field": st.text(min_size=1), "format": st.sampled_from(list(_SCALES))})
_amounts = st.fixed_dictionaries({"field": st.text(min_size=1), "factor": _factors})


@given(
    st.sampled_from([("start", "end"), ("start", "duration"), ("end", "duration")]),
    st.fixed_dictionaries({"start": _instants, "end": _instants, "duration": _lengths | st.integers(1, 10**9)}),
    st.fixed_dictionaries({"in": _amounts, "out": _amounts}),
)
def test_the_normal_form(ways: tuple[str, str], times: dict[str, Any], amounts: dict[str, Any]) -> None:
    """A mapping's normal form is the same mapping, also through JSON."""
    form = {"service": "{a}/b", **{way: times[way] for way in ways}, **amounts}
    read_ = FieldMapping.from_json("x", form)
    assert FieldMapping.from_json("x", orjson.loads(orjson.dumps(read_.to_json()))) == read_


# ---------------------------------------------------------------- in a tracker

_VARIANTS: dict[str, dict[str, FieldMapping]] = {
    "none": {},
    "bytes": {"netflow": mapping()},
    "kilobytes": {"netflow": FieldMapping.from_json("netflow", NETFLOW | {"in": {"field": "rx", "factor": 1000}})},
}


@given(st.data())
def test_cuts_and_restarts_do_not_show(data: st.DataObject) -> None:
    """Plans records (older ones among them) and foreign records in any order: the same deltas come out, however the
    records are cut into fetches, and wherever a tracker is restored from its pages."""
    steps = st.integers(0, 6) | st.sampled_from(list(_VARIANTS))
    drawn = data.draw(st.lists(st.tuples(st.integers(1, 5), steps), max_size=12))
    records = [Record(offset, NOW, None, _step(*step, offset)) for offset, step in enumerate(drawn)]
    whole = _told(Decoder().decode(records))
    tracker, decoder_, cut, done = Tracker(0, lambda _: 0), Decoder(), list[Any](), 0
    pages: dict[str, bytes] = {}
    while done < len(records):
        some = records[done : done + data.draw(st.integers(1, 5))]
        done += len(some)
        events = decoder_.decode(some)
        cut += _told(events)
        tracker.apply(events, done)
        assert decoder_.plans_version == tracker.plans_version
        if data.draw(st.booleans()):
            pages |= {page.key: encode_page(page, 1) for page in tracker.dirty_pages()}
            tracker = Tracker.restore(0, lambda _: 0, tracker.meta(), [decode_page(page)[0] for page in pages.values()])
            decoder_ = Decoder(plans_version=tracker.plans_version, mappings=tracker.mappings)
    assert cut == whole


def _step(version: int, step: int | str, offset: int) -> bytes:
    if isinstance(step, str):
        return encode_plans(version, {}, _VARIANTS[step]).value or b""
    return orjson.dumps(FLOW | {"rx": step, "vm": {"id": offset}})


def _told(events: list[Event]) -> list[Any]:
    told: list[Any] = []
    for event in events:
        told += [event.reason] if isinstance(event, Malformed) else [row[:6] for row in all_rows([event])]
    return told
