"""What is read of `quota.state`: pages into columns, one whole checkpoint after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from stream.core.errors import Corrupt
from stream.ports import STATE, Log, Record
from stream.replica.columns import Columns
from stream.replica.model import News
from stream.replica.pages import Pages
from stream.replica.staging import Batch

log_ = structlog.get_logger()

AT_ONCE = 8
"""Records that are taken before others may run."""


class StateReader:
    """Shows whole checkpoints only, one after the other; one that cannot be read is not shown, and said so."""

    topic = STATE

    def __init__(self, log: Log, partition: int, columns: Columns, tell: Callable[[News], None]) -> None:
        self._log = log
        self.partition = partition
        self.shown = Pages(partition)
        self.damage = ""
        """Why the newest checkpoint is not shown."""
        self.is_restored = False
        """Something was shown, if only that there is nothing."""
        self._columns = columns
        self._tell = tell
        self._coming = Pages(partition)  # what is read into: what is shown, but after a new beginning
        self._whole_at = 0

    async def begin(self, first: int, end: int) -> int:
        """From the first record: of a compacted topic that is all there is."""
        self._coming, self._whole_at = Pages(self.partition), end
        return first

    async def take(self, records: Sequence[Record], next_offset: int) -> None:
        for number, record in enumerate(records, 1):
            self._coming.take(record)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if next_offset >= self._whole_at:
            await self._name(next_offset)

    async def _name(self, next_offset: int) -> None:
        try:
            await self._show_announced(next_offset)
        except Corrupt as error:
            if self.damage != str(error):
                log_.error("replica.damaged", partition=self.partition, cause=str(error))
                self.damage = str(error)
                self._tell(News("state"))

    async def _show_announced(self, next_offset: int) -> None:
        coming, anew = self._coming, self._coming is not self.shown
        checkpoint = coming.announced()
        if checkpoint is None:
            if anew and not coming.is_empty:  # perhaps it was replaced while it was read: then there is another one
                _, self._whole_at = await self._log.bounds(self.topic, self.partition)
            if anew and next_offset >= self._whole_at:
                self._show(coming, Batch(self.partition, []), self.shown.current.numbers)
            return
        fixed = coming.read_fixed(checkpoint)
        is_stale = any(coming.fixed.marks.get(source) != at for source, at in fixed.marks.items())
        numbers = checkpoint.numbers if anew or is_stale else coming.changed(checkpoint)
        await asyncio.sleep(0)
        batch = Batch(self.partition, numbers)
        for number in numbers:
            self._columns.stage(batch, coming.read(checkpoint, number, fixed), anew=anew)
            await asyncio.sleep(0)
        gone = set(self.shown.current.numbers) - set(checkpoint.numbers)
        coming.name(checkpoint, fixed)
        self._show(coming, batch, gone)
        await self._columns.settle()

    def _show(self, pages: Pages, batch: Batch, gone: Collection[int]) -> None:
        self.shown, self.damage, self.is_restored = pages, "", True
        self._columns.drop(self.partition, sorted(gone))
        changed = self._columns.apply(batch)
        self._tell(News("state", changed.services))
