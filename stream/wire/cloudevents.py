"""CloudEvents attributes in Kafka headers ("binary mode"): what a record is, without a look into it.

They follow from the content alone, so a record that is published twice is the same record twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import quote

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CONTENT: Final = ("content-type", b"application/json")


def attributes(kind: str, source: str, id: str, *, at: int | None = None, subject: str | None = None) -> Headers:
    """`id` is unique among the events of one `source`; `at` is in ms."""
    time = () if at is None else _time(at)
    about = () if subject is None else (("ce_subject", subject.encode()),)
    return (*_origin(kind, source), ("ce_id", id.encode()), *time, *about, _CONTENT)


@lru_cache(maxsize=256)
def _origin(kind: str, source: str) -> Headers:
    """What many events have in common."""
    ours, named = f"quota-stream.{kind}".encode(), quote(source, safe="/:@").encode()
    return ("ce_specversion", b"1.0"), ("ce_type", ours), ("ce_source", named)


@lru_cache(maxsize=256)
def _time(at: int) -> Headers:
    """RFC 3339, in UTC; nothing beyond the year 9999, which it cannot write."""
    try:
        time = (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return ()
    return (("ce_time", time.encode()),)
