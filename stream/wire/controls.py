"""Control records: what is said about a service, a source or the plans.  Each reader raises Rejected.

Only types and bounds are checked here; whether it makes sense (a plan that does not exist, a pin without a profile) is
for the tracker to say, who knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from stream.core.errors import Rejected
from stream.core.mapping import MOST_MAPPINGS, FieldMapping
from stream.core.model import (
    MAX_BYTES,
    MAX_INSTANT,
    Adjustment,
    Deregistration,
    Plans,
    Position,
    Record,
    Registration,
    Watermark,
)
from stream.core.plan import MOST_PLANS, Plan
from stream.core.reading import Misread
from stream.wire import fields
from stream.wire.fields import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, instant, optional_integer, optional_text, text

MAX_PLANS_VERSION = 1 << 53
MOST_PROBLEMS_SHOWN = 10
MOST_PROBLEM_CHARACTERS = 300
_T = TypeVar("_T")
Kind: TypeAlias = Literal["credit", "exempt", "pin", "unpin", "reset"]


def registration(record: Record, document: dict[str, Any], latest: int) -> Registration:
    service = fields.service(document)
    plans = document.get("plans")
    if not isinstance(plans, list) or not all(fields.is_text(plan, MAX_NAME_CHARACTERS) for plan in plans):
        raise Rejected(
            "plans are not a list of names",
            'list the names of the service\'s plans, e.g. "plans": ["vpn"]; [] for none',
        )
    return Registration(
        Position(record.offset),
        instant(document, "at", record.timestamp, latest),
        service,
        fields.source(document, service),
        tuple(plans),
        optional_integer(document, "quota", 1, MAX_BYTES),
        optional_integer(document, "anchor_day", 1, 31),
        fields.labels(document),
    )


def deregistration(record: Record, document: dict[str, Any], latest: int) -> Deregistration:
    service = fields.service(document)
    return Deregistration(Position(record.offset), instant(document, "at", record.timestamp, latest), service)


def watermark(record: Record, document: dict[str, Any], latest: int) -> Watermark:
    source = text(document, "source", MAX_ID_CHARACTERS)
    return Watermark(Position(record.offset), instant(document, "at", record.timestamp, latest), source)


def adjustment(record: Record, document: dict[str, Any], latest: int) -> Adjustment:
    return Adjustment(
        Position(record.offset),
        record.timestamp,
        instant(document, "at", record.timestamp, latest),
        text(document, "id", MAX_ID_CHARACTERS),
        fields.service(document),
        _kind(document),
        text(document, "by", MAX_ID_CHARACTERS),
        fields.free_text(document, "why"),
        optional_text(document, "plan", MAX_NAME_CHARACTERS),
        optional_integer(document, "bytes", 1, MAX_BYTES),
        optional_integer(document, "until", 0, MAX_INSTANT),
        optional_text(document, "profile", MAX_NAME_CHARACTERS),
    )


def _kind(document: dict[str, Any]) -> Kind:
    kind = document.get("kind")
    if kind not in get_args(Kind):
        raise Rejected("kind is unknown", f"write one of {', '.join(get_args(Kind))}")
    return cast("Kind", kind)


def plans(record: Record, document: dict[str, Any], latest: int) -> Plans:
    version = fields.integer(document.get("version"), "version", 1, MAX_PLANS_VERSION)
    described = document.get("plans")
    if not isinstance(described, dict):
        raise Rejected("plans are not an object", 'give all plans by name, e.g. "plans": {"vpn": {...}}')
    if len(described) > MOST_PLANS:
        raise Rejected(f"too many plans: {len(described)}", f"keep at most {MOST_PLANS} plans")
    mapped = document.get("mappings") or {}
    if not isinstance(mapped, dict):
        raise Rejected("mappings are not an object", 'give all mappings by name, e.g. "mappings": {"netflow": {...}}')
    if len(mapped) > MOST_MAPPINGS:
        raise Rejected(f"too many mappings: {len(mapped)}", f"keep at most {MOST_MAPPINGS} mappings")
    read = _named("plans", described, Plan.from_json)
    return Plans(Position(record.offset), version, read, _named("mappings", mapped, FieldMapping.from_json))


def _named(what: str, described: Mapping[str, Any], from_json: Callable[[str, Any], _T]) -> dict[str, _T]:
    read: dict[str, _T] = {}
    problems: list[str] = []
    for name, description in described.items():
        try:
            read[name] = from_json(name, description)
        except Misread as error:
            problems += [
                f"{'.'.join(map(str, (name, *problem.path)))} {problem.what} ({problem.cure})"[:MOST_PROBLEM_CHARACTERS]
                for problem in error.problems
            ]
        except RecursionError as error:
            raise Rejected("nested too deeply", "publish flat objects as the schema shows them") from error
    if problems:
        shown = problems[:MOST_PROBLEMS_SHOWN]
        more = f"; and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise Rejected(f"{what} are wrong: {'; '.join(shown)}{more}", f"mend the {what} and apply them again")
    return read


CONTROLS: Mapping[str, Callable[[Record, dict[str, Any], int], Any]] = {
    "registration": registration,
    "deregistration": deregistration,
    "watermark": watermark,
    "adjustment": adjustment,
    "plans": plans,
    "forget": deregistration,  # the tracker has nothing of it then; others are told by a control record
}
