"""The wall clock of a tortured machine, in a file: many times faster than time, and wrong when it is told to be."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it brings the simulator along, which nobody needs who lives by this clock
    from stream.simulator.journal import Origin

_LAYOUT = struct.Struct("=qqqq")
"""ns: the world's time at its begin, the wall's then; how many times faster it runs; how far the clock is ahead."""
_AHEAD_AT = 24


def make(path: Path, origin: Origin) -> None:
    """A clock that shows the world's time."""
    path.write_bytes(_LAYOUT.pack(origin.began_ms * 1_000_000, origin.began_wall_ms * 1_000_000, int(origin.speed), 0))


def set_ahead(path: Path, ahead_ms: int) -> None:
    """From now on it is so far ahead of the world's time; whoever reads it sees it jump."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), struct.pack("=q", ahead_ms * 1_000_000), _AHEAD_AT)


def reading(path: Path) -> Callable[[], int]:
    """What stands in for `time.time_ns` where this clock is the machine's."""
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        began, began_wall, speed, ahead = _LAYOUT.unpack_from(memory)
        return int(began + (true_ns() - began_wall) * speed + ahead)

    return time_ns
