"""CloudEvents attributes in Kafka headers ("binary mode"): what a record is, without a look into it.

They follow from the content alone, so a record that is published twice is the same record twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from urllib.parse import quote

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def attributes(kind: str, source: str, id: str, *, at: int | None = None, subject: str | None = None) -> Headers:
    """`id` is unique among the events of one `source`; `at` is in ms."""
    given = {
        "ce_specversion": "1.0",
        "ce_type": f"quota-stream.{kind}",
        "ce_source": quote(source, safe="/:@"),
        "ce_id": id,
        "ce_time": None if at is None else _time(at),
        "ce_subject": subject,
        "content-type": "application/json",
    }
    return tuple((name, value.encode()) for name, value in given.items() if value is not None)


def _time(at: int) -> str | None:
    """RFC 3339, in UTC; None beyond the year 9999, which it cannot write."""
    try:
        return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return None
