"""A mapping: how one delta lies in a foreign JSON object.  Policy only; frozen, valid from the start, no state.

`FieldMapping.from_json` reads the normal form that a `plans` record carries and names every problem at once.
A field is named by its key; dots go into objects (`vm.id`), unless the object has a key of just that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from string import Formatter
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

from stream.core.reading import Misread, Path, Reader, shown

MOST_MAPPINGS: Final = 16
"""Mappings in one record."""

MOST_FIELD: Final = 200
"""Characters of a field's name or of a template."""

MOST_DURATION_MS: Final = 400 * 86_400_000
MOST_FACTOR: Final = Decimal(10**12)
MOST_FACTOR_DIGITS: Final = 12
"""Behind the point, of a factor."""

Count: TypeAlias = Literal["s", "ms", "us", "ns"]
"""Units in which instants and durations are told as numbers, which may have decimals."""

Format: TypeAlias = Literal["rfc3339", "s", "ms", "us", "ns"]
"""How an instant is told: as text, or as a number since 1970 (UTC)."""


class MappingError(Misread):
    """A mapping is refused; `problems` are all of them."""

    noun = "mapping"


class Timed(NamedTuple):
    """A field that tells an instant or a duration."""

    field: str
    format: Format


class Scaled(NamedTuple):
    """A field that tells an amount: bytes = value * factor."""

    field: str
    factor: Decimal


class Part(NamedTuple):
    """A piece of a template: its text, then the field after it, if there is one."""

    text: str
    field: str | None


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Two of start, end and duration are given, and at least one of in and out; a direction that is not is 0."""

    name: str
    service: str
    """A template: `vm1/{vm.id}`."""
    start: Timed | None
    end: Timed | None
    duration: Timed | int | None
    """A field of its own, or ms."""
    in_: Scaled | None
    out: Scaled | None

    @classmethod
    def from_json(cls, name: str, value: Any) -> FieldMapping:
        """Read the normal form.  Raises MappingError with every problem."""
        return _read(name, value)

    def to_json(self) -> dict[str, Any]:
        """The normal form; `FieldMapping.from_json(mapping.name, mapping.to_json()) == mapping`."""
        form = {
            "service": self.service,
            "start": self.start and self.start._asdict(),
            "end": self.end and self.end._asdict(),
            "duration": self.duration._asdict() if isinstance(self.duration, Timed) else self.duration,
            "in": self.in_ and _scaled_json(self.in_),
            "out": self.out and _scaled_json(self.out),
        }
        return {key: value for key, value in form.items() if value is not None}

    def parts(self) -> list[Part]:
        """The template in pieces."""
        return [Part(text, field) for text, field, _, _ in Formatter().parse(self.service)]


def factor_of(value: Any) -> Decimal | None:
    """A number or its text as a factor: exact, above 0, at most 10^12, at most 12 decimals; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal) or len(str(value)) > MOST_FIELD:
        return None
    try:
        factor = Decimal(str(value))
        if 0 < factor <= MOST_FACTOR and factor == round(factor, MOST_FACTOR_DIGITS):
            return factor.normalize()
    except InvalidOperation:
        pass  # NaN, or no number at all
    return None


def _scaled_json(scaled: Scaled) -> dict[str, Any]:
    whole = scaled.factor == scaled.factor.to_integral_value()
    return {"field": scaled.field, "factor": int(scaled.factor) if whole else f"{scaled.factor:f}"}


def _read(name: str, value: Any) -> FieldMapping:
    """Raises MappingError with every problem."""
    reader = Reader()
    reader.name((), name)
    keys = reader.object((), value, ("service", "start", "end", "duration", "in", "out"))
    service = _template(reader, keys.get("service"))
    start, end = (_instant(reader, (way,), keys.get(way)) for way in ("start", "end"))
    duration = _duration(reader, keys.get("duration"))
    in_, out = (_scaled(reader, (way,), keys.get(way)) for way in ("in", "out"))
    if [keys.get(way) for way in ("start", "end", "duration")].count(None) != 1:
        cure = "give start and end, start and duration, or end and duration"
        reader.problem((), "an interval is told by two of start, end and duration", cure)
    if keys.get("in") is None and keys.get("out") is None:
        reader.problem((), "no bytes are told", "give in, out or both")
    if reader.problems:
        raise MappingError(name, reader.problems)
    return FieldMapping(name, service, start, end, duration, in_, out)


def _template(reader: Reader, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_FIELD or not value.isprintable():
        reader.problem(("service",), f"is {shown(value)}", "write a template, for example vm1/{vm.id}")
        return ""
    try:
        pieces = list(Formatter().parse(value))
    except ValueError:
        pieces = [("", "", None, None)]
    if any(field is not None and (not field or form or conversion) for _, field, form, conversion in pieces):
        cure = "write each field as {name}, and a brace that is meant as it stands as {{ or }}"
        reader.problem(("service",), f"{shown(value)} is no template", cure)
    return value


def _field(reader: Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_FIELD:
        reader.problem(path, f"is {shown(value)}", f"write the field's name, at most {MOST_FIELD} characters")
        return ""
    return value


def _timed(reader: Reader, path: Path, value: Any, formats: tuple[Format, ...]) -> Timed | None:
    if value is None:
        return None
    keys = reader.object(path, value, ("field", "format"))
    if not isinstance(value, Mapping):
        return None
    return Timed(
        _field(reader, (*path, "field"), keys.get("field")),
        reader.one_of((*path, "format"), keys.get("format"), formats),
    )


def _instant(reader: Reader, path: Path, value: Any) -> Timed | None:
    return _timed(reader, path, value, get_args(Format))


def _duration(reader: Reader, value: Any) -> Timed | int | None:
    if value is None or isinstance(value, Mapping):
        return _timed(reader, ("duration",), value, cast("tuple[Format, ...]", get_args(Count)))
    return reader.integer(("duration",), value, 1, MOST_DURATION_MS)


def _scaled(reader: Reader, path: Path, value: Any) -> Scaled | None:
    if value is None:
        return None
    keys = reader.object(path, value, ("field", "factor"))
    if not isinstance(value, Mapping):
        return None
    field, factor = _field(reader, (*path, "field"), keys.get("field")), factor_of(keys.get("factor", 1))
    if factor is None:
        cure = f"write a number above 0 and at most 10^12, with at most {MOST_FACTOR_DIGITS} decimals"
        reader.problem((*path, "factor"), f"is {shown(keys.get('factor'))}", cure)
    return Scaled(field, factor or Decimal(1))
