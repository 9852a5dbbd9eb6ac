"""Foreign JSON objects as single deltas of ours, by the mappings in force.

Everything is exact: numbers are taken as they are written, decimals included, and what a factor or a unit makes of them
is cut to whole bytes and milliseconds once, at the end.  So intervals that meet still meet afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from stream.core.errors import Rejected
from stream.core.mapping import FieldMapping, Scaled, Timed
from stream.core.model import MAX_BYTES, MAX_INSTANT
from stream.core.reading import shown

MOST_NUMBER: Final = 64
"""Characters of a number, and the power of ten that it must stay within."""

MOST_TIME: Final = 64
"""Characters of a time."""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Ratio(NamedTuple):
    """An exact number; `Fraction` would bring it to lowest terms at each step, which costs more than all else."""

    above: int
    below: int

    def plus(self, other: Ratio) -> Ratio:
        return Ratio(self.above * other.below + other.above * self.below, self.below * other.below)

    def less(self, other: Ratio) -> Ratio:
        return Ratio(self.above * other.below - other.above * self.below, self.below * other.below)


_MS: Final = {"s": Ratio(1000, 1), "ms": Ratio(1, 1), "us": Ratio(1, 1000), "ns": Ratio(1, 1_000_000)}


class Translator:
    """Reads what fits one of the mappings: the first, in their order, all of whose fields a record has."""

    def __init__(self, mappings: Mapping[str, FieldMapping]) -> None:
        self._mappings = [_Mapping(mapping) for mapping in mappings.values()]

    def __bool__(self) -> bool:
        return bool(self._mappings)

    def read(self, document: Mapping[str, Any], value: bytes) -> tuple[str, dict[str, Any]]:
        """The name of the mapping, and the delta as our format has it.  Raises Rejected."""
        lacking = []
        for mapping in self._mappings:
            values = mapping.values(document)
            if None not in values.values():
                return mapping.name, mapping.read(values, value)
            missing = (name for name, found in values.items() if found is None)
            lacking.append(f"{mapping.name} lacks {', '.join(missing)}")
        raise Rejected(
            f"no mapping fits: {'; '.join(lacking)}",
            "give all fields of one mapping, or those of our own format (service, start, end, in, out); or mend "
            "`mappings` in the configuration and run `quota-stream plans apply`",
        )


def _found(document: Mapping[str, Any], name: str) -> Any:
    """The value of a field whose dots go into objects; None if there is none."""
    found: Any = document
    for key in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


class _Mapping:
    """One mapping, made ready to read many records."""

    def __init__(self, mapping: FieldMapping) -> None:
        self.name = mapping.name
        self._mapping = mapping
        self._parts = mapping.parts()
        told = (mapping.start, mapping.end, mapping.duration, mapping.in_, mapping.out)
        names = [part.field for part in self._parts if part.field]
        names += [each.field for each in told if isinstance(each, Timed | Scaled)]
        self._fields = {name: "." in name for name in names}

    def values(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """By the names of its fields; None where there is none."""
        found = {name: document.get(name) for name in self._fields}
        for name, dotted in self._fields.items():
            if dotted and found[name] is None:
                found[name] = _found(document, name)
        return found

    def read(self, values: dict[str, Any], value: bytes) -> dict[str, Any]:
        """The delta.  Raises Rejected."""
        service = "".join(part.text + (self._id(part.field, values) if part.field else "") for part in self._parts)
        if float in map(type, values.values()):  # which may have lost digits
            values = self.values(json.loads(value, parse_float=_decimal, parse_int=_decimal))
        start, end = self._interval(values)
        mapping = self._mapping
        return {
            "service": service,
            "start": start,
            "end": end,
            "in": self._bytes(mapping.in_, values),
            "out": self._bytes(mapping.out, values),
        }

    def _refusal(self, what: str, field: str, value: Any, why: str, cure: str) -> Rejected:
        told = shown(str(value) if isinstance(value, Decimal) else value)
        return Rejected(f"a mapped field {what}: {field} is {told}{why}, as the mapping {self.name} reads it", cure)

    def _id(self, field: str, values: Mapping[str, Any]) -> str:
        value = values[field]
        if type(value) is int or (isinstance(value, str) and value):
            return str(value)
        cure = f"give {field} as a string or a whole number within 64 bits: it becomes part of the service's id"
        raise self._refusal("is no id", field, value, "", cure)

    def _number(self, field: str, values: Mapping[str, Any]) -> int | Decimal:
        """A number, or one in quotes, as JSON for 64-bit integers often has them; not negative."""
        value = values[field]
        if type(value) is int and value >= 0:  # as nearly always
            return value
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = _decimal(value)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self._refusal("is no number", field, value, "", f"give {field} as a number, or mend the mapping")
        if isinstance(value, Decimal) and not (value.is_finite() and -MOST_NUMBER < value.adjusted() < MOST_NUMBER):
            cure = f"give {field} with at most {MOST_NUMBER} characters and a sensible exponent"
            raise self._refusal("is out of bounds", field, value, "", cure)
        if value < 0:
            raise self._refusal("is negative", field, value, "", f"give {field} as a number that is not below 0")
        return value

    def _bytes(self, scaled: Scaled | None, values: Mapping[str, Any]) -> int:
        if scaled is None:
            return 0
        number, factor = self._number(scaled.field, values), scaled.factor
        if type(number) is int and factor == 1:
            amount = number
        else:
            above, below = number.as_integer_ratio()
            factor_above, factor_below = factor.as_integer_ratio()
            amount = above * factor_above // (below * factor_below)
        if amount > MAX_BYTES:
            why = f" and gives {amount} bytes with the factor {factor:f}"
            cure = f"a delta has at most {MAX_BYTES} bytes: look at {scaled.field} and at the mapping's factor"
            raise self._refusal("is out of bounds", scaled.field, values[scaled.field], why, cure)
        return amount

    def _interval(self, values: Mapping[str, Any]) -> tuple[int, int]:
        mapping = self._mapping
        start = None if mapping.start is None else self._instant(mapping.start, values)
        end = None if mapping.end is None else self._instant(mapping.end, values)
        if start is None or end is None:
            length = mapping.duration
            lasting = self._ms(length, values) if isinstance(length, Timed) else Ratio(length or 0, 1)
            start = end.less(lasting) if start is None and end is not None else start
            end = start.plus(lasting) if end is None and start is not None else end
        assert start is not None, "a mapping tells two of start, end and duration"
        assert end is not None, "a mapping tells two of start, end and duration"
        return start.above // start.below, end.above // end.below

    def _instant(self, timed: Timed, values: Mapping[str, Any]) -> Ratio:
        """In ms since 1970 (UTC)."""
        if timed.format == "rfc3339":
            return self._rfc3339(timed.field, values[timed.field])
        instant = self._ms(timed, values)
        if instant.above > MAX_INSTANT * instant.below:
            cure = f"look at the unit: the mapping takes {timed.field} for {timed.format} since 1970 (UTC)"
            raise self._refusal("is out of bounds", timed.field, values[timed.field], "", cure)
        return instant

    def _ms(self, timed: Timed, values: Mapping[str, Any]) -> Ratio:
        above, below = self._number(timed.field, values).as_integer_ratio()
        scale = _MS[timed.format]
        return Ratio(above * scale.above, below * scale.below)

    def _rfc3339(self, field: str, value: Any) -> Ratio:
        example = f"write {field} as in 2025-12-01T00:00:00Z or 2025-12-01T01:00:00.250+01:00 (RFC 3339)"
        found = _TIME.fullmatch(value) if isinstance(value, str) and len(value) <= MOST_TIME else None
        if found is None:
            raise self._refusal("is no time", field, value, "", example)
        day, hour, minute, second, decimals, zone = found.groups()
        if zone is None:
            raise self._refusal("has no time zone", field, value, "", f"{example}: with Z or an offset at its end")
        try:
            minutes = datetime.fromisoformat(f"{day}T{hour}:{minute}{zone.upper()}")
        except ValueError as error:
            raise self._refusal("is no time", field, value, "", example) from error
        since = minutes - _EPOCH
        whole = since.days * 86_400 + since.seconds + int(second)  # a leap second is the first one of the next minute
        below: int = 10 ** len(decimals or "")
        return Ratio((whole * below + int(decimals or 0)) * 1000, below)


def _decimal(text: str) -> Decimal:
    """As it is written; infinite if that is longer than any number that makes sense."""
    return Decimal(text) if len(text) <= MOST_NUMBER else Decimal("Infinity")
