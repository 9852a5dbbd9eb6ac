"""Words of others on our output."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Made harmless for terminals and logs: what cannot be seen is shown as an escape, but for what is in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
