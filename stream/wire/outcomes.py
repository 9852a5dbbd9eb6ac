"""What quota.profile-changes carries: decisions and warnings, both ways, and what operators tell the enforcers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import orjson

from stream.core.control import Control
from stream.core.errors import Rejected
from stream.core.model import Decision, Message, Position, QuotaWarning, Reason, Slice, Speed
from stream.wire import fields
from stream.wire.cloudevents import attributes
from stream.wire.documents import parse, sized
from stream.wire.fields import MAX_NAME_CHARACTERS, integer, optional_integer, optional_text, text

_MOST = (1 << 63) - 1


def encode_outcome(outcome: Decision | QuotaWarning) -> Message:
    """The same outcome always gives the same record."""
    return _encode_decision(outcome) if isinstance(outcome, Decision) else _encode_warning(outcome)


def _encode_decision(decision: Decision) -> Message:
    document = {
        "service": decision.service,
        "incarnation": decision.incarnation,
        "revision": decision.revision,
        "plan": decision.plan,
        "at": decision.at,
        "from": decision.from_,
        "to": decision.to,
        "profile_speed": None if decision.profile_speed is None else _speed_json(decision.profile_speed),
        "speed": _speed_json(decision.speed),
        "reason": decision.reason,
        "usage_bytes": decision.usage_bytes,
        "quota_bytes": decision.quota_bytes,
        "window": None if decision.window is None else _window_json(decision.window),
        "plans_version": decision.plans_version,
        "input": _input_json(decision.partition, decision.input),
        "adjustment": None if decision.adjustment is None else dict(decision.adjustment),
    }
    identity = f"{decision.service}/{decision.incarnation}/{decision.revision}"
    return _message("profile-change", document, identity)


def _encode_warning(warning: QuotaWarning) -> Message:
    document = {
        "type": "warning",
        "service": warning.service,
        "incarnation": warning.incarnation,
        "plan": warning.plan,
        "profile": warning.profile,
        "at": warning.at,
        "percent": warning.percent,
        "usage_bytes": warning.usage_bytes,
        "quota_bytes": warning.quota_bytes,
        "window": _window_json(warning.window),
        "plans_version": warning.plans_version,
        "input": _input_json(warning.partition, warning.input),
    }
    place = warning.input
    identity = f"{warning.service}/{warning.incarnation}/{warning.plan}/{place.offset}/{place.index}"
    return _message("warning", document, identity)


def _message(kind: str, document: dict[str, Any], identity: str) -> Message:
    service: str = document["service"]
    source = f"quota-stream/tracker/{document['input']['partition']}"
    headers = attributes(kind, source, identity, at=document["at"], subject=service)
    return Message(service.encode(), _fitting(orjson.dumps(document)), headers)


def _fitting(value: bytes) -> bytes:
    """A copy in memory of its own size: orjson's results keep the page that they were written into."""
    return bytes(memoryview(value))


def encode_control(control: Control) -> Message:
    """What an operator tells the enforcers."""
    value = orjson.dumps(control.to_json())
    identity = blake2b(value, digest_size=16).hexdigest()
    headers = attributes("control", "quota-stream/operator", identity, at=control.at, subject=control.key)
    return Message(control.key.encode(), value, headers)


def _speed_json(speed: Speed) -> dict[str, int | None]:
    return {"in": speed.in_, "out": speed.out}


def _window_json(window: Sequence[Slice]) -> dict[str, Any]:
    return {
        "start": window[0].start,
        "end": window[-1].end,
        "slices": [{"start": start, "end": end, "bytes": amount} for start, end, amount in window],
    }


def _input_json(partition: int, position: Position) -> dict[str, int]:
    return {"partition": partition, "offset": position.offset, "index": position.index}


def decode_outcome(value: bytes | None) -> Decision | QuotaWarning:
    """Raises Rejected if it is neither (there are, and will be, other kinds).  Unknown fields are ignored."""
    document = parse(sized(value))
    kind = document.get("type")
    if kind is None:
        return _decision(document)
    if kind == "warning":
        return _warning(document)
    raise Rejected("neither a decision nor a warning", "skip this record, or upgrade")


def _decision(document: Mapping[str, Any]) -> Decision:
    partition, place = _input(document)
    return Decision(
        service=fields.service(document),
        incarnation=_number(document, "incarnation"),
        revision=_number(document, "revision"),
        at=_number(document, "at"),
        reason=cast("Reason", text(document, "reason", MAX_NAME_CHARACTERS)),
        speed=_speed(_object(document, "speed")),
        plans_version=_number(document, "plans_version"),
        input=place,
        partition=partition,
        plan=optional_text(document, "plan", MAX_NAME_CHARACTERS),
        from_=optional_text(document, "from", MAX_NAME_CHARACTERS),
        to=optional_text(document, "to", MAX_NAME_CHARACTERS),
        profile_speed=None if document.get("profile_speed") is None else _speed(_object(document, "profile_speed")),
        usage_bytes=_optional_number(document, "usage_bytes"),
        quota_bytes=_optional_number(document, "quota_bytes"),
        window=None if document.get("window") is None else _window(document),
        adjustment=None if document.get("adjustment") is None else _plain(document, "adjustment"),
    )


def _warning(document: Mapping[str, Any]) -> QuotaWarning:
    partition, place = _input(document)
    return QuotaWarning(
        service=fields.service(document),
        incarnation=_number(document, "incarnation"),
        plan=text(document, "plan", MAX_NAME_CHARACTERS),
        profile=text(document, "profile", MAX_NAME_CHARACTERS),
        at=_number(document, "at"),
        percent=_number(document, "percent"),
        usage_bytes=_number(document, "usage_bytes"),
        quota_bytes=_number(document, "quota_bytes"),
        window=_window(document),
        plans_version=_number(document, "plans_version"),
        input=place,
        partition=partition,
    )


def _input(document: Mapping[str, Any]) -> tuple[int, Position]:
    place = _object(document, "input")
    return _number(place, "partition"), Position(_number(place, "offset"), _optional_number(place, "index") or 0)


def _window(document: Mapping[str, Any]) -> tuple[Slice, ...]:
    slices = _object(document, "window").get("slices")
    if not isinstance(slices, list) or not slices:
        raise Rejected("slices are not an array", "give the window's slices, oldest first")
    parts = (_object({"slice": part}, "slice") for part in slices)
    return tuple(Slice(_number(part, "start"), _number(part, "end"), _number(part, "bytes")) for part in parts)


def _speed(document: Mapping[str, Any]) -> Speed:
    return Speed(_optional_number(document, "in"), _optional_number(document, "out"))


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise Rejected(f"{name} is not an object", f"give {name} as the schema shows it")
    return value


def _plain(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object of numbers and texts."""
    value = _object(document, name)
    if any(isinstance(inner, dict | list) for inner in value.values()):
        raise Rejected(f"{name} is nested", f"give {name} as the schema shows it")
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    return integer(document.get(name), name, 0, _MOST)


def _optional_number(document: Mapping[str, Any], name: str) -> int | None:
    return optional_integer(document, name, 0, _MOST)
