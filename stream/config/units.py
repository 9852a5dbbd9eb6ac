"""Sizes, speeds, durations and percentages as people write them, and back: text <-> whole bytes, bit/s, ms, percent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from stream.core.speed import ORIGINAL, Speed


class Kind(NamedTuple):
    """A kind of quantity: what it is called, an example, its units in terms of the base unit, and the most of it."""

    noun: str
    example: str
    base: str
    units: Mapping[str, int]
    most: int


SIZE = Kind(
    "a size", "1024 GiB", "bytes",
    {
        "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    },
    2**50,
)  # fmt: skip
SPEED = Kind("a speed", "10 Mbit/s", "bit/s", {"kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}, 10**15)
DURATION = Kind(
    "a duration", "60s", "ms", {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}, 36_525 * 86_400_000
)
PERCENT = Kind("a percentage", "80%", "percent", {"%": 1}, 10**6)

MOST_DIGITS = 25
_QUANTITY = re.compile(r"\s*(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>%|[^\W\d_]\S*)?\s*")


class Wrong(ValueError):
    """A setting that cannot be understood: `what` is wrong with it and the `cure`, what to write instead."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}; {cure}")
        self.what = what
        self.cure = cure


def size_bytes(value: object) -> int:
    """Bytes (more than 0) of "1024 GiB"; a plain whole number is bytes.  Raises Wrong."""
    return _quantity(f"{value} B" if str(value).isdecimal() else value, SIZE)


def duration_ms(value: object) -> int:
    """Milliseconds (more than 0, at most 100 years) of "90s".  Raises Wrong."""
    return _quantity(value, DURATION)


def percent(value: object) -> int:
    """The whole number of "80%".  Raises Wrong."""
    return _quantity(value, PERCENT, zero=True)


def speed(value: object) -> Speed:
    """Speed of "10 Mbit/s", "original" or {in: ..., out: ...} (a direction left out is original).  Raises Wrong."""
    if isinstance(value, Mapping):
        unknown = [str(key) for key in value if key not in ("in", "out")]
        if unknown or not value:
            what = f"{unknown[0]!r} is no direction" if unknown else "no direction is given"
            raise Wrong(what, "write {in: 50 Mbit/s, out: 10 Mbit/s}")
        return Speed(_one_way(value.get("in", "original")), _one_way(value.get("out", "original")))
    one_way = _one_way(value)
    return Speed(one_way, one_way)


def size_text(size: int) -> str:
    """The shortest exact way to write so many bytes: "1 TiB", "1500 MB", "1048576001 B"."""
    return _text(size, SIZE.units)


def rounded_size_text(size: int) -> str:
    """So many bytes to read, not to compute with: three digits, "1.46 GiB"."""
    unit = next((name for name in ("TiB", "GiB", "MiB", "KiB") if size >= SIZE.units[name]), "B")
    number = size / SIZE.units[unit]
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


def duration_text(duration: int) -> str:
    """The shortest exact way to write so many ms: "90m", "2d"."""
    return _text(duration, DURATION.units, space="")


def speed_text(value: Speed) -> str:
    """ "10 Mbit/s", "original", or both directions where they differ."""
    if value == ORIGINAL:
        return "original"
    if value.in_ == value.out:
        return _one_way_text(value.in_)
    return f"in {_one_way_text(value.in_)}, out {_one_way_text(value.out)}"


def plural(count: int, one: str, many: str = "") -> str:
    """The word, or words, for so many: "service", "services"."""
    return one if count == 1 else many or f"{one}s"


def nearest(word: str, known: list[str]) -> str | None:
    """The known word that was probably meant."""
    found = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
    return next((name for name in known if found and name.lower() == found[0]), None)


def _one_way(value: object) -> int | None:
    if value == "original":
        return None
    return _quantity(value, SPEED)


def _one_way_text(bits: int | None) -> str:
    return "original" if bits is None else _text(bits, {"bit/s": 1, **SPEED.units})


def _text(amount: int, units: Mapping[str, int], space: str = " ") -> str:
    fitting = [(amount // factor, name) for name, factor in units.items() if amount % factor == 0]
    number, name = min(fitting, key=lambda one: (len(str(one[0])), -units[one[1]])) if amount else fitting[0]
    return f"{number}{space}{name}"


def _quantity(value: object, kind: Kind, *, zero: bool = False) -> int:
    example = f"write for example {kind.example} (units: {' '.join(kind.units)})"
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(str(value))
    if match is None:
        raise Wrong(f"{shown(value)} is not {kind.noun}", example)
    number, unit = match["number"], match["unit"]
    if unit is None:
        raise Wrong(f"{value} has no unit", example)
    if unit not in kind.units:
        # Only another case of a unit is a slip; MB/s and Mbit/s are eight times apart.
        meant = next((known for known in kind.units if known.lower() == unit.lower()), None)
        raise Wrong(f"{unit!r} is not a unit of {kind.noun}", f"write {number} {meant}" if meant else example)
    digits = number.replace("_", "")
    if len(digits) > MOST_DIGITS or (exact := Decimal(digits) * kind.units[unit]) > kind.most:
        raise Wrong(f"{shown(value)} is too much", f"write at most {_text(kind.most, kind.units)}")
    if exact != int(exact):
        raise Wrong(f"{shown(value)} is not a whole number of {kind.base}", example)
    if exact == 0 and not zero:
        raise Wrong(f"{shown(value)} is nothing", "write a number above 0")
    return int(exact)


def shown(value: object) -> str:
    """A value of the file as it is quoted in a message: short, on one line."""
    text = repr(value) if isinstance(value, str) else "nothing" if value is None else _plain(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
