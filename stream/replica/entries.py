"""From records of the log to lines of a history."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from stream import wire
from stream.core.control import Control
from stream.core.enforced import Enforcement, Intent, Receipt, speed_to_json
from stream.core.errors import Rejected
from stream.core.model import Decision
from stream.ports import Record
from stream.replica.model import Entry, Letter

MOST_SHOWN_CHARACTERS = 100_000


def outcome_entry(record: Record) -> Entry | None:
    """Of a record of `quota.profile-changes`; None for what is neither decision nor warning."""
    try:
        outcome = wire.decode_outcome(record.value)
    except Rejected:
        return None
    service, incarnation = outcome.service, outcome.incarnation
    if record.key != service.encode():
        return None
    identity, revision = f"{service}/{incarnation}", None
    if isinstance(outcome, Decision):
        identity, revision = f"{identity}/{outcome.revision}", outcome.revision
    else:
        identity = f"{identity}/{outcome.plan}/{outcome.input.offset}/{outcome.input.index}"
    return Entry(
        id=identity,
        kind="warning" if revision is None else "decision",
        service=service,
        at=outcome.at,
        incarnation=incarnation,
        revision=revision,
        document=orjson.loads(record.value or b""),
        appended=record.timestamp,
    )


def forgotten_by(record: Record) -> tuple[str, int] | None:
    """A service that is to be forgotten, and before which offset it was registered then; None: says no such thing."""
    value = record.value or b""
    if b'"forget"' not in value:
        return None
    try:
        control = Control.from_json(orjson.loads(value))
    except (Rejected, orjson.JSONDecodeError):
        return None
    if control.verb != "forget" or control.service is None or control.offset is None:
        return None
    return control.service, control.offset


def asked_id(service: str) -> str:
    """Of the entry that tells what a platform was last asked for, while it has not shown that."""
    return f"{service}//asked"


def enforcement_entries(enforcement: Enforcement) -> Iterator[Entry]:
    """The receipts that are remembered of a service, and what it was asked for if nothing came of that yet."""
    service, incarnation = enforcement.service, enforcement.incarnation
    for receipt in enforcement.receipts:
        identity = f"{service}/{incarnation}/receipt/{receipt.revision}/{receipt.at}"
        yield _enforced(identity, service, incarnation, receipt.revision, receipt.at, _receipt(receipt))
    intent = enforcement.intent
    if intent is not None and not enforcement.settled:
        yield _enforced(asked_id(service), service, incarnation, intent.revision, intent.at, _asked(intent))


def _enforced(
    identity: str, service: str, incarnation: int, revision: int, at: int, document: Mapping[str, Any]
) -> Entry:
    return Entry(id=identity, kind="enforcement", service=service, at=at, incarnation=incarnation, revision=revision,
                 document=document, appended=at)  # fmt: skip


def _receipt(receipt: Receipt) -> dict[str, Any]:
    shown = None if receipt.shown is None else speed_to_json(receipt.shown)
    wanted = speed_to_json(receipt.wanted)
    return {"result": receipt.result, "revision": receipt.revision, "wanted": wanted, "shown": shown, "at": receipt.at}


def _asked(intent: Intent) -> dict[str, Any]:
    shown, wanted = speed_to_json(intent.before), speed_to_json(intent.wanted)
    return {"result": "asked", "revision": intent.revision, "wanted": wanted, "shown": shown, "at": intent.at}


class Read(NamedTuple):
    """A dead letter, and what judgements need of it."""

    letter: Letter
    reason: str
    """The part that is the same for all of its kind."""
    is_adjustment: bool
    """Somebody's wish was refused, and whoever wished was told."""


def letter_of(record: Record, partition: int) -> Read:
    """Whatever stands there: it is counted all the same."""
    document = _object(record.value) or {}
    reason, cure = document.get("reason"), document.get("cure")
    key = (record.key or b"").decode(errors="replace")
    identity = key if _is_place(document.get("origin")) else f"{partition}/{record.offset}"
    value = _value(document)
    letter = Letter(
        id=identity,
        at=record.timestamp,
        reason=reason if isinstance(reason, str) else "why, cannot be read",
        cure=cure if isinstance(cure, str) else "",
        value=value[:MOST_SHOWN_CHARACTERS],
        partition=partition,
        offset=record.offset,
    )
    refused = _object(value.encode())
    return Read(letter, letter.reason.partition(": ")[0], (refused or {}).get("type") == "adjustment")


def _is_place(origin: object) -> bool:
    return isinstance(origin, dict) and {"topic", "partition", "offset", "index"} <= origin.keys()


def _value(document: Mapping[str, Any]) -> str:
    value, coded = document.get("value"), document.get("value_base64")
    if isinstance(value, str):
        return value
    try:
        return b64decode(coded).decode(errors="replace") if isinstance(coded, str) else ""
    except ValueError:
        return ""


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
