"""A speed per direction, in bit/s; None is `original`."""

from __future__ import annotations

from typing import NamedTuple


class Speed(NamedTuple):
    """Bit/s per direction; None is `original`.  `in_` is what the service receives, `out` what it sends."""

    in_: int | None
    out: int | None

    def least(self, other: Speed) -> Speed:
        """The slower of the two, direction by direction."""
        return Speed(_least(self.in_, other.in_), _least(self.out, other.out))


ORIGINAL = Speed(None, None)


def _least(one: int | None, two: int | None) -> int | None:
    return two if one is None else one if two is None else min(one, two)
