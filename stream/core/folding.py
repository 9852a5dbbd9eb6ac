"""Many wrong elements of one record: a few are told one by one, all others together."""

from __future__ import annotations

from typing import Final

from stream.core.errors import Rejected

MOST_TOLD: Final = 100
"""Rejected elements of one record that get a dead letter of their own."""


def folded(count: int, first: Rejected) -> Rejected:
    """What is said, once, of `count` more elements of a record; `first` is why the first of them was rejected."""
    return Rejected(
        f"many elements are rejected: {count} more of this record, the first because {first.reason}",
        f"the record itself is in traffic.deltas at this offset, for 40 days unless set otherwise; {first.cure}",
    )
