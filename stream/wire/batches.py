"""Batches of deltas: a quick way for those that are as they should be, a thorough one that says what is not.

The quick way cuts the long arrays out of the record's text and puts a 0 in the place of each:

    {"type":"batch","source":"vm1","start":..,"end":..,"services":[...],"in":[...],"out":[...]}
                                                                  0         0          0

The arrays are read by themselves (the names are mostly remembered, the numbers need no look at each), the short rest as
a document of its own.  That this means the same as reading the whole is certain because
- an array is taken from where a member's value begins: after `{` or `,`, the quoted name, and a colon.  A quote after
  `{` or `,` is no escaped one.  If a string was open there, the quote closed it, and the bare name after it is no JSON;
  that part of the text is still there, so the rest is no JSON either;
- the array ends at the first `]`.  If that one is inside a name, or an inner array's, the piece is no JSON, and with
  any such doubt the thorough way decides;
- the rest has no inner object or array, and no key twice, so each of the members cut out stood in the record itself.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from stream.core.errors import Rejected
from stream.core.folding import MOST_TOLD, folded
from stream.core.model import MAX_INSTANT, Deltas, Malformed, Position, Record
from stream.wire.columns import Elements, array, integers, sound
from stream.wire.documents import cut, keys_differ
from stream.wire.fields import flag
from stream.wire.names import RememberedNames

MIN_QUICK_BYTES = 1024
"""Shorter records are read faster as a whole."""

_MEMBER = re.compile(rb'"(services|start|end|in|out)"[ \t\r\n]*:[ \t\r\n]*\[')
_BLANK = b" \t\r\n"

_NO_BATCH = (
    'a batch has "services", "in" and "out" as arrays of one length, "start" and "end" as one integer or such an array'
)


def quick(record: Record, value: bytes, latest: int, remembered: RememberedNames) -> Deltas | None:
    """The batch, if all of it is sound; None if it is not, or if it is no batch at all: then `thorough` knows why."""
    pieces = _pieces(value)
    if pieces is None:
        return None
    rest, arrays = pieces
    document = _flat(rest)
    if document is None or document.get("type") != "batch":
        return None
    names = remembered.read(arrays.pop("services", b""))
    columns = {name: integers(text) for name, text in arrays.items()}
    start, end = (columns[name] if name in columns else _instant(document, name) for name in ("start", "end"))
    in_, out, backfill = columns.get("in"), columns.get("out"), document.get("backfill", False)
    if not names or start is None or end is None or in_ is None or out is None or type(backfill) is not bool:
        return None
    if any(column is None or len(column) != len(names) for column in columns.values()):
        return None
    if not sound(start, end, in_, out, latest):
        return None
    return Deltas(names, start, end, in_, out, record.offset, backfill=backfill)


def _instant(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    return value if type(value) is int and 0 <= value <= MAX_INSTANT else None


def _pieces(value: bytes) -> tuple[bytes, dict[str, bytes]] | None:
    """What is left of the text, and the arrays cut out of it, by name."""
    arrays: dict[str, bytes] = {}
    rest: list[bytes] = []
    done = 0
    while (member := _MEMBER.search(value, done)) is not None:
        name, begin = member[1].decode(), member.end() - 1
        end = value.find(b"]", begin) + 1
        before = value[done : member.start()].rstrip(_BLANK)
        if not end or before[-1:] not in (b"{", b","):
            return None
        rest += value[done:begin], b"0"
        arrays[name] = value[begin:end]
        done = end
    rest.append(value[done:])
    return b"".join(rest), arrays


def _flat(text: bytes) -> dict[str, Any] | None:
    """The document, if it is an object of plain values, each key once."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or any(isinstance(value, dict | list) for value in document.values()):
        return None
    return document if keys_differ(text, document) else None


def thorough(record: Record, document: dict[str, Any], latest: int) -> list[Deltas | Malformed]:
    """The sound elements, and what is wrong with the others: each of the first, then the rest as one.

    Raises Rejected if it is no batch.
    """
    elements = _elements(document, latest)
    backfill = flag(document, "backfill")
    refusals = elements.refusals()
    kept = [index for index in range(len(elements.services)) if index not in refusals]
    events: list[Deltas | Malformed] = []
    if kept:
        events.append(_deltas(record, document, elements, kept, backfill))
    for told, (index, refusal) in enumerate(refusals.items()):
        if told == MOST_TOLD:
            refusal = folded(len(refusals) - MOST_TOLD, refusal)
        elif told > MOST_TOLD:
            break
        value = _element(elements, index, backfill)
        events.append(Malformed(Position(record.offset, index), refusal.reason, refusal.cure, cut(value)))
    return events


def _deltas(record: Record, document: dict[str, Any], elements: Elements, kept: list[int], backfill: bool) -> Deltas:
    all_kept = len(kept) == len(elements.services)
    sound_ones = elements if all_kept else elements.only(kept)
    start, end = document["start"], document["end"]
    return Deltas(
        sound_ones.services,
        start if type(start) is int else array(sound_ones.start),
        end if type(end) is int else array(sound_ones.end),
        array(sound_ones.in_),
        array(sound_ones.out),
        record.offset,
        index=None if all_kept else array(kept),
        backfill=backfill,
    )


def _elements(document: dict[str, Any], latest: int) -> Elements:
    services = document.get("services")
    if not isinstance(services, list):
        raise Rejected("no batch: services is not an array", _NO_BATCH)
    count = len(services)
    columns: list[list[Any]] = []
    for name in ("start", "end", "in", "out"):
        column = document.get(name)
        if type(column) is int and name in ("start", "end"):
            column = [column] * count
        if not isinstance(column, list):
            raise Rejected(f"no batch: {name} is missing or of the wrong type", _NO_BATCH)
        if len(column) != count:
            raise Rejected(f"no batch: {name} has {len(column)} elements, services {count}", _NO_BATCH)
        columns.append(column)
    return Elements._make([services, *columns, [latest] * count])


def _element(elements: Elements, index: int, backfill: bool) -> bytes:
    """The element as the single delta that it could have been; what is no plain value at all is only named."""
    names = ("service", "start", "end", "in", "out")
    values = (column[index] for column in elements[: len(names)])
    delta = {
        name: f"({type(value).__name__})" if isinstance(value, dict | list) else value
        for name, value in zip(names, values, strict=True)
    }
    return orjson.dumps(delta | {"backfill": True} if backfill else delta)
