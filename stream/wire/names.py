"""The `services` columns seen lately, so that a poll's names are parsed and checked once and not every minute."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Final

import orjson

from stream.core.model import Names
from stream.wire.fields import are_services

MAX_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
MAX_REMEMBERED_COLUMNS: Final = 4096


class RememberedNames:
    """Names by their JSON text, the least recently used forgotten first.

    The same text gives the same `Names` object as long as it is remembered: whoever reads them may remember on it what
    the names mean.
    """

    def __init__(self, *, most_bytes: int = MAX_REMEMBERED_BYTES, most_columns: int = MAX_REMEMBERED_COLUMNS) -> None:
        self._most_bytes = most_bytes
        self._most_columns = most_columns
        self._names: OrderedDict[bytes, Names] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._names)

    def read(self, text: bytes) -> Names | None:
        """The names of a JSON array; None if it is not one of service ids only."""
        names = self._names.get(text)
        if names is not None:
            self._names.move_to_end(text)
            return names
        try:
            strings = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(strings, list) or not are_services(strings):
            return None
        names = Names(partial(orjson.loads, text), len(strings))
        self._remember(text, names)
        return names

    def _remember(self, text: bytes, names: Names) -> None:
        self._names[text] = names
        self._bytes += len(text)
        while self._bytes > self._most_bytes or len(self._names) > self._most_columns:
            forgotten, _ = self._names.popitem(last=False)
            self._bytes -= len(forgotten)
