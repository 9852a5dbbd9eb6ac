"""Good inputs, spoiled: bytes, JSON, lines of text.  Every choice comes from one `Random`, so a seed repeats it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

MOST_BYTES = 512 * 1024
"""The longest inputs are about as long as a record may be, some a little longer."""


class Raw(str):
    """JSON text that is written as it stands, also what no JSON may hold."""


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may stand there twice."""


NUMBERS: Sequence[Any] = (
    0, 1, -1, 2, 31, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**50, 2**50 + 1, 2**53, 2**56, 2**63 - 1, 2**63, 2**64,
    -(2**31), -(2**63), 2**70, 253_402_300_800_000 - 1, 253_402_300_800_000, 1_764_547_200_000, 1.0, 0.5, -0.0, 1e16,
    1e308, 5e-324, Raw("9" * 30), Raw("1e-400"),
)  # fmt: skip
NO_NUMBERS = tuple(
    map(Raw, ("1e999", "-1e999", "NaN", "Infinity", "01", "1.", "-", "0x1", "9" * 5000, "+1", "1e", "--1"))
)
TEXTS: Sequence[str] = (
    "", " ", "\0", "\n", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\u200f", "\ufeff", "\ufffd", "\ud800",
    "\udfff", "a\ud800b", "\U0001f600", "e\u0301", "ß", "İ", "٣", "²", "½", "０", "x" * 64, "x" * 65, "x" * 200,
    "x" * 201, "é" * 200, "x" * 10_000, "NaN", "null", "true", "1", "-1", "1e3", "0x10", "9" * 30, "9" * 5000,
    "1_000", "original", "service", "period", "vm1", "vm1/1", "vm1/", "/1", "@x/1", "vm1/1/2", "elsewhere/1",
    "vm1/\ud800", "batch", "plans", "2026-03-01 12:00:00", "0000-00-00", "Europe/Berlin", "Europe",
    "../etc/passwd", "~", "~nobody-is-called-so/x",
    "posixrules", "%s", "{}", "$(x)", "<html>", "'", '"', "\\", "a:b", "[", "{", "complete", "10 Mbit/s", "1h", "80%",
    "*", "[!a-", "?", "a/" * 50,
)  # fmt: skip
CONTAINERS: Sequence[Any] = (
    [], {}, [[]], [{}], [None], {"": None}, {"a": {"b": []}}, [1, 2, 3], ["vm1/1"], {"service": "vm1/1"}, {"in": 1},
)  # fmt: skip
PIECES: Sequence[bytes] = (
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"\xe2\x80\xae", b"\n", b"\r\n",
    b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"-", b"e9", b"0",
    b"99999999999", b"//", b"#", b"- ", b"  ", b"\t", b"&a", b"*a", b"<<: ", b"!!python/object:os.system ", b"%",
    b"/", b"..", b"'", b"+",
)  # fmt: skip


class Draw:
    """What chance gives for one input."""

    def __init__(self, seed: str) -> None:
        self.rng = Random(seed)

    # ------------------------------------------------------------ choices

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.random() * len(choices))]

    def below(self, end: int) -> int:
        """A whole number from 0 on; small ones as often as large ones."""
        most = self.rng.randrange(max(1, end)) if self.chance(0.5) else min(end - 1, self.rng.randrange(4))
        return max(0, most)

    # ------------------------------------------------------------ a record, or any other JSON

    def json(self, seeds: Sequence[bytes]) -> bytes:
        """One of these JSON texts: mostly spoiled, sometimes as it is, rarely as long as a record can be."""
        way = self.rng.random()
        seed = self.pick(seeds)
        if way < 0.05:
            return seed
        if way < 0.80:
            return self.written(self.spoiled(seed, seeds))
        if way < 0.92:
            return self.spoiled_bytes(seed, seeds)
        if way < 0.99:
            return self.spoiled_bytes(self.written(self.spoiled(seed, seeds)), seeds)
        return self.bomb(seed)

    def spoiled(self, seed: bytes, seeds: Sequence[bytes]) -> Any:
        """The document with one to four changes."""
        root = [orjson.loads(seed)]
        for _ in range(1 + self.below(4)):
            places = _places(root)
            if not places:
                break
            container, key = self.pick(places)
            self._change(container, key, places, seeds)
        return root[0] if root else None

    def _change(self, container: Any, key: Any, places: Sequence[tuple[Any, Any]], seeds: Sequence[bytes]) -> None:
        value = container[key]
        match self.rng.randrange(12):
            case 0 | 1:
                container[key] = self.odd()
            case 2 | 3 | 9 | 10 | 11:
                container[key] = self.tweaked(value)
            case 4:
                del container[key]
            case 5:
                other, its_key = self.pick(places if self.chance(0.5) else _places([orjson.loads(self.pick(seeds))]))
                container[key] = _detached(other[its_key])
            case 6:
                container[key] = [value] if self.chance(0.5) else {self.word(): value}
            case 7 if isinstance(value, dict):
                name = self.word() if self.chance(0.5) or not value else self.pick(list(value))
                container[key] = Pairs([*value.items(), (name, self.odd())])
            case _ if isinstance(container, dict):
                container[self.word()] = container.pop(key)
            case _:
                container.insert(self.below(len(container) + 1), self.odd())

    def odd(self) -> Any:
        """A value that is rarely what somebody waits for."""
        match self.rng.randrange(10):
            case 0:
                return self.pick((None, True, False))
            case 1 | 2 | 3:
                return self.pick(NUMBERS if self.chance(0.95) else NO_NUMBERS)
            case 4 | 5 | 6:
                return self.pick(TEXTS)
            case 7 | 8:
                return _detached(self.pick(CONTAINERS))
            case _:
                return self.nested(self.pick((3, 30, 120, 300, 1100)))

    def nested(self, depth: int) -> Raw:
        opening, closing = self.pick((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[1,", "]")))
        return Raw(opening * depth + "1" + closing * depth)

    def tweaked(self, value: Any) -> Any:
        """Nearly what it was."""
        if isinstance(value, bool) or value is None:
            return self.pick((True, False, None, 0, 1))
        if isinstance(value, int):
            return self.pick(
                (value + 1, value - 1, -value, value * 1000, value // 1000, float(value), str(value), value)
            )
        if isinstance(value, float):
            return self.pick((-value, value + 0.5, value * 1e10, str(value)))
        if isinstance(value, str):
            return self.text(value)
        if type(value) is list:
            return self.pick((value[:-1], value[::-1], value * 2, value * 50, [], value[:1], dict.fromkeys(TEXTS[:9])))
        if type(value) is dict:
            return self.pick(({}, list(value), list(value.values()), {**value, self.word(): None}))
        return self.odd()

    def word(self) -> str:
        return self.pick(TEXTS)

    def text(self, seed: str) -> str:
        """A text, spoiled by a piece or two."""
        for _ in range(1 + self.below(3)):
            at, length = self.below(len(seed) + 1), self.below(8)
            piece = self.pick(
                ("", self.word(), seed[at : at + length], chr(self.rng.randrange(0x250)), seed[:at].upper())
            )
            seed = seed[:at] + piece + seed[at + (length if self.chance(0.5) else 0) :]
        return seed

    def written(self, value: Any) -> bytes:
        """As JSON; what JSON cannot hold is written all the same."""
        ascii_only = self.chance(0.5)
        parts: list[str] = []
        _write(value, parts, ascii_only)
        return "".join(parts).encode("utf-8", "surrogatepass")

    # ------------------------------------------------------------ bytes

    def spoiled_bytes(self, seed: bytes, others: Sequence[bytes] = (b"",)) -> bytes:
        """Bytes with one to five changes."""
        data = bytearray(seed)
        for _ in range(1 + self.below(5)):
            self._spoil(data, others)
        return bytes(data)

    def _spoil(self, data: bytearray, others: Sequence[bytes]) -> None:
        at, length = self.rng.randrange(len(data) + 1), 1 + self.below(16)
        match self.rng.randrange(9):
            case 0 | 1 if data:
                data[at % len(data)] ^= 1 << self.rng.randrange(8)
            case 2 if data:
                data[at % len(data)] = self.rng.randrange(256)
            case 3:
                data[at:at] = self.pick(PIECES)
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length] * self.pick((1, 2, 100))
            case 6:
                del data[at:]
            case 7:
                other = self.pick(others)
                begin = self.rng.randrange(len(other) + 1)
                data[at : at + length] = other[begin : begin + 1 + self.below(64)]
            case _:
                data[at : at + length] = self.rng.randbytes(length)

    def bomb(self, seed: bytes, most_bytes: int = MOST_BYTES) -> bytes:
        """As long as may be, or a little longer: deep, wide, or a long text or number in the place of a value."""
        size = self.pick((most_bytes // 16, most_bytes - 2000, most_bytes + 10))
        element = self.pick(
            (b"0", b"{}", b"[]", b'""', b"null", b'"vm1/1"', b"1e5", b'{"a":1}', b"999999", b'"\\u0001"')
        )
        wide = b"[" + (element + b",") * (size // (len(element) + 1)) + element + b"]"
        keys = b"{" + b",".join(b'"%d":0' % number for number in range(size // 10)) + b"}"
        deep = b"[" * (size // 2) + b"]" * (size // 2)
        value = self.pick(
            (wide, keys, deep, b'"' + b"x" * size + b'"', b"9" * size, b'"' + "é".encode() * (size // 2) + b'"')
        )
        document = orjson.loads(seed)
        if not isinstance(document, dict) or not document or self.chance(0.2):
            return value
        document[self.pick(list(document))] = Raw(value.decode())
        return self.written(document)

    # ------------------------------------------------------------ lines

    def lines(self, seed: str) -> str:
        """A text of lines: some gone, doubled, moved, indented, or spoiled within."""
        lines = seed.splitlines()
        for _ in range(1 + self.below(4)):
            at = self.rng.randrange(len(lines) + 1)
            line = lines[at] if at < len(lines) else ""
            key, colon, value = line.partition(":")
            match self.rng.randrange(8):
                case 0:
                    del lines[at : at + 1]
                case 1:
                    lines[at:at] = [line] * self.pick((1, 2, 40))
                case 2:
                    lines.insert(self.rng.randrange(len(lines) + 1), line)
                case 3:
                    lines[at : at + 1] = [" " * self.below(9) + line.strip()]
                case 4 | 5 if colon:
                    lines[at : at + 1] = [f"{key}: {self.scalar()}"]
                case 6 if colon:
                    lines[at : at + 1] = [f"{self.text(key)}:{value}"]
                case _:
                    lines[at : at + 1] = [self.text(line)]
        return "\n".join(lines) + "\n"

    def scalar(self) -> str:
        """What may stand behind a colon in YAML."""
        parts: list[str] = []
        _write(self.odd(), parts, self.chance(0.5))
        return self.pick(
            ("".join(parts), self.word(), f"&a {self.word()}", "*a", "|", "!!binary x", "~", "=", "0o7", "1:30")
        )


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every value within, as (container, key or index); of long lists the first few and the last."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting and len(found) < 300:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else [*range(min(6, len(container)))]
        if isinstance(container, list) and len(container) > 6:
            keys.append(len(container) - 1)
        for key in keys:
            found.append((container, key))
            if type(container[key]) in (dict, list):
                waiting.append(container[key])
    return found


def _detached(value: Any) -> Any:
    """A copy, so that a later change of one does not change the other, and nothing contains itself."""
    if type(value) is dict:
        return {key: _detached(inner) for key, inner in value.items()}
    return [_detached(inner) for inner in value] if type(value) is list else value


def _write(value: Any, parts: list[str], ascii_only: bool) -> None:
    if isinstance(value, Raw):
        parts.append(value)
    elif isinstance(value, dict | Pairs):
        pairs = value.items() if isinstance(value, dict) else value
        mark = "{"
        for key, inner in pairs:
            parts += (mark, json.dumps(key, ensure_ascii=ascii_only), ":")
            _write(inner, parts, ascii_only)
            mark = ","
        parts.append("}" if mark == "," else "{}")
    elif isinstance(value, list):
        mark = "["
        for inner in value:
            parts.append(mark)
            _write(inner, parts, ascii_only)
            mark = ","
        parts.append("]" if mark == "," else "[]")
    else:
        parts.append(json.dumps(value, ensure_ascii=ascii_only))
