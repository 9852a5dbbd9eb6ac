"""What operators write into the forms, as wishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from stream.config.units import Wrong, duration_ms, size_bytes
from stream.runtime.operating import Wish

Kind: TypeAlias = Literal["credit", "exempt", "pin", "unpin", "reset"]
MOST_TEXT: Final = 1000

COUNTED: Final[Mapping[str, str]] = {
    "credit": "The credit was counted.",
    "exempt": "The exemption was counted.",
    "pin": "The pin was counted.",
    "unpin": "The removal of the pin was counted.",
    "reset": "The reset was counted.",
}


def wish_of(service: str, form: Mapping[str, str], now: int) -> Wish:
    """Raises Wrong with a sentence for who wrote it."""
    kind = form.get("kind", "")
    if kind not in get_args(Kind):
        raise Wrong("there is no such correction", "use one of the forms")
    size, span = form.get("size", "").strip(), form.get("for", "").strip()
    return Wish(
        service=service,
        kind=kind,
        plan=form.get("plan") or None,
        bytes=size_bytes(size) if kind == "credit" else None,
        profile=form.get("profile") or None if kind == "pin" else None,
        until=now + duration_ms(span) if kind == "exempt" or (kind == "pin" and span) else None,
        why=form.get("why", "").strip()[:MOST_TEXT],
    )
