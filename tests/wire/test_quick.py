"""The quick way to read a batch means exactly what reading the whole record means."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.errors import Rejected
from stream.core.model import MAX_BYTES, Deltas, Event
from stream.wire.batches import quick, thorough
from stream.wire.columns import integers
from stream.wire.documents import parse
from stream.wire.names import RememberedNames
from tests.wire.samples import BATCH, END, HOUR, NOW, START, record, rows

LATEST = NOW + HOUR

blanks = st.text(" \t\r\n", max_size=2)
names = st.sampled_from(
    ['"vm1/101"', '"vm1\\/101"', '"vm1/1]"', '"vm1/1,\\"in\\":[3]"', '"vm1/"', "5", '["vm1/1"]', '"vm1/\\u0031"']
)
numbers = st.sampled_from(["0", "7", "120000", "-1", "1.5", "1e3", "007", '"7"', "true", "null", "[7]", f"{2**63}"])
good_names = st.sampled_from(['"vm1/101"', '"vm1/102"', '"radius/00:11"', '"vm1\\/103"'])
good_numbers = st.sampled_from(["0", "7", "120000", str(MAX_BYTES)])


@st.composite
def arrays(draw: st.DrawFn, element: st.SearchStrategy[str], count: int) -> str:
    separator = draw(st.sampled_from([",", ", ", ",\n"]))
    return f"[{separator.join(draw(st.lists(element, min_size=count, max_size=count)))}]"


TRAPS = [
    [('"in"', "0")], [('"\\u0069n"', "[5]")], [('"x"', '{"in":[5]}')], [('"x"', '"{,\\"in\\":[5]}"')],
    [('"a\\"in"', "[5]")], [('"x,"in"', "[5]")], [('"services"', '["vm9/9"]')], [('"s"', '["services"]')],
    [('"x"', '[{"services":["vm9/9"]}]')],
    [('"backfill"', "1")], [('"backfill"', "true")], [('"note"', '"true"')], [('"x"', "[1]")], [('"type"', '"batch"')],
    [('"in "', "[5]")], [('"x"', '"\\\\"')], [('"a\\"out"', "[5]"), ('"out"', "0")],
]  # fmt: skip


@st.composite
def batch_texts(draw: st.DrawFn) -> bytes:
    """The text of a batch as anybody might write it, sound but for one thing at most."""
    count = draw(st.integers(1, 3))
    wrong = draw(st.sampled_from(["nothing", "services", "in", "out", "length", "trap", "lost", "instant"]))
    moments = [str(START), str(END), f"[{','.join([str(START)] * count)}]", "-1"]
    ends = [str(END), str(LATEST), str(LATEST + 1), f"[{','.join([str(END)] * count)}]"]
    members = {
        '"type"': '"batch"',
        '"source"': draw(st.sampled_from(['"vm1"', '"a:b"', '"services"', '"]"', '"\\"in\\":["'])),
        '"start"': draw(st.sampled_from(moments)) if wrong == "instant" else str(START),
        '"end"': draw(st.sampled_from(ends)) if wrong == "instant" else str(END),
        '"services"': draw(arrays(names if wrong == "services" else good_names, count)),
        '"in"': draw(arrays(numbers if wrong == "in" else good_numbers, count)),
        '"out"': draw(arrays(numbers if wrong == "out" else good_numbers, count + (wrong == "length"))),
    }
    pairs = draw(st.permutations(list(members.items())))
    if wrong == "lost":
        pairs.pop()
    if wrong == "trap":
        traps = draw(st.sampled_from(TRAPS))
        pairs = [pair for pair in pairs if pair[0] not in dict(traps) or len(traps) == 1]
        pairs[draw(st.integers(0, len(pairs))) : 0] = traps
    text = ",".join(f"{draw(blanks)}{key}{draw(blanks)}:{draw(blanks)}{value}{draw(blanks)}" for key, value in pairs)
    return f"{{{text}}}".encode()


def by_reading_it_whole(value: bytes) -> list[Event] | str:
    """What the thorough way makes of it; a word if it is no batch."""
    try:
        document = parse(value)
        if document.get("type") != "batch":
            return "another type"
        return list(thorough(record(value), document, LATEST))
    except Rejected as refusal:
        return refusal.reason


def check(value: bytes) -> Deltas | None:
    remembered = RememberedNames()
    first, again = (quick(record(value), value, LATEST, remembered) for _ in range(2))
    assert (first is None) == (again is None)
    if first is not None and again is not None:
        whole = by_reading_it_whole(value)
        assert not isinstance(whole, str), f"quick takes what is refused: {whole}"
        assert [rows(event) for event in whole if isinstance(event, Deltas)] == [rows(first)] == [rows(again)]
        assert len(whole) == 1
        assert first.names is again.names
    return first


@given(batch_texts())
@example(b'{"type":"batch","x":{"in":[5]},"in":0,"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","a\\"in":[5],"in":0,"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","in":[5],"in":[6],"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","in":[5],"backfill":1,"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","in":[5,6],"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","in":[5],"services":["a/b"],"out":[1],"start":2,"end":2}')
@example(b'{"type":"batch","\\u0069n":[7],"in":[5],"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","x":",","in":[5],"services":["a/b"],"out":[1],"start":1,"end":2,"in":[6]}')
@example(b'{"type":"batch","x,"in":[5],"services":["a/b"],"out":[1],"start":1,"end":2}')
@example(b'{"type":"batch","in":[5],"services":["a/b","c/d]"],"out":[1],"start":1,"end":2}')
@example(b'[{"type":"batch","in":[5],"services":["a/b"],"out":[1],"start":1,"end":2}]')
def test_quick_and_thorough_agree(value: bytes) -> None:
    """Whatever the quick way takes, reading the whole gives the same deltas and refuses nothing."""
    check(value)


@given(batch_texts(), st.data())
def test_they_agree_on_damaged_text_too(value: bytes, data: st.DataObject) -> None:
    """The same with some bytes changed, lost or doubled."""
    text = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        piece = data.draw(st.sampled_from([b"", b"[", b"]", b",", b'"', b"\\", b":", b"{", b"}", b"0", b" ", b"\xff"]))
        text[place : place + data.draw(st.integers(0, 2))] = piece
    check(bytes(text))


@pytest.mark.parametrize("dump", [orjson.dumps, lambda batch: json.dumps(batch).encode()], ids=["orjson", "json"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"source": "a:b"},
        {"backfill": True},
        {"start": [START, START + 1], "end": [END - 1, END]},
        {"services": ["radius/00:11:22", "платформа/7"]},
        {"unknown": "field"},
    ],
)
def test_what_is_sound_is_read_quickly(dump: Any, change: dict[str, Any]) -> None:
    """As orjson writes it and as json does, with everything that a batch may carry."""
    assert check(dump(BATCH | change)) is not None


@given(st.lists(st.integers(0, MAX_BYTES) | st.just(0), max_size=30), st.sampled_from([1, 1500]))
def test_long_columns_of_numbers(values: list[int], times: int) -> None:
    """Short columns and long ones, which are read without a list between, give the same numbers."""
    column = integers(orjson.dumps(values * times))
    assert column is not None
    assert np.array_equal(column, values * times)


@pytest.mark.parametrize("times", [1, 5000], ids=["short", "long"])
@pytest.mark.parametrize(
    "wrong",
    [b"007", b"00", b"1.5", b"1e3", b"1E3", b'"7"', b"true", b"null", b"", b"+1", b"0x1", b"1_0", b"[7]", b"{}", b"-"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_column_of_integers(times: int, wrong: bytes, place: int) -> None:
    """A column in which one element is no integer, wherever it stands, is left to the other way."""
    elements = [b"12"] * times
    elements[[0, times // 2, -1][place]] = wrong
    assert integers(b"[" + b",".join(elements) + b"]") is None or (times, wrong) == (1, b"")


@pytest.mark.parametrize("value", [b"9" * 19, b"9" * 30, str(2**63).encode(), b"-1", str(MAX_BYTES + 1).encode()])
def test_numbers_out_of_bounds_are_never_taken(value: bytes) -> None:
    """However a column is read, what is out of bounds does not come out as a sound delta."""
    for count in (2, 5000):
        batch = BATCH | {"services": [f"vm1/{n}" for n in range(count)], "in": [1] * count, "out": [2] * count}
        text = orjson.dumps(batch).replace(b'"in":[1,', b'"in":[' + value + b",")
        assert check(text) is None
        kept = by_reading_it_whole(text)
        assert isinstance(kept[0], Deltas)
        assert [row[6] for row in rows(kept[0])] == list(range(1, count))


def test_the_least_recently_used_names_are_forgotten() -> None:
    """Neither more columns nor more bytes are remembered than allowed."""
    texts = [orjson.dumps([f"vm1/{number}"]) for number in range(4)]
    for few in (RememberedNames(most_columns=3), RememberedNames(most_bytes=3 * len(texts[0]))):
        first = [few.read(text) for text in texts[:3]]
        assert few.read(texts[0]) is first[0]
        few.read(texts[3])
        assert few.read(texts[0]) is first[0]
        assert few.read(texts[1]) is not first[1]
        assert len(few) == 3
