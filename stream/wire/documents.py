"""From bytes to one JSON object, or Rejected: the first gate of every record."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

from stream.core.errors import Rejected
from stream.core.model import MAX_RECORD_BYTES, Malformed, Position, Record

MAX_REJECTED_BYTES = 64 * 1024
"""What is kept of a rejected record or element."""

_KEY_END = re.compile(rb'"[ \t\r\n]*:')


def sized(value: bytes | None) -> bytes:
    """The record's value, unless there is none or too much of it."""
    if value is None:
        raise Rejected("no value", "publish one JSON object in each record; this topic is not compacted")
    if len(value) > MAX_RECORD_BYTES:
        raise Rejected(
            f"record too large: {len(value)} bytes",
            f"keep records within {MAX_RECORD_BYTES} bytes: cut batches at 5000 services",
        )
    return value


def parse(value: bytes) -> dict[str, Any]:
    """The object, whose keys are all different."""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(
            f"not JSON: {error}", "publish one JSON object (RFC 8259) in each record, in UTF-8, without NaN or comments"
        ) from error
    if not isinstance(document, dict):
        raise Rejected("not a JSON object", 'publish one object in each record, e.g. {"service": "vm1/101", ...}')
    if not keys_differ(value, document):
        raise Rejected("a key stands twice", "write each key of an object once; which one is meant cannot be told")
    return document


def keys_differ(value: bytes, document: dict[str, Any]) -> bool:
    """Whether no object in `value`, whose parsed form is `document`, has a key twice.

    Each key is followed by one colon, so if there are no more colons than keys there is no second one.  Strings may
    hold colons too, and an escaped quote before a colon looks like a key: what remains is read key by key.
    """
    colons = value.count(b":")
    if colons == len(document):
        return True
    known = len(document) + sum(len(inner) for inner in document.values() if isinstance(inner, dict))
    if known in (colons, len(_KEY_END.findall(value))):
        return True
    try:
        json.loads(value, object_pairs_hook=_all_differ, parse_int=_unread, parse_float=_unread)
    except _Twice:
        return False
    except RecursionError as error:
        raise Rejected("nested too deeply", "publish flat objects as the schema shows them") from error
    return True


class _Twice(Exception):
    """A key stands twice."""


def _all_differ(pairs: Sequence[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Twice


def _unread(_number: str) -> None:
    """Numbers do not matter here, and one of ten thousand digits costs too much."""


def cut(value: bytes) -> bytes:
    """The first 64 KiB, up to a whole character if it is UTF-8."""
    if len(value) <= MAX_REJECTED_BYTES:
        return value
    end = MAX_REJECTED_BYTES
    while end > MAX_REJECTED_BYTES - 4 and value[end] & 0xC0 == 0x80:
        end -= 1
    return value[:end]


def refused(record: Record, refusal: Rejected) -> Malformed:
    """The whole record as a dead letter."""
    return Malformed(Position(record.offset), refusal.reason, refusal.cure, cut(record.value or b""))
