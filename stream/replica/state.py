"""What is read of `quota.state`: pages into columns, one whole checkpoint after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from stream.core.errors import Corrupt
from stream.ports import STATE, Record
from stream.replica.columns import Columns
from stream.replica.model import News
from stream.replica.pages import Pages
from stream.replica.staging import Batch

log_ = structlog.get_logger()


class StateReader:
    """Shows whole checkpoints only, one after the other; one that cannot be read is not shown, and said so."""

    topic = STATE

    def __init__(self, partition: int, columns: Columns, tell: Callable[[News], None]) -> None:
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
        for record in records:
            self._coming.take(record)
        if next_offset >= self._whole_at:
            await self._name()

    async def _name(self) -> None:
        try:
            await self._show_announced()
        except Corrupt as error:
            if self.damage != str(error):
                log_.error("replica.damaged", partition=self.partition, cause=str(error))
                self.damage = str(error)
                self._tell(News("state"))

    async def _show_announced(self) -> None:
        coming, begins = self._coming, self._coming is not self.shown
        checkpoint = coming.announced()
        if checkpoint is None:
            if begins:
                self._show(coming, Batch([]))
            return
        fixed = coming.read_fixed(checkpoint)
        stale = {source for source, at in fixed.marks.items() if coming.fixed.marks.get(source) != at}
        numbers = [int(key) for key in coming.changed(checkpoint)]
        if stale and not begins:
            numbers = sorted({*numbers, *self._columns.of(self.partition)})
        batch = Batch(numbers)
        for number in numbers:
            batch.add(coming.read(checkpoint, str(number), fixed), self._columns.words)
            await asyncio.sleep(0)
        coming.name(checkpoint, fixed)
        self._show(coming, batch)
        await self._columns.settle()

    def _show(self, pages: Pages, batch: Batch) -> None:
        anew = pages is not self.shown
        self.shown, self.damage, self.is_restored = pages, "", True
        named = {str(number) for number in self._columns.of(self.partition)}
        gone = [int(key) for key in named - pages.current.places.keys()]
        if gone:
            self._columns.drop(self.partition, gone)
        changed = self._columns.apply(self.partition, batch, anew=anew)
        self._tell(News("state", changed.services))
