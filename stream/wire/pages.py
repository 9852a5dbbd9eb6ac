"""The format of a page of state: columns as they lie in memory, behind a header that describes them.

    0   8 bytes   b"QSTPAGE" and a newline
    8   u32       format version
    12  u32       length of the header
    16  16 bytes  the first half of the SHA-256 of everything else: bytes 0..16 and 32..end
    32  header    two lines of JSON, filled up with spaces: {"key", "checkpoint", "extras"}, and the blocks
                  [[dtype, [columns, *shape of each], [name, ...]], ...]
        blocks    columns of one dtype and shape, one after the other, in C order, little-endian; each block is begun at
                  a multiple of 8

Thousands of pages have the same second line.  All integers of the frame are little-endian.  Older versions are read as
long as there is a release that wrote them: format 1 had a BLAKE2b-128 and one line of JSON, {"key", "checkpoint",
"columns": [{"name", "dtype", "shape"}, ...], "extras"}, each column a block of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b, sha256
from math import prod
from struct import Struct
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.core.errors import Corrupt
from stream.core.page import Page

VERSION: Final = 2
_MAGIC: Final = b"QSTPAGE\n"
_FRAME: Final = Struct("<8sII16s")
_ALIGNMENT: Final = 8
_ENDED: Final = orjson.OPT_APPEND_NEWLINE
_KINDS: Final = "biufS"
"""NumPy's kinds of dtype that mean the same on every machine: bool, integers, floats, bytes of fixed length."""
_DTYPE: Final = re.compile(f"[<|][{_KINDS}][0-9]{{1,6}}")


class _Block(NamedTuple):
    names: list[str]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    place: int
    """After the header."""


def encode_page(page: Page, checkpoint: int) -> bytes:
    """`extras` must be what JSON can hold, its integers within 64 bits."""
    blocks: dict[tuple[str, tuple[int, ...]], dict[str, NDArray[Any]]] = {}
    for name, column in page.columns.items():
        little = _little_endian(name, column)
        blocks.setdefault((little.dtype.str, little.shape), {})[name] = little
    described = [[dtype, [len(columns), *shape], list(columns)] for (dtype, shape), columns in blocks.items()]
    header = orjson.dumps({"key": page.key, "checkpoint": checkpoint, "extras": page.extras}, option=_ENDED)
    header += orjson.dumps(described)
    header += b" " * _padding(_FRAME.size + len(header))
    body = [header]
    for columns in blocks.values():
        body += [column.tobytes() for column in columns.values()]
        body.append(b"\0" * _padding(sum(column.nbytes for column in columns.values())))
    rest = b"".join(body)
    return _FRAME.pack(_MAGIC, VERSION, len(header), _digest(VERSION, len(header), rest)) + rest


def decode_page(data: bytes) -> tuple[Page, int]:
    """The page and its checkpoint.  The columns are read-only views into `data`.  Raises Corrupt."""
    if len(data) < _FRAME.size:
        raise Corrupt(f"a page of state is cut short: only {len(data)} bytes")
    magic, version, header_length, digest = _FRAME.unpack_from(data)
    if magic != _MAGIC:
        raise Corrupt("this is no page of state: it does not begin as one; restore a backup")
    if version > VERSION:
        raise Corrupt(f"a page of state has format {version}, and this release reads up to {VERSION}: upgrade")
    if digest != _digest(version, header_length, memoryview(data)[_FRAME.size :]):
        raise Corrupt("a page of state is damaged: its checksum differs; restore a backup")
    try:
        begin = _FRAME.size + header_length
        first, _, second = data[_FRAME.size : begin].partition(b"\n")
        header = orjson.loads(first)
        if version == 1:
            second = orjson.dumps([[each["dtype"], [1, *each["shape"]], [each["name"]]] for each in header["columns"]])
        columns: dict[str, NDArray[Any]] = {}
        for names, dtype, shape, place in _blocks(second):
            columns.update(zip(names, np.ndarray(shape, dtype, data, begin + place), strict=True))
        return Page(header["key"], columns, header["extras"]), header["checkpoint"]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Corrupt(f"a page of state describes itself wrongly: {error}; restore a backup") from error


@lru_cache(maxsize=64)
def _blocks(described: bytes) -> list[_Block]:
    """NumPy itself would take much more than was ever written, up to expressions.  Raises ValueError, TypeError."""
    found, place = [], 0
    for dtype, shape, names in orjson.loads(described):
        if not _DTYPE.fullmatch(dtype):
            raise ValueError(f"no column has the dtype {dtype[:80]!r}")
        if len(shape) < 2 or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("a shape that is none")
        block = _Block(names, np.dtype(dtype), tuple(shape), place)
        found.append(block)
        place += block.dtype.itemsize * prod(shape)
        place += _padding(place)
    return found


def _digest(version: int, header_length: int, rest: bytes | memoryview) -> bytes:
    frame = _FRAME.pack(_MAGIC, version, header_length, b"")[:16]
    digest = blake2b(frame, digest_size=16) if version == 1 else sha256(frame)
    digest.update(rest)
    return digest.digest()[:16]


def _little_endian(name: str, column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind not in _KINDS:
        raise TypeError(f"column {name} has dtype {column.dtype}, which a page cannot hold")
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<"))


def _padding(length: int) -> int:
    return -length % _ALIGNMENT
