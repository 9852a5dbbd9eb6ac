"""Fields of one JSON object, each of its exact type and within its bounds.

Everything here raises Rejected, in words for whoever published it.  The part of a reason before ": " is one of a fixed
set of phrases (it is a metric's label); details come after it.  A field that is null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stream.core.errors import Rejected
from stream.core.model import MAX_INSTANT

MAX_ID_CHARACTERS = 200
"""Of a service, a source, the id of an adjustment, who did it, a label's value."""

MAX_NAME_CHARACTERS = 64
"""Of a plan, a profile, a label's name."""

MAX_TEXT_CHARACTERS = 1000
MAX_LABELS = 20

CONTROL = r"\x00-\x1f\x7f-\x9f"
_CONTROL = re.compile(f"[{CONTROL}]")
_SERVICE = re.compile(rf"[^@/{CONTROL}][^/{CONTROL}]*/[^{CONTROL}]+")
_SERVICES = re.compile(rf"(?:[^@/{CONTROL}][^/{CONTROL}]*+/[^{CONTROL}]++\n)*+")


def is_service(value: object) -> bool:
    """Whether this is `<platform>/<id>`: both parts there, at most 200 characters, no control characters, no `@` first
    (keys that begin so are our own)."""
    return isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS and _SERVICE.fullmatch(value) is not None


def are_services(values: Sequence[Any]) -> bool:
    """Whether all of them are services; the same rule in one go (60 ns a name)."""
    try:
        lines = "\n".join(values) + "\n" if values else ""
    except TypeError:
        return False
    return _SERVICES.fullmatch(lines) is not None and max(map(len, values), default=0) <= MAX_ID_CHARACTERS


def service(document: Mapping[str, Any]) -> str:
    return service_id(document.get("service"))


def service_id(value: Any) -> str:
    if value is None:
        raise Rejected("service is missing", 'name the service, e.g. "service": "vm1/101"')
    if not is_service(value):
        raise Rejected(
            "service is no service id",
            f'write "<platform>/<id>", e.g. "vm1/101": at most {MAX_ID_CHARACTERS} characters, none of them a control '
            "character, and no @ first",
        )
    return str(value)


def source(document: Mapping[str, Any], service: str) -> str:
    """Who counts this service's traffic; by default the platform part of its id."""
    return optional_text(document, "source", MAX_ID_CHARACTERS) or service.partition("/")[0]


def integer(value: Any, name: str, least: int, most: int) -> int:
    if value is None:
        raise Rejected(f"{name} is missing", f"give {name} as a whole number from {least} to {most}")
    if type(value) is not int:  # bool is an int, and a number beyond 64 bits has become a float
        raise Rejected(
            f"{name} is not an integer",
            f"write {name} as a whole number from {least} to {most}, without quotes, point or exponent",
        )
    if not least <= value <= most:
        raise Rejected(f"{name} is out of bounds: {value}", f"give {name} as a whole number from {least} to {most}")
    return value


def optional_integer(document: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = document.get(name)
    return None if value is None else integer(value, name, least, most)


def instant(document: Mapping[str, Any], name: str, default: int, latest: int) -> int:
    """Milliseconds since the epoch, not after `latest`."""
    value = optional_integer(document, name, 0, MAX_INSTANT)
    return default if value is None else not_ahead(value, name, latest)


def not_ahead(value: int, name: str, latest: int) -> int:
    if value > latest:
        raise Rejected(
            f"{name} lies too far ahead: {value} is {value - latest} ms later than is allowed",
            "set the publisher's clock (NTP), and give instants in milliseconds since 1970 (UTC); "
            f"with max_ahead this record may speak of instants up to {latest}",
        )
    return value


def text(document: Mapping[str, Any], name: str, most: int) -> str:
    """A string that is not empty and has no control characters."""
    value = optional_text(document, name, most)
    if value is None:
        raise Rejected(f"{name} is missing", f"give {name} as a string of 1 to {most} characters")
    return value


def optional_text(document: Mapping[str, Any], name: str, most: int) -> str | None:
    value = document.get(name)
    if value is not None and not is_text(value, most):
        raise Rejected(
            f"{name} is no proper string", f"give {name} as a string of 1 to {most} characters, no control characters"
        )
    return value


def is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and _CONTROL.search(value) is None


def free_text(document: Mapping[str, Any], name: str) -> str:
    """Words for people, which may be empty and of several lines."""
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise Rejected(
            f"{name} is no proper string", f"give {name} as a string of at most {MAX_TEXT_CHARACTERS} characters"
        )
    return value


def flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise Rejected(f"{name} is not true or false", f"write true or false, or leave {name} out")
    return bool(value)


def labels(document: Mapping[str, Any]) -> dict[str, str]:
    value = document.get("labels")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS or not all(map(_is_label, value.items())):
        raise Rejected(
            "labels are not strings by name",
            f"give at most {MAX_LABELS} labels, names of 1 to {MAX_NAME_CHARACTERS} characters without control "
            f"characters, values as strings of at most {MAX_ID_CHARACTERS}",
        )
    return value


def _is_label(label: tuple[str, Any]) -> bool:
    name, value = label
    return is_text(name, MAX_NAME_CHARACTERS) and isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS
