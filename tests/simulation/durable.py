"""One partition of quota.state as a reader finds it after each write: whole, or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson

from stream import wire
from stream.core.errors import Corrupt
from stream.core.page import Page
from stream.ports import Message
from stream.runtime.checkpoint import META

OUT = b"out/"


class Durable:
    """Read with no more knowledge than `schemas/README.md` gives of the format."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.next_offset = 0
        """Where a restore reads on."""
        self.outbox: set[Message] = set()
        """What is decided and perhaps not shown yet."""
        self.revisions: dict[str, tuple[int, int]] = {}
        """(incarnation, revision) of each service."""
        self._meta: dict[str, Any] = {"checkpoint": 0, "next_offset": 0, "pages": {}, "outbox": [0, 0]}
        self._read: dict[str, dict[str, tuple[int, int]]] = {}
        """The same by page."""

    def note(self, messages: Sequence[Message]) -> Iterator[str]:
        """After a write.  What is wrong from now on."""
        touched = set()
        for key, value, _ in messages:
            assert key is not None
            touched.add(key)
            self.records.pop(key, None)
            if value is not None:
                self.records[key] = value
        former = self._meta["pages"]
        if META in touched:
            yield from self._move(orjson.loads(self.records[META]))
        for key, place in self._meta["pages"].items():
            if former.get(key) != place or not touched.isdisjoint(parts(key, *place)):
                yield from self._read_page(key, *place)
        self.revisions = {name: at for page in self._read.values() for name, at in page.items()}
        yield from self._read_outbox()

    def _move(self, meta: dict[str, Any]) -> Iterator[str]:
        number, former = meta["checkpoint"], self._meta["checkpoint"]
        if number != former + 1:
            yield f"the durable checkpoint is number {number}, which does not follow number {former}"
        if meta["next_offset"] < self.next_offset:
            yield f"the durable next_offset went back from {self.next_offset} to {meta['next_offset']}"
        if meta["outbox"][0] < self._meta["outbox"][0]:
            yield f"the outbox went back from {self._meta['outbox'][0]} to {meta['outbox'][0]}"
        self._meta, self.next_offset = meta, meta["next_offset"]

    def _read_page(self, key: str, slot: str, checkpoint: int, count: int) -> Iterator[str]:
        data = b"".join(self.records.get(part, b"") for part in parts(key, slot, checkpoint, count))
        try:
            page, written = wire.decode_page(data)
        except Corrupt as error:
            yield f"meta names page {key}/{slot}, which cannot be read: {error}"
            return
        if (page.key, written) != (key, checkpoint):
            yield f"page {key}/{slot} is {page.key} of checkpoint {written}, and meta names checkpoint {checkpoint}"
        self._read[key] = revisions(page)

    def _read_outbox(self) -> Iterator[str]:
        first, end = self._meta["outbox"]
        entries = [self.records.get(OUT + b"%d" % number) for number in range(first, end)]
        if None in entries:
            yield f"meta names outbox entry {first + entries.index(None)}, which is not there"
        self.outbox = {unpacked(entry) for entry in entries if entry is not None}


def parts(key: str, slot: str, checkpoint: int, count: int) -> list[bytes]:
    return [f"{key}/{slot}/{part}".encode() for part in range(count)]


def revisions(page: Page) -> dict[str, tuple[int, int]]:
    """Of a page of services; nothing of any other."""
    if "revision" not in page.columns:
        return {}
    columns = (page.columns[name].tolist() for name in ("incarnation", "revision"))
    names = page.extras["names"].split("\n")[:-1]
    return {name: (inc, rev) for name, inc, rev in zip(names, *columns, strict=True) if name}


@lru_cache(maxsize=1024)
def unpacked(entry: bytes) -> Message:
    """What an outbox's entry is to be shown as."""
    key, value, headers, *_ = orjson.loads(entry)
    return Message(key.encode(), value.encode(), tuple((name, text.encode()) for name, text in headers))
