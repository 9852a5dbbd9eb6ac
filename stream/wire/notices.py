"""Notices as they go out: CloudEvents in structured JSON."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from stream.core.errors import Rejected
from stream.core.model import Record
from stream.core.notices import Notice, kind_of
from stream.wire.cloudevents import attributes
from stream.wire.outcomes import decode_outcome

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


def encode_notice(notice: Notice) -> bytes:
    """The same notice always gives the same bytes."""
    headers = attributes(notice.kind, notice.source, notice.id, at=notice.at, subject=notice.subject)
    named = {name.removeprefix("ce_"): value.decode() for name, value in headers if name.startswith("ce_")}
    return orjson.dumps({**named, "datacontenttype": "application/json", "data": notice.data})


def notice_of(record: Record, partition: int, kinds: Collection[str]) -> Notice | None:
    """Of a record of `quota.profile-changes`; None if nobody is to be told of it.  Its data are the record's own."""
    try:
        outcome = decode_outcome(record.value)
    except Rejected:
        return None
    kind = kind_of(outcome)
    if kind not in kinds:
        return None
    headers = dict(record.headers)
    id = headers.get("ce_id", f"{outcome.service}/{record.offset}".encode()).decode()
    source = f"quota-stream/tracker/{partition}"
    return Notice(kind, source, id, outcome.at, outcome.service, orjson.loads(record.value or b"{}"))
