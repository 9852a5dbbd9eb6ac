"""The format of a page of state: columns as they lie in memory, behind a header that describes them.

    0   8 bytes   b"QSTPAGE" and a newline
    8   u32       format version
    12  u32       length of the header
    16  16 bytes  BLAKE2b-128 of everything else: bytes 0..16 and 32..end
    32  header    JSON: {"key", "checkpoint", "columns": [{"name", "dtype", "shape"}, ...], "extras"}
        columns   one after the other, in C order, little-endian, each begun at a multiple of 8

All integers of the frame are little-endian.  Older versions are read as long as there is a release that wrote them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.core.errors import Corrupt
from stream.core.page import Page

VERSION: Final = 1
_MAGIC: Final = b"QSTPAGE\n"
_FRAME: Final = Struct("<8sII16s")
_ALIGNMENT: Final = 8
_KINDS: Final = "biufS"
"""NumPy's kinds of dtype that mean the same on every machine: bool, integers, floats, bytes of fixed length."""
_DTYPE: Final = re.compile(f"[<|][{_KINDS}][0-9]{{1,6}}")


def encode_page(page: Page, checkpoint: int) -> bytes:
    """`extras` must be what JSON can hold, its integers within 64 bits."""
    columns = {name: _little_endian(name, column) for name, column in page.columns.items()}
    header = orjson.dumps(
        {
            "key": page.key,
            "checkpoint": checkpoint,
            "columns": [
                {"name": name, "dtype": column.dtype.str, "shape": column.shape} for name, column in columns.items()
            ],
            "extras": page.extras,
        }
    )
    header += b" " * _padding(_FRAME.size + len(header))
    body = [header]
    for column in columns.values():
        body += column.tobytes(), b"\0" * _padding(column.nbytes)
    rest = b"".join(body)
    digest = _digest(_MAGIC, VERSION, len(header), rest)
    return _FRAME.pack(_MAGIC, VERSION, len(header), digest) + rest


def decode_page(data: bytes) -> tuple[Page, int]:
    """The page and its checkpoint.  The columns are read-only views into `data`.  Raises Corrupt."""
    if len(data) < _FRAME.size:
        raise Corrupt(f"a page of state is cut short: only {len(data)} bytes")
    magic, version, header_length, digest = _FRAME.unpack_from(data)
    if magic != _MAGIC:
        raise Corrupt("this is no page of state: it does not begin as one; restore a backup")
    if version > VERSION:
        raise Corrupt(f"a page of state has format {version}, and this release reads up to {VERSION}: upgrade")
    if digest != _digest(magic, version, header_length, memoryview(data)[_FRAME.size :]):
        raise Corrupt("a page of state is damaged: its checksum differs; restore a backup")
    try:
        header = orjson.loads(data[_FRAME.size : _FRAME.size + header_length])
        columns = _columns(data, _FRAME.size + header_length, header["columns"])
        return Page(header["key"], columns, header["extras"]), header["checkpoint"]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Corrupt(f"a page of state describes itself wrongly: {error}; restore a backup") from error


def _columns(data: bytes, place: int, described: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    columns = {}
    for column in described:
        dtype, shape = _form(column["dtype"], *column["shape"])
        found: NDArray[Any] = np.ndarray(shape, dtype, data, place)
        columns[column["name"]] = found
        place += found.nbytes
        place += _padding(place)
    return columns


@lru_cache(maxsize=256, typed=True)  # thousands of pages have the same few
def _form(dtype: str, *sizes: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """NumPy itself would take much more than was ever written, up to expressions."""
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"no column has the dtype {dtype[:80]!r}")
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("a shape that is none")
    return np.dtype(dtype), sizes


def _digest(magic: bytes, version: int, header_length: int, rest: bytes | memoryview) -> bytes:
    digest = blake2b(_FRAME.pack(magic, version, header_length, b"")[:16], digest_size=16)
    digest.update(rest)
    return digest.digest()


def _little_endian(name: str, column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind not in _KINDS:
        raise TypeError(f"column {name} has dtype {column.dtype}, which a page cannot hold")
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<"))


def _padding(length: int) -> int:
    return -length % _ALIGNMENT
