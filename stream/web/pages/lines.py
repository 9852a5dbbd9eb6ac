"""What happened, line by line: decisions with their explanation and what the platform made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from stream.config.units import plural, rounded_size_text
from stream.core.model import Slice
from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.replica.model import Entry
from stream.web.pages.words import DOWN, UP, because, due_text, move_text, sentence, share_of, speed_of
from stream.web.rendering import limit_text

Tone: TypeAlias = Literal["down", "up", "warning", "failed", "plain"]
RESULTS = {"applied": ("good", "Set"), "asked": ("warning", "Asked for")}
"""Tone and word of what a platform made of it; all else failed."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a platform made of a decision, or was asked for and did not answer yet."""

    at: int
    text: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened, to be shown in one line and explained under it."""

    anchor: str
    """Of the page: unique and stable."""
    service: str
    at: int
    tone: Tone
    title: str
    why: str
    """A whole sentence."""
    speed: Speed | None = None
    """Due from here on; None where it tells nothing of that."""
    facts: Sequence[tuple[str, str]] = ()
    window: Sequence[Slice] = ()
    most: int = 1
    """The bytes of the fullest slice."""
    receipts: list[Receipt] = field(default_factory=list)


def lines_of(entries: Iterable[Entry], plans: Mapping[str, Plan]) -> list[Line]:
    """In the order of `entries`.  A receipt stands under its decision, or by itself where that is not among them."""
    return [line for line, _ in _lines(list(entries), plans)]


def decided_lines(entries: Iterable[Entry], plans: Mapping[str, Plan]) -> list[Line]:
    """The same without the receipts that only say, far from their decision, that all is well."""
    return [line for line, alone in _lines(list(entries), plans) if not alone or line.tone == "failed"]


def _lines(entries: Sequence[Entry], plans: Mapping[str, Plan]) -> list[tuple[Line, bool]]:
    """Each with whether it is a receipt that stands alone."""
    lines = {entry.id: _line(entry, plans) for entry in entries if entry.kind != "enforcement"}
    decided = {_revision(entry): lines[entry.id] for entry in entries if entry.kind == "decision"}
    shown = []
    for entry in entries:
        if entry.kind != "enforcement":
            shown.append((lines[entry.id], False))
        elif (line := decided.get(_revision(entry))) is not None:
            line.receipts.insert(0, _receipt(entry))
        else:
            shown.append((_receipt_line(entry), True))
    return shown


def _revision(entry: Entry) -> tuple[str, int, int | None]:
    return entry.service, entry.incarnation, entry.revision


def _line(entry: Entry, plans: Mapping[str, Plan]) -> Line:
    document = entry.document
    plan = plans.get(str(document["plan"]))
    facts = [*_numbers(document), ("Log", _position(document)), ("Plans", f"version {document['plans_version']}")]
    if entry.kind == "warning":
        used = share_of(document["usage_bytes"], document["quota_bytes"], plan)
        title, why = f"{document['plan']}: {document['percent']} % used", sentence(used)
        tone: Tone = "warning"
        speed = None
    else:
        title, why = move_text(document), sentence(because(document, plan))
        tone = "down" if document["reason"] in DOWN else "up" if document["reason"] in UP else "plain"
        speed = speed_of(document["speed"])
        facts = [*_moved(document), *facts, ("Revision", f"{entry.revision} of incarnation {entry.incarnation}")]
    window = _window(document)
    return Line(
        anchor=anchor_of(entry),
        service=entry.service,
        at=entry.at,
        tone=tone,
        title=title,
        why=why,
        speed=speed,
        facts=facts,
        window=window,
        most=max([part.bytes for part in window] + [1]),
    )


def _moved(decision: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("Reason", str(decision["reason"])), ("Due", due_text(speed_of(decision["speed"])))]
    if decision.get("profile_speed") is not None:
        facts.append(("Speed of the profile", due_text(speed_of(decision["profile_speed"]))))
    adjustment = decision.get("adjustment")
    if adjustment:
        facts += [("By", str(adjustment.get("by") or "")), ("Why", str(adjustment.get("why") or ""))]
        facts.append(("Correction", str(adjustment.get("id") or "")))
    return [(name, text) for name, text in facts if text]


def _numbers(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for name, key in (("Used", "usage_bytes"), ("Quota", "quota_bytes")):
        size = document.get(key)
        if size is not None:
            facts.append((name, f"{rounded_size_text(size)} ({size:,} {plural(size, 'byte')})"))
    return facts


def _position(document: Mapping[str, Any]) -> str:
    place = document["input"]
    return f"partition {place['partition']}, record {place['offset']}"


def _window(document: Mapping[str, Any]) -> list[Slice]:
    window = document.get("window")
    return [Slice(part["start"], part["end"], part["bytes"]) for part in window["slices"]] if window else []


def _receipt(entry: Entry) -> Receipt:
    document = entry.document
    wanted = limit_text(speed_of(document["wanted"]))
    shown = "" if document.get("shown") is None else limit_text(speed_of(document["shown"]))
    result = document["result"]
    tone, word = RESULTS.get(result, ("failed", "Not set"))
    if result == "applied":
        return Receipt(entry.at, f"The platform shows {shown or wanted}.", tone, word)
    what = {"asked": "was asked for", "refused": "refused"}.get(result, "failed to set")
    return Receipt(entry.at, f"The platform {what} {wanted}{f'; it shows {shown}' if shown else ''}.", tone, word)


def _receipt_line(entry: Entry) -> Line:
    receipt = _receipt(entry)
    return Line(
        anchor=anchor_of(entry),
        service=entry.service,
        at=entry.at,
        tone="failed" if receipt.tone == "failed" else "plain",
        title=f"{receipt.word} on the platform",
        why=receipt.text,
        facts=[("Revision", f"{entry.revision} of incarnation {entry.incarnation}")],
    )


def anchor_of(entry: Entry) -> str:
    """Of letters and digits alone, whatever is in the id."""
    return f"c{blake2b(entry.id.encode(errors='replace'), digest_size=8).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Since:
    """Since when a speed is due, and why."""

    at: int
    because: str
    anchor: str


def since_when(entries: Sequence[Entry], speed: Speed, plans: Mapping[str, Plan]) -> Since | None:
    """The decision that brought the speed that is due now; None if it is not among the entries (newest first)."""
    found = None
    for entry in entries:
        if entry.kind != "decision":
            continue
        if speed_of(entry.document["speed"]) != speed:
            break
        found = entry
    if found is None:
        return None
    why = because(found.document, plans.get(str(found.document["plan"])))
    return Since(found.at, why, anchor_of(found))
