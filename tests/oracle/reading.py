"""What of a record is well-formed, element by element.  `null` counts as absent everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

MAX_AHEAD_MS = 3_600_000
MOST_BYTES = 1 << 50
LAST_INSTANT = 253_402_300_800_000 - 1
LONGEST_DELTA_MS = 400 * 86_400_000
DELTA = ("service", "start", "end", "in", "out")


@dataclass(frozen=True)
class Element:
    """A delta or a control record; all fields are there, absent ones with their default."""

    index: int
    kind: str
    fields: Json


@dataclass(frozen=True)
class Malformed:
    index: int


class Wrong(Exception):
    """A field is not what it must be."""


def read(record: Any, appended: int) -> Iterator[Element | Malformed]:
    try:
        if not isinstance(record, dict):
            raise Wrong
        if record.get("type") == "batch":
            yield from batch(record, appended)
        else:
            kind = "delta" if record.get("type") is None else record["type"]
            yield Element(0, kind, READERS[kind](record, appended))
    except (Wrong, KeyError, TypeError):
        yield Malformed(0)


def batch(record: Json, appended: int) -> list[Element | Malformed]:
    columns = [record.get(name + "s" if name == "service" else name) for name in DELTA]
    services = columns[0]
    if not isinstance(services, list):
        raise Wrong
    columns = [
        [column] * len(services) if name in ("start", "end") and type(column) is int else column
        for name, column in zip(DELTA, columns, strict=True)
    ]
    if any(not isinstance(column, list) or len(column) != len(services) for column in columns):
        raise Wrong
    backfill = flag(record.get("backfill"))
    elements: list[Element | Malformed] = []
    for index, values in enumerate(zip(*columns, strict=True)):
        try:
            single = dict(zip(DELTA, values, strict=True)) | {"backfill": backfill}
            elements.append(Element(index, "delta", delta(single, appended)))
        except Wrong:
            elements.append(Malformed(index))
    return elements


# ---------------------------------------------------------------- records


def delta(record: Json, appended: int) -> Json:
    start, end = integer(record.get("start"), 0, LAST_INSTANT), integer(record.get("end"), 0, LAST_INSTANT)
    if not start < end <= appended + MAX_AHEAD_MS or end - start > LONGEST_DELTA_MS:
        raise Wrong
    bytes_ = {way: integer(record.get(way), 0, MOST_BYTES) for way in ("in", "out")}
    return {"service": service(record), "start": start, "end": end, **bytes_, "backfill": flag(record.get("backfill"))}


def registration(record: Json, appended: int) -> Json:
    plans, labels = record.get("plans"), record.get("labels") or {}
    if not isinstance(plans, list) or not isinstance(labels, dict):
        raise Wrong
    return {
        "service": service(record),
        "at": instant(record, appended),
        "source": text(record.get("source"), 200) if record.get("source") is not None else platform(record),
        "plans": [text(plan, 64) for plan in plans],
        "quota": optional(record.get("quota"), 1, MOST_BYTES),
        "anchor_day": optional(record.get("anchor_day"), 1, 31),
        "labels": labels,
    }


def deregistration(record: Json, appended: int) -> Json:
    return {"service": service(record), "at": instant(record, appended)}


def watermark(record: Json, appended: int) -> Json:
    return {"source": text(record.get("source"), 200), "at": instant(record, appended)}


def adjustment(record: Json, appended: int) -> Json:
    if record.get("kind") not in ("credit", "exempt", "pin", "unpin", "reset"):
        raise Wrong
    return {
        "service": service(record),
        "kind": record["kind"],
        "at": instant(record, appended),
        "id": text(record.get("id"), 200),
        "by": text(record.get("by"), 200),
        "why": record.get("why") or "",
        "bytes": optional(record.get("bytes"), 1, MOST_BYTES),
        "until": optional(record.get("until"), 0, LAST_INSTANT),
        "plan": record.get("plan") and text(record["plan"], 64),
        "profile": record.get("profile") and text(record["profile"], 64),
    }


def plans(record: Json, appended: int) -> Json:
    """The plans themselves are taken as they are: in their normal form."""
    if not isinstance(record.get("plans"), dict):
        raise Wrong
    return {"version": integer(record.get("version"), 1, 1 << 53), "plans": record["plans"]}


READERS = {
    "delta": delta,
    "registration": registration,
    "deregistration": deregistration,
    "forget": deregistration,
    "watermark": watermark,
    "adjustment": adjustment,
    "plans": plans,
}

# ---------------------------------------------------------------- fields


def integer(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:  # True is no number here
        raise Wrong
    return value


def optional(value: Any, least: int, most: int) -> int | None:
    return None if value is None else integer(value, least, most)


def instant(record: Json, appended: int) -> int:
    at = optional(record.get("at"), 0, LAST_INSTANT)
    if at is not None and at > appended + MAX_AHEAD_MS:
        raise Wrong
    return appended if at is None else at


def text(value: Any, most: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= most or any(is_control(each) for each in value):
        raise Wrong
    return value


def is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def service(record: Json) -> str:
    name = text(record.get("service"), 200)
    if not all(name.partition("/")) or name.startswith("@"):
        raise Wrong
    return name


def platform(record: Json) -> str:
    return service(record).partition("/")[0]


def flag(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Wrong
    return bool(value)
