"""Files of our own that others may have damaged: the simulator's world, the embedded log."""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from stream.simulator.journal import load, resume
from stream.simulator.truth import ground_truth
from tests.adapters.test_sqlite_processes import content
from tests.fuzz.commands import Home
from tests.fuzz.mutation import Draw
from tests.fuzz.target import folder_of
from tests.simulator.platform import DAY, T0
from tests.simulator.test_journal import live, origin


class JournalSubject:
    """A simulator's world, of which any line may be spoiled."""

    def __init__(self) -> None:
        self._path = folder_of(self) / "world.jsonl"
        world, journal = resume(self._path, origin())
        live(world)
        journal.close()
        self._lines = self._path.read_bytes().splitlines(keepends=True)

    def draw(self, draw: Draw) -> bytes:
        lines = list(self._lines)
        at = draw.below(len(lines))
        seeds = [line.strip() for line in self._lines]
        if draw.chance(0.2):
            return draw.spoiled_bytes(b"".join(lines), lines)
        lines[at] = draw.json([lines[at].strip()] if draw.chance(0.8) else seeds) + b"\n"
        return b"".join(lines)

    def take(self, given: bytes) -> bool:
        self._path.write_bytes(given)
        world = load(self._path, lambda: T0 + DAY)
        if world.now() > T0 + 3000 * DAY or any(life.created < T0 - 3000 * DAY for life in world.machines()):
            return True  # centuries of traffic take their time
        ground_truth(world, ZoneInfo("Europe/Berlin"))
        for machine in world.machines():
            world.bytes_between(machine.id, T0 - DAY, T0)
        return True


class LogFileSubject:
    """An embedded log, some bytes or pages of which are others: what was written comes out of it, or nothing."""

    PAGE = 8192

    def __init__(self) -> None:
        self._home = Home()
        self._whole = self._home.log.read_bytes()
        self._path = self._home.folder / "damaged.db"
        self._path.write_bytes(self._whole)
        self._expected = asyncio.run(content(self._path))

    def draw(self, draw: Draw) -> bytes:
        data = bytearray(self._whole)
        pages = len(data) // self.PAGE
        at, other = draw.rng.randrange(pages) * self.PAGE, draw.rng.randrange(pages) * self.PAGE
        page, another = data[at : at + self.PAGE], data[other : other + self.PAGE]
        match draw.rng.randrange(8):
            case 0:
                data[at : at + self.PAGE] = bytes(self.PAGE)
            case 1:
                data[at : at + self.PAGE], data[other : other + self.PAGE] = another, page
            case 2:
                data[at : at + self.PAGE] = another
            case 3:
                del data[1 + draw.rng.randrange(len(data) - 1) :]
            case 4:
                data[at : at + self.PAGE] = draw.spoiled_bytes(bytes(page)).ljust(self.PAGE, b"\0")[: self.PAGE]
            case 5:
                data[:100] = draw.spoiled_bytes(bytes(data[:100])).ljust(100, b"\0")[:100]
            case _:
                for _ in range(1 + draw.below(20)):
                    data[draw.rng.randrange(len(data))] ^= 1 << draw.rng.randrange(8)
        return bytes(data)

    def take(self, given: bytes) -> bool:
        for rest in self._path.parent.glob("damaged.db-*"):
            rest.unlink()
        self._path.write_bytes(given)
        found: Any = asyncio.run(content(self._path))
        assert found == self._expected, "something else came out of it than was written"
        return True
