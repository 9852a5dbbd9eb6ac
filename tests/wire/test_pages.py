"""The format of a page: what is written is read, what is damaged is refused."""

from __future__ import annotations

from base64 import b64decode
from hashlib import blake2b, sha256
from struct import pack_into
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.core.errors import Corrupt
from stream.core.page import Page
from stream.wire import decode_page, encode_page

DTYPES = ["?", "i1", "<i8", ">i8", "<u4", "<f8", "S5"]

columns = st.builds(
    lambda dtype, shape, content: (
        np.resize(np.frombuffer(content * 40, np.uint8), 6 * 40 * 8)
        .view("u1")
        .astype(dtype if dtype != "?" else "u1")[: int(np.prod(shape))]
        .reshape(shape)
        .astype(dtype)
    ),
    st.sampled_from(DTYPES),
    st.sampled_from([(0,), (1,), (7,), (3, 5), (4, 0), (2, 3, 2)]),
    st.binary(min_size=6, max_size=6),
)
extras = st.dictionaries(
    st.text(max_size=5), st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9) | st.lists(st.none()), max_size=4
)
pages = st.builds(Page, st.text(max_size=9), st.dictionaries(st.text(max_size=5), columns, max_size=4), extras)

PAGE = Page("7", {"bytes": np.array([1, -2, 3], np.int64), "names": np.array([b"a", b"bc"])}, {"labels": ["x", None]})

FIRST_FORMAT = b64decode(
    "UVNUUEFHRQoBAAAAoAAAALsLovvWO9AVPFHMiEARB0d7ImtleSI6IjciLCJjaGVja3BvaW50Ijo1LCJjb2x1bW5zIjpbeyJuYW1l"
    "IjoiYnl0ZXMiLCJkdHlwZSI6IjxpOCIsInNoYXBlIjpbM119LHsibmFtZSI6Im5hbWVzIiwiZHR5cGUiOiJ8UzIiLCJzaGFwZSI6"
    "WzJdfV0sImV4dHJhcyI6eyJsYWJlbHMiOlsieCIsbnVsbF19fSAgICAgAQAAAAAAAAD+/////////wMAAAAAAAAAYQBiYwAAAAA="
)
"""PAGE of checkpoint 5, as the first release wrote it."""

SECOND_FORMAT = b64decode(
    "UVNUUEFHRQoCAAAAcAAAAFKSH8CDpQmGg2OCXKYk5bJ7ImtleSI6IjciLCJjaGVja3BvaW50Ijo1LCJleHRyYXMiOnsibGFiZWxz"
    "IjpbIngiLG51bGxdfX0KW1siPGk4IixbMSwzXSxbImJ5dGVzIl1dLFsifFMyIixbMSwyXSxbIm5hbWVzIl1dXSAgICAgAQAAAAAA"
    "AAD+/////////wMAAAAAAAAAYQBiYwAAAAA="
)
"""The same in format 2."""


def assert_same(one: Page, two: Page) -> None:
    assert (one.key, one.extras, sorted(one.columns)) == (two.key, two.extras, sorted(two.columns))
    for name, column in one.columns.items():
        other: NDArray[Any] = two.columns[name]
        assert (column.shape, column.dtype.newbyteorder("<")) == (other.shape, other.dtype.newbyteorder("<"))
        assert np.array_equal(column, other)


@given(pages, st.integers(0, 2**63 - 1))
def test_pages_go_and_come_back(page: Page, checkpoint: int) -> None:
    """Key, checkpoint, extras and every column, of every kind and shape."""
    data = encode_page(page, checkpoint)
    again, number = decode_page(data)
    assert number == checkpoint
    assert_same(again, page)
    assert encode_page(again, number) == data


@given(pages.map(lambda page: encode_page(page, 5)), st.data())
def test_any_damage_is_seen(data: bytes, choice: st.DataObject) -> None:
    """A byte changed, bytes lost or added: the page is refused as a whole."""
    place = choice.draw(st.integers(0, len(data) - 1))
    flipped = data[:place] + bytes([data[place] ^ choice.draw(st.integers(1, 255))]) + data[place + 1 :]
    for damaged in (flipped, data[:place], data[:place] + data[place + 1 :], data + b"\0" * 8, data + data):
        with pytest.raises(Corrupt):
            decode_page(damaged)


@given(st.binary(max_size=80))
def test_what_is_no_page_is_refused(data: bytes) -> None:
    """Any bytes are."""
    with pytest.raises(Corrupt):
        decode_page(data)


def test_what_is_wrong_is_named() -> None:
    """An operator reads what to do: upgrade, or restore a backup."""
    data = bytearray(encode_page(PAGE, 5))
    pack_into("<I", data, 8, 3)
    with pytest.raises(Corrupt, match=r"format 3.*upgrade"):
        decode_page(bytes(data))
    with pytest.raises(Corrupt, match="checksum differs"):
        decode_page(encode_page(PAGE, 5)[:-1] + b"\1")
    with pytest.raises(Corrupt, match="cut short"):
        decode_page(b"QSTP")
    with pytest.raises(Corrupt, match="no page of state"):
        decode_page(b"SQLite format 3\0" * 4)


COLUMNS = [
    '"dtype":"<i8","shape":[3]',
    '"dtype":"<i8","shape":[99999999999999999999]',
    '"dtype":"<i8","shape":[-2]',
    '"dtype":"<i8","shape":[[1]]',
    '"dtype":"<i8","shape":["x",99999999999]',
    '"dtype":"<i8","shape":{}',
    '"dtype":"<i8","shape":"x"',
    '"dtype":"<i8","shape":[]',
    '"dtype":"O","shape":[0]',
    '"dtype":"i8,i8","shape":[0]',
    '"dtype":"(%s)i8","shape":[0]' % ("9" * 5000),
    '"dtype":[["x","<i8"]],"shape":[0]',
    '"dtype":7,"shape":[0]',
]
BLOCKS = [
    '[["<i8",[1,3],["x"]]]',
    '[["<i8",[1,99999999999999999999],["x"]]]',
    '[["<i8",[99999999999,0],["x"]]]',
    '[["<i8",[-1,0],["x"]]]',
    '[["<i8",[1,[1]],["x"]]]',
    '[["<i8",[1],["x"]]]',
    '[["<i8",{},["x"]]]',
    '[["<i8",[2,0],["x"]]]',
    '[["<i8",[1,0],["x","y"]]]',
    '[["<i8",[1,0],7]]',
    '[["<i8",[1,0],[["x"]]]]',
    '[["O",[1,0],["x"]]]',
    '[["i8,i8",[1,0],["x"]]]',
    '[[7,[1,0],["x"]]]',
    '[["<i8",[1,0]]]',
    "7",
    "",
]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_good_checksum_over_a_wrong_description_of_format_1(column: str) -> None:
    """What a page says of its columns is not believed either."""
    header = b'{"key":"7","checkpoint":1,"columns":[{"name":"x",%s}],"extras":{}}' % column.encode()
    head = b"QSTPAGE\n" + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little")
    with pytest.raises(Corrupt, match="describes itself wrongly"):
        decode_page(head + blake2b(head + header, digest_size=16).digest() + header)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_good_checksum_over_a_wrong_description(blocks: str) -> None:
    """Nor what it says of its blocks."""
    header = b'{"key":"7","checkpoint":1,"extras":{}}\n' + blocks.encode()
    head = b"QSTPAGE\n" + (2).to_bytes(4, "little") + len(header).to_bytes(4, "little")
    with pytest.raises(Corrupt, match="describes itself wrongly"):
        decode_page(head + sha256(head + header).digest()[:16] + header)


@pytest.mark.parametrize("data", [FIRST_FORMAT, SECOND_FORMAT])
def test_former_formats_are_read(data: bytes) -> None:
    """Every later release reads what a former one wrote."""
    page, checkpoint = decode_page(data)
    assert checkpoint == 5
    assert_same(page, PAGE)


def test_columns_are_views() -> None:
    """Reading copies nothing: columns lie in the page's bytes, aligned, and cannot be written to."""
    page, _ = decode_page(encode_page(PAGE, 5))
    column = page.columns["bytes"]
    assert not column.flags.owndata
    assert column.flags.aligned
    assert not column.flags.writeable


def test_only_what_means_the_same_everywhere_is_written() -> None:
    """Objects are no column."""
    with pytest.raises(TypeError, match="cannot hold"):
        encode_page(Page("7", {"x": np.array([None])}, {}), 5)
