"""A world that outlives its process: everything that happened in it, as JSON lines in a file that only grows.

The first line says how the world began; seed and events fix every byte, so nothing else needs to be kept.  Each line
is handed to the system as it happens: a killed process loses none, and a line torn by a crash of the machine is cut.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from stream.core.errors import Corrupt, Rejected
from stream.simulator.happenings import checked
from stream.simulator.world import Happening, World


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """How a world began, and how its time runs: at `began_wall_ms` of the wall it was `began_ms` there."""

    seed: int
    step_ms: int
    began_ms: int
    began_wall_ms: int
    speed: float

    def now(self) -> int:
        """The world's time; it goes on while no process is there to see it."""
        return self.began_ms + int((wall_ms() - self.began_wall_ms) * self.speed)


class Journal:
    """The open file.  Callable: that is how a World writes to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, event: Happening) -> None:
        self._file.write(orjson.dumps(event) + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def load(path: Path, clock: Callable[[], int] | None = None) -> World:
    """The world in the file as it is now, for anybody who wants its ground truth; the file is only read.

    Raises Corrupt if it is no such file.  `clock` replaces the world's own time.
    """
    origin, events, _ = _read(path)
    world = World(clock or origin.now, seed=origin.seed, step_ms=origin.step_ms)
    _replay(world, events, path)
    return world


def resume(path: Path, origin: Origin) -> tuple[World, Journal]:
    """The world in the file, which from now on records what happens to it; begun as `origin` says if there is none.

    Raises Corrupt if it is no such file.
    """
    begun = path.exists() and path.stat().st_size > 0
    if begun:
        origin, events, good_size = _read(path)
    world = World(origin.now, seed=origin.seed, step_ms=origin.step_ms)
    if begun:
        _replay(world, events, path)
        os.truncate(path, good_size)
    journal = world.journal = Journal(path.open("ab"))
    if not begun:
        journal({"do": "begin", "format": 1} | asdict(origin))
    return world, journal


def _read(path: Path) -> tuple[Origin, list[Happening], int]:
    """The origin, what happened since, and the size in bytes up to the last whole line."""
    content = path.read_bytes()
    good_size = content.rfind(b"\n") + 1
    try:
        first, *events = [checked(orjson.loads(line)) for line in content[:good_size].split(b"\n")[:-1]]
        if first.pop("do") != "begin":
            raise ValueError("its first line is another one's")
        del first["format"]
        return Origin(**first), events, good_size
    except ValueError as error:
        raise _corrupt(path, error) from error


def _replay(world: World, events: Sequence[Happening], path: Path) -> None:
    """Raises Corrupt if they cannot have happened one after the other."""
    try:
        world.replay(events)
    except (LookupError, Rejected) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, cause: Exception) -> Corrupt:
    return Corrupt(f"{path} does not hold a simulator's world: {cause}; give another file, or remove it")
