"""The index together with up to where each reader has filled it, and what is read into it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

import structlog

from stream.core.errors import Truncated
from stream.ports import CHANGES, DEAD_LETTERS, Record
from stream.replica.entries import Read, forgotten_by, letter_of, outcome_entry
from stream.replica.index import Index, Position
from stream.replica.model import News

log_ = structlog.get_logger()

DAY_MS = 86_400_000
MINUTE_MS = 60_000
MOST_REASONS = 200
"""Of dead letters, within a minute; whatever comes beyond them is counted as one."""
AT_ONCE = 500
"""Records in one transaction."""


class History:
    """Opened by whoever comes first.  `generation` grows whenever all has to be read anew."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.generation = 0
        self.letters: Counter[tuple[int, str, bool]] = Counter()
        """Of about the last day: (minute, reason, whether it is an adjustment that was refused) -> how many."""
        self._positions: dict[tuple[str, int], Position] | None = None
        self._opening = asyncio.Lock()

    async def open(self, now: int) -> None:
        async with self._opening:
            if self._positions is None:
                await self.index.open()
                counted = await self.index.letters_counted(now - DAY_MS)
                self.letters = Counter({(it.minute, it.reason, it.is_adjustment): it.letters for it in counted})
                self._positions = await self.index.positions()

    def position(self, topic: str, partition: int) -> Position:
        """Where its reader goes on.  Open it first."""
        assert self._positions is not None, "it is open"
        return self._positions.get((topic, partition), Position(0))

    def moved(self, topic: str, partition: int, position: Position) -> None:
        assert self._positions is not None, "it is open"
        self._positions[topic, partition] = position

    async def begin_anew(self, why: str) -> None:
        """What is indexed is not of this log."""
        log_.warning("replica.index_made_anew", cause=why)
        self.generation += 1
        self._positions = {}
        self.letters.clear()
        await self.index.begin_anew()

    def count(self, letters: Sequence[Read]) -> None:
        for letter, reason, is_adjustment in letters:
            key = letter.at // MINUTE_MS, reason, is_adjustment
            if key not in self.letters and len(self.letters) >= MOST_REASONS * 24 * 60:
                key = key[0], "other reasons", is_adjustment
            self.letters[key] += 1

    def letters_since(self, instant: int) -> Counter[tuple[str, bool]]:
        """(reason, whether it is an adjustment) -> how many, to the minute."""
        found: Counter[tuple[str, bool]] = Counter()
        for key in [key for key in self.letters if key[0] < instant // MINUTE_MS]:
            del self.letters[key]
        for (_, reason, is_adjustment), count in self.letters.items():
            found[reason, is_adjustment] += count
        return found


class IndexReader:
    """A topic whose records are indexed, each once."""

    topic: str
    damage = ""

    def __init__(self, partition: int, history: History, tell: Callable[[News], None], now: Callable[[], int]) -> None:
        self.partition = partition
        self._history = history
        self._tell = tell
        self._now = now
        self._generation = 0
        self._to_verify = False

    async def begin(self, first: int, end: int) -> int:
        history = self._history
        await history.open(self._now())
        position = history.position(self.topic, self.partition)
        if position.next_offset > end:
            await history.begin_anew(f"{self.topic}/{self.partition} ends at {end}, read was {position.next_offset}")
            position = Position(0)
        self._generation = history.generation
        last = position.last_offset
        self._to_verify = last is not None and last >= first
        return max(first, last if self._to_verify and last is not None else position.next_offset)

    async def take(self, records: Sequence[Record], next_offset: int) -> None:
        if self._generation != self._history.generation:
            raise Truncated("the index is made anew")
        records = await self._verified(records)
        for first in range(0, len(records), AT_ONCE):
            some = records[first : first + AT_ONCE]
            await self._move(some, Position(some[-1].offset + 1, some[-1].offset, _digest(some[-1])))
        position = self._history.position(self.topic, self.partition)
        if next_offset > position.next_offset and not self._to_verify:
            self._history.moved(self.topic, self.partition, position._replace(next_offset=next_offset))

    async def _verified(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that are new, if the one before them is what it was."""
        if not self._to_verify or not records:
            return records
        position = self._history.position(self.topic, self.partition)
        if records[0].offset != position.last_offset or _digest(records[0]) != position.last_digest:
            place = f"{self.topic}/{self.partition}/{position.last_offset}"
            await self._history.begin_anew(f"the record at {place} is another one")
            raise Truncated("the index is made anew")
        self._to_verify = False
        return [record for record in records if record.offset >= position.next_offset]

    async def _move(self, records: Sequence[Record], position: Position) -> None:
        await self._note(records, position)
        self._history.moved(self.topic, self.partition, position)

    async def _note(self, records: Sequence[Record], position: Position) -> None:
        raise NotImplementedError


class OutcomeReader(IndexReader):
    topic = CHANGES

    async def _note(self, records: Sequence[Record], position: Position) -> None:
        for record, (service, before) in [(each, found) for each in records if (found := forgotten_by(each))]:
            await self._history.index.forget(service, before, record.timestamp)
        entries = [(record.offset, entry) for record in records if (entry := outcome_entry(record))]
        await self._history.index.note_outcomes(self.partition, entries, position)
        if entries:
            self._tell(News("entry", frozenset(entry.service for _, entry in entries)))


class LetterReader(IndexReader):
    topic = DEAD_LETTERS

    async def _note(self, records: Sequence[Record], position: Position) -> None:
        letters = [letter_of(record, self.partition) for record in records if record.value is not None]
        await self._history.index.note_letters(self.partition, letters, position)
        self._history.count([each for each in letters if each.letter.at >= self._now() - DAY_MS])
        if letters:
            self._tell(News("letter"))


def _digest(record: Record) -> bytes:
    content = blake2b(digest_size=16)
    for part in (str(record.timestamp).encode(), record.key or b"", record.value or b""):
        content.update(len(part).to_bytes(4, "big") + part)
    return content.digest()
