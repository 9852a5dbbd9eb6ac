"""What the tracker's state is stored in: pieces of fixed size, each of which is written as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Page:
    """Some columns of some rows."""

    key: str
    """Unique among the pages of a partition, e.g. "7" or "ids/3"."""
    columns: dict[str, NDArray[Any]]
    """By name: bools, integers, floats or bytes of fixed length, of one or two dimensions."""
    extras: dict[str, Any]
    """What is no column: anything that JSON can hold, integers within 64 bits."""
