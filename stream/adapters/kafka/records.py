"""Our records, straight from the broker's bytes.

aiokafka's own records, of eleven fields, are half the cost of reading.  And its fast parser gives up at a header whose
key is no UTF-8, which brokers take from anybody: what such a fetch still holds is parsed by the slow one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

from stream.core.errors import Misconfigured
from stream.ports import Record

APPEND_TIME = 1

_new = tuple.__new__


class Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of one partition in one fetch."""

    _records: Any

    def _unpack_records(self) -> Iterator[Record]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            self._records = _Rest(self._records.data, self.next_fetch_offset)
            yield from super()._unpack_records()

    def _consumer_record(self, place: TopicPartition, record: Any) -> Record:
        if record.timestamp_type != APPEND_TIME:
            raise Misconfigured(
                f"kafka: {place.topic} keeps the publishers' own times; "
                "set message.timestamp.type=LogAppendTime (`quota-stream topics verify` tells how)"
            )
        return _new(Record, (record.offset, record.timestamp, record.key, record.value, tuple(record.headers)))


class Memory(MemoryRecords):  # type: ignore[misc]
    """Remembers the bytes, to be parsed once more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _Rest:
    """The batches from the one on that holds `offset`: what came before has been looked at, aborts included."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._left = [batch for batch in _batches(data) if batch.next_offset > offset]

    def has_next(self) -> bool:
        return bool(self._left)

    def next_batch(self) -> _Batch:
        return self._left.pop(0)


def _batches(data: bytes) -> Iterator[_Batch]:
    start, overhead = 0, _MemoryRecordsPy.LOG_OVERHEAD
    while len(data) - start >= overhead:
        end = start + overhead + int.from_bytes(data[start + 8 : start + overhead], "big")
        if end > len(data):
            return  # the broker has cut it; it comes with the next fetch
        yield _Batch(data[start:end])
        start = end


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Bytes(self._buffer)


class _Bytes(bytearray):
    """Whose slices decode whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return found if isinstance(found, int) else _Bytes(found)

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
