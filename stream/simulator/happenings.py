"""What the lines of a world's file may hold, as a table: a line that is none of them is told before it acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, get_args

from stream.core.model import MAX_INSTANT
from stream.simulator.habits import HABITS
from stream.simulator.knobs import DAY_MS
from stream.simulator.machine import State
from stream.simulator.world import Happening, Outcome

Fits: TypeAlias = Callable[[Any], bool]


def _whole(most: int, least: int = 0) -> Fits:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(*choices: str) -> Fits:
    return lambda value: isinstance(value, str) and value in choices


def _text(value: Any) -> bool:
    return isinstance(value, str)


_instant, _number, _mbitps, _bytes = _whole(MAX_INSTANT), _whole(1 << 53), _whole(10**9), _whole(1 << 60)


def _limit(value: Any) -> bool:
    return value is None or _mbitps(value)


def _values(value: Any) -> bool:
    known: Mapping[str, Fits] = {
        "net_in_mbitps": _limit,
        "net_out_mbitps": _limit,
        "state": _one_of(*get_args(State)),
    }
    return isinstance(value, dict) and all(name in known and known[name](inner) for name, inner in value.items())


def _habits(value: Any) -> bool:
    some = isinstance(value, dict) and value.keys() <= HABITS.keys() and all(map(_whole(1000), value.values()))
    return some and sum(value.values()) > 0


_PLACES: Mapping[str, Fits] = {
    **dict.fromkeys(("name", "comment", "node", "cluster"), _text),
    "account": lambda value: _text(value) or _number(value),
    "tags": lambda value: isinstance(value, list) and all(map(_text, value)),
    "disabled": lambda value: isinstance(value, bool),
}
_NEEDED: Mapping[str, Mapping[str, Fits]] = {
    "begin": {
        "format": _whole(1, 1),
        "seed": _number,
        "step_ms": _whole(DAY_MS, 1000),
        "began_ms": _instant,
        "began_wall_ms": _instant,
        "speed": lambda value: type(value) in (int, float) and 0 < value <= 1e6,
    },
    "populate": {"at": _instant, "count": _whole(100_000), "habits": _habits},
    "create": {"at": _instant, "id": _number, "habit": _one_of(*HABITS), "in": _limit, "out": _limit},
    "delete": {"at": _instant, "id": _number},
    "edit": {"at": _instant, "id": _number},
    "change": {"at": _instant, "id": _number, "values": _values, "by": _text},
    "order": {
        "at": _instant,
        "id": _number,
        "values": _values,
        "by": _text,
        "ends": _instant,
        "seen_from": _instant,
        "outcome": _one_of(*get_args(Outcome)),
    },
    "script": {"at": _instant, "id": _number, "start": _instant, "end": _instant, "in": _bytes, "out": _bytes},
}
_OTHERS: Mapping[str, Mapping[str, Fits]] = {"create": {"creating_ms": _instant, **_PLACES}, "edit": _PLACES}


def checked(event: Any) -> Happening:
    """The event of one line; raises ValueError, with what is wrong."""
    kind = event.get("do") if isinstance(event, dict) else None
    needed = _NEEDED.get(kind) if isinstance(kind, str) else None
    if needed is None or not isinstance(event, dict):
        raise ValueError("a line that is no event")
    known = {"do": _text, **needed, **_OTHERS.get(str(kind), {})}
    wrong = [name for name in event if name not in known or not known[name](event[name])]
    wrong += [name for name in needed if name not in event]
    if wrong:
        raise ValueError(f"{kind} with a wrong or missing {wrong[0]}")
    return event
