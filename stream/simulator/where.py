"""VMmanager's filters: `((id+EQ+'5')+AND+(name+CP+'%mail%'))`, with EQ, CP, AND, OR and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from stream.core.errors import Rejected

Row: TypeAlias = Mapping[str, Any]
Filter: TypeAlias = Callable[[Row], bool]

_TOKEN = re.compile(r"\s*(?:([()])|'([^']*)'|([\w.]+))")


def parse(text: str) -> tuple[Filter, frozenset[str]]:
    """What it lets through, and the fields it looks at (`id`, `cluster.id`).  Raises Rejected.

    Spaces stand where the URL had `+`.  Values are compared as text; in CP, `%` stands for anything.
    """
    if len(text) > 10_000 or text.count("(") > 100:
        raise Rejected("the filter is too long")
    tokens = list(_tokens(text))
    fields: set[str] = set()
    found = _either(tokens, fields)
    if tokens:
        raise Rejected(f"not a filter, from here on: {tokens[0]}")
    return found, frozenset(fields)


def _tokens(text: str) -> Iterator[str]:
    """Parentheses and words as they are; a value keeps its opening quote."""
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Rejected(f"not a filter, from here on: {text[at : at + 20]}")
        yield match[1] or match[3] or f"'{match[2]}"
        at = match.end()


def _take(tokens: list[str]) -> str:
    if not tokens:
        raise Rejected("the filter ends too early")
    return tokens.pop(0)


def _either(tokens: list[str], fields: set[str]) -> Filter:
    found = [_both(tokens, fields)]
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        found.append(_both(tokens, fields))
    return lambda row: any(one(row) for one in found)


def _both(tokens: list[str], fields: set[str]) -> Filter:
    found = [_term(tokens, fields)]
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        found.append(_term(tokens, fields))
    return lambda row: all(one(row) for one in found)


def _term(tokens: list[str], fields: set[str]) -> Filter:
    word = _take(tokens)
    if word == "(":
        inner = _either(tokens, fields)
        if _take(tokens) != ")":
            raise Rejected("a parenthesis of the filter is not closed")
        return inner
    operator, value = _take(tokens), _take(tokens)
    if operator not in ("EQ", "CP") or not value.startswith("'"):
        raise Rejected(f"not a comparison: {word} {operator} {value}")
    fields.add(word)
    wanted = value[1:]
    if operator == "EQ":
        return lambda row: _field(row, word) == wanted
    return lambda row: _like(_field(row, word), wanted)


def _like(value: str, pattern: str) -> bool:
    """Piece by piece, each at its first place: a regular expression would try all places of all pieces."""
    if "%" not in pattern:
        return value == pattern
    first, *middle, last = pattern.split("%")
    at, end = len(first), len(value) - len(last)
    if at > end or not (value.startswith(first) and value.endswith(last)):
        return False
    for piece in middle:
        found = value.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _field(row: Row, path: str) -> str:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
