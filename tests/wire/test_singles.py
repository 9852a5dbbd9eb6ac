"""Single deltas that are read together mean what each means by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from stream.core.model import Deltas, Malformed
from stream.wire import Decoder
from stream.wire.singles import plain
from tests.wire.samples import DELTA, END, START, record, rows

WHOLE = orjson.dumps(DELTA)
OTHER = orjson.dumps(DELTA | {"service": "vm1/102"})
HEAD, TAIL = b'{"service":"vm1/103","start":%d' % START, b'"end":%d,"in":1,"out":2}' % END
SPOILED: Mapping[str, list[bytes | None]] = {
    "one delta in two records, two deltas in one": [HEAD, TAIL, WHOLE + b"," + OTHER],
    "the same, by lines": [HEAD, TAIL, WHOLE + b",\n" + OTHER],
    "an array cut in two": [b'{"service":[{}', b'{}],"start":1,"end":2,"in":3,"out":4}', WHOLE + b"," + OTHER],
    "a string cut in two": [b'{"service":"}', b'{","start":1,"end":2,"in":3,"out":4}'],
    "nothing beside two": [b"", WHOLE + b"," + OTHER],
    "no value beside two": [None, WHOLE + b"," + OTHER],
    "a key twice": [WHOLE, WHOLE.replace(b'"in"', b'"in":0,"in"')],
    "a key twice, another missing": [WHOLE, WHOLE.replace(b'"out"', b'"in"')],
    "an array": [b"[%b]" % WHOLE, OTHER],
    "an array that ends too early": [WHOLE + b"]", b"[" + OTHER],
    "no JSON": [WHOLE, b"{", OTHER],
    "a service that is none": [WHOLE, orjson.dumps(DELTA | {"service": ["vm1/1"]}), OTHER],
    "a float": [WHOLE, orjson.dumps(DELTA | {"in": 1.0}), OTHER],
    "a number without end": [WHOLE, WHOLE.replace(b"4500", b"4" * 40), OTHER],
}


def told(values: list[bytes | None], *, together: bool) -> list[Any]:
    """(offset, service, numbers) of what counts; (offset, reason) of what is refused."""
    records = [record(value, offset) for offset, value in enumerate(values)]
    runs = [records] if together else [[each, record(b"[]", 99)] for each in records]  # beside that, nothing is plain
    found: list[Any] = []
    for event in [event for run in runs for event in Decoder().decode(run)]:
        assert isinstance(event, Deltas | Malformed)
        if isinstance(event, Deltas):
            found += [(row[5], *row) for row in rows(event)]
        else:
            found.append((event.position.offset, event.reason, event.value))
    return sorted((each for each in found if each[0] != 99), key=lambda each: each[0])


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_spoiled_harms_no_other(name: str) -> None:
    """However records are cut, each is read as if it stood alone."""
    values = SPOILED[name]
    assert told(values, together=True) == told(values, together=False)


def test_what_most_publishers_send_is_read_together() -> None:
    """Records of five things each, in any order of them."""
    reversed_ = orjson.dumps(dict(reversed(DELTA.items())))
    columns = plain([record(value, offset) for offset, value in enumerate([WHOLE, reversed_, OTHER])])
    assert columns is not None
    assert columns[0] == ["vm1/101", "vm1/101", "vm1/102"]


def test_keys_of_others_are_counted() -> None:
    """A key that is not the record's service is told, one by one or among many."""
    decoder = Decoder()
    records = [record(value, offset) for offset, value in enumerate([WHOLE, OTHER])]
    decoder.decode([each._replace(key=b"vm1/101") for each in records])
    decoder.decode([each._replace(key=key) for each, key in zip(records, (b"vm1/101", b"vm1/102"), strict=True)])
    decoder.decode([each._replace(key=None) for each in records])
    assert decoder.foreign_keys == 1
