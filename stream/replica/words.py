"""Instants in words."""

from __future__ import annotations

from datetime import datetime

YEAR_MS = 31_556_952_000


def instant_text(instant: int | None) -> str:
    """In the time zone of this machine, with its offset; of what no calendar here reaches, the year.  Never raises."""
    if instant is None:
        return "never"
    try:
        return datetime.fromtimestamp(instant / 1000).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"about the year {1970 + instant // YEAR_MS}"
