"""The auditor of `tests.torture`, over a cluster; it sees besides who moved when, and what was shown when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import orjson

from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Log, Record
from stream.runtime.checkpoint import META
from tests.torture.audit import Auditor, Mistakes
from tests.torture_kafka.tail import Tail

Mover: TypeAlias = tuple[str, int]
"""Role and partition."""


class Checkpoint(NamedTuple):
    """When (ms, the brokers' clock) it was appended, and up to where the input was counted then."""

    at: int
    next_offset: int


class Shown(NamedTuple):
    """A decision or warning in `quota.profile-changes`, as often as it was published."""

    at: int
    service: str
    offset: int
    """Of the input that it follows from."""


class KafkaAuditor(Auditor):
    """Reads with tails, as a cluster's readers are costly to start.  `close` ends them."""

    def __init__(self, log: Log, journal: Path, poured: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        super().__init__(log, journal, poured)
        self.moves: dict[Mover, list[int]] = {
            (role, number): [] for role in ("tracker", "collector") for number in range(log.partitions)
        }
        """When (ms, the brokers' clock) a tracker's checkpoint moved on, and when a collector published."""
        self._checkpoints: dict[int, list[Checkpoint]] = defaultdict(list)
        self._shown: dict[int, list[Shown]] = defaultdict(list)
        self._found: dict[tuple[str, int], list[Record]] = defaultdict(list)
        sights: dict[str, Callable[[int, Record], None]] = {
            DELTAS: self._see_delta,
            STATE: self._see_state,
            CHANGES: self._see_change,
            DEAD_LETTERS: lambda number, record: self._found[DEAD_LETTERS, number].append(record),
        }
        self._tails = {
            (topic, number): Tail(log, topic, number, partial(see, number))
            for topic, see in sights.items()
            for number in range(log.partitions)
        }

    async def close(self) -> None:
        for tail in self._tails.values():
            await tail.close()
        await super().close()

    async def _new(self, topic: str, partition: int) -> list[Record]:
        await self._tails[topic, partition].catch_up()
        return self._found.pop((topic, partition), [])

    async def compare_all(self) -> dict[str, object]:
        await super().compare_all()
        for number in range(self._log.partitions):
            await self._tails[STATE, number].catch_up()
        self.mistakes |= dict(self.wrong_order())
        return self.mistakes

    # ------------------------------------------------------------ seeing

    def _see_delta(self, number: int, record: Record) -> None:
        self._found[DELTAS, number].append(record)
        if record.value is not None and b'"type":"batch"' in record.value:
            self.moves["collector", number].append(record.timestamp)

    def _see_state(self, number: int, record: Record) -> None:
        if record.key == META and record.value is not None:
            next_offset = orjson.loads(record.value)["next_offset"]
            former = self._checkpoints[number]
            if not former or next_offset > former[-1].next_offset:
                self.moves["tracker", number].append(record.timestamp)
            former.append(Checkpoint(record.timestamp, next_offset))

    def _see_change(self, number: int, record: Record) -> None:
        self._found[CHANGES, number].append(record)
        said = orjson.loads(record.value or b"")
        self._shown[number].append(Shown(record.timestamp, said["service"], said["input"]["offset"]))

    # ------------------------------------------------------------ judging

    def wrong_order(self) -> Mistakes:
        """A checkpoint that covers its input is appended before a decision can be seen, and none ever goes back."""
        for number, checkpoints in self._checkpoints.items():
            offsets = [checkpoint.next_offset for checkpoint in checkpoints]
            if offsets != sorted(offsets):
                yield f"partition {number}: a checkpoint that went back", offsets
            for shown in self._shown[number]:
                covering = next((one for one in checkpoints if one.next_offset > shown.offset), None)
                if covering is None or covering.at > shown.at:
                    yield f"{shown.service}: shown before it was durable", (covering, shown)

    def still(self, since: int) -> Iterable[Mover]:
        """Who has not moved after that instant (ms)."""
        for tail in self._tails.values():
            tail.check()
        return [mover for mover, moves in self.moves.items() if not moves or moves[-1] <= since]

    def pauses_s(self, since: int, until: int) -> dict[Mover, float]:
        """The longest time without a move, of what was under way at some time in between."""
        return {mover: _longest(moves, since, until) / 1000 for mover, moves in self.moves.items()}

    def moved_at(self, since: int) -> int:
        """The first instant at which all have moved after `since`."""
        return max(next(at for at in moves if at > since) for moves in self.moves.values())


def _longest(moves: list[int], since: int, until: int) -> int:
    pauses = (after - before for before, after in pairwise(moves) if after > since and before < until)
    return max(pauses, default=0)
