"""What is done to the embedded log's file: one function for each act, all of them run in a connection's own thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple
from zlib import crc32

import orjson

from stream.adapters.sqlite_file import RESTORE, integers
from stream.core.errors import Corrupt, Fenced, Truncated
from stream.ports import COMPACTED, TOPICS, Fetch, Message, Record, Role

FETCH_BYTES = 4 * 1024 * 1024
FETCH_RECORDS = 10_000
SWEEP_BYTES = 4 * 1024 * 1024
SWEEP_RECORDS = 1_000
TOMBSTONE_MS = 3_600_000
"""How long the removal of a key can be read."""

_OFFSET_BITS = 40
MAX_OFFSET = (1 << _OFFSET_BITS) - 1


class Stream(NamedTuple):
    """One partition of one topic.  Compacted topics live in `latest`, whose unique key drops what is replaced."""

    id: int
    topic: str
    partition: int

    @property
    def table(self) -> str:
        return "latest" if self.topic in COMPACTED else "records"

    @property
    def insert(self) -> str:
        replace = "OR REPLACE " if self.topic in COMPACTED else ""
        return f"INSERT {replace}INTO {self.table} VALUES (?, ?, ?, ?, ?, ?, ?)"

    def row(self, offset: int) -> int:
        return self.id << _OFFSET_BITS | offset

    def offset(self, row: int) -> int:
        return row & MAX_OFFSET


class Transaction:
    """One power-safe commit: what is appended and taken over within it is durable when it has ended, or not at all."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._tails: dict[int, tuple[int, int]] = {}  # stream: next offset, timestamp of the newest

    @property
    def ends(self) -> dict[int, int]:
        """The next offset of each stream that was appended to."""
        return {stream: end for stream, (end, _) in self._tails.items()}

    @property
    def newest(self) -> int:
        """The newest append time given out; now, if there was none."""
        return max((timestamp for _, timestamp in self._tails.values()), default=self._now)

    def append(self, stream: Stream, messages: Sequence[Message]) -> int:
        """Returns the offset after the last one."""
        end, newest = self._tails.get(stream.id) or self._tail(stream)
        timestamp = max(self._now, newest)
        rows = [_row(stream, end + index, timestamp, message) for index, message in enumerate(messages)]
        self._connection.executemany(stream.insert, rows)
        self._tails[stream.id] = end + len(rows), timestamp
        return end + len(rows)

    def _tail(self, stream: Stream) -> tuple[int, int]:
        end, newest = integers(self._connection, "SELECT next, timestamp FROM streams WHERE id = ?", stream.id)
        return end, newest

    def take_over(self, role: Role, partition: int) -> int:
        """Returns the new owner's epoch."""
        self._connection.execute(
            "INSERT INTO fences VALUES (?, ?, 1) ON CONFLICT (role, partition) DO UPDATE SET epoch = epoch + 1",
            (role, partition),
        )
        return self._epoch(role, partition)

    def verify(self, role: Role, partition: int, epoch: int) -> None:
        """Raises Fenced unless `epoch` is still the latest.  Comes before the first write of the one who asks."""
        if self._epoch(role, partition) != epoch:
            raise Fenced(f"{role} of partition {partition}: somebody else has taken over")

    def _epoch(self, role: Role, partition: int) -> int:
        (epoch,) = integers(
            self._connection, "SELECT epoch FROM fences WHERE role = ? AND partition = ?", role, partition
        )
        return epoch

    def finish(self) -> None:
        """Note the new ends; the last thing before the commit."""
        rows = [(end, timestamp, stream) for stream, (end, timestamp) in self._tails.items()]
        self._connection.executemany("UPDATE streams SET next = ?, timestamp = ? WHERE id = ?", rows)


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Commits at the end; rolls back if anything is raised."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


# ---------------------------------------------------------------- reading


def streams(connection: sqlite3.Connection, partitions: int) -> dict[tuple[str, int], Stream]:
    """All of them, by topic and partition.  Raises Corrupt if they are not all there, or do not end where it is noted
    that they do: nothing would notice that later."""
    with transaction(connection, "BEGIN"):
        found = [Stream(*row) for row in connection.execute("SELECT id, topic, partition FROM streams ORDER BY id")]
        places = {(stream.topic, stream.partition): stream for stream in found}
        if places.keys() != {(topic, partition) for topic in TOPICS for partition in range(partitions)}:
            raise Corrupt(f"the list of partitions is damaged; {RESTORE}")
        for stream in found:
            _check_ends(connection, stream)
    return places


def _check_ends(connection: sqlite3.Connection, stream: Stream) -> None:
    first, end = bounds(connection, stream)
    oldest, newest = (
        connection.execute(
            f"SELECT {extreme}(id) FROM {stream.table} WHERE id >= ? AND id < ?",
            (stream.row(0), stream.row(MAX_OFFSET)),
        ).fetchone()[0]
        for extreme in ("min", "max")
    )
    kept = (end, end) if oldest is None or newest is None else (stream.offset(oldest), stream.offset(newest) + 1)
    whole = kept[1] <= end if stream.topic in COMPACTED else kept == (first, end)
    if not whole:
        raise Corrupt(f"{stream.topic}/{stream.partition}: records are missing at one of its ends; {RESTORE}")


def check_latest(connection: sqlite3.Connection) -> None:
    """Raises Corrupt if the table of the compacted topics, whose offsets have gaps, may have lost records.

    `quick_check` would not see that another page, whole in itself, lies in the place of one of the table's.
    """
    (verdict,) = connection.execute("PRAGMA integrity_check(latest)").fetchone()
    if verdict != "ok":
        raise Corrupt(f"the state of the partitions is damaged ({verdict}); {RESTORE}")


def bounds(connection: sqlite3.Connection, stream: Stream) -> tuple[int, int]:
    first, end = integers(connection, "SELECT first, next FROM streams WHERE id = ?", stream.id)
    return first, end


def ends(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT id, next FROM streams"))


def data_version(connection: sqlite3.Connection) -> int:
    """Changes when anybody else has committed."""
    (version,) = integers(connection, "PRAGMA data_version")
    return version


def fetch(connection: sqlite3.Connection, stream: Stream, offset: int) -> Fetch:
    """From `offset` on, at most FETCH_RECORDS and about FETCH_BYTES, but at least one if there is any."""
    with transaction(connection, "BEGIN"):
        first, end = bounds(connection, stream)
        if not first <= offset <= end:
            raise Truncated(f"{stream.topic}/{stream.partition}: {offset} is next to read, kept are {first} to {end}")
        records: list[Record] = []
        size = 0
        for record in _select(connection, stream, offset, end) if offset < end else ():
            if stream.topic not in COMPACTED and record.offset != offset + len(records):
                break  # offsets have no gaps here, so a damaged page cannot hide what it lost
            records.append(record)
            size += len(record.key or b"") + len(record.value or b"")
            if size >= FETCH_BYTES or len(records) >= FETCH_RECORDS:
                return Fetch(records, record.offset + 1)
    if stream.topic in COMPACTED:
        return Fetch(records, end)
    if not records and offset < end:
        raise Corrupt(f"{stream.topic}/{stream.partition}: the record at offset {offset} is missing; {RESTORE}")
    return Fetch(records, offset + len(records))


def snapshot(connection: sqlite3.Connection, stream: Stream) -> dict[bytes, bytes]:
    with transaction(connection, "BEGIN"):
        first, end = bounds(connection, stream)
        records = _select(connection, stream, first, end)
        return {record.key: record.value for record in records if record.key is not None and record.value is not None}


def _select(connection: sqlite3.Connection, stream: Stream, offset: int, end: int) -> Iterator[Record]:
    rows = connection.execute(
        f"SELECT id, timestamp, key, value, headers, crc FROM {stream.table} WHERE id >= ? AND id < ? ORDER BY id",
        (stream.row(offset), stream.row(end)),
    )
    try:
        for row, timestamp, key, value, headers, crc in rows:
            if not _is_whole(row, timestamp, key, value, headers, crc):
                place = f"{stream.topic}/{stream.partition}"
                raise Corrupt(f"{place}: the record at offset {stream.offset(row)} is damaged; {RESTORE}")
            yield Record(stream.offset(row), timestamp, key, value, _decode_headers(headers))
    finally:
        rows.close()


# ---------------------------------------------------------------- sweeping


def sweep(connection: sqlite3.Connection, limits: Mapping[Stream, tuple[int, int]], tombstones_until: int) -> bool:
    """Remove what is too old, in a small step: of each stream in `limits` the records up to an instant and before an
    offset, and tombstones up to an instant.  True if there is more to remove."""
    with transaction(connection, "BEGIN IMMEDIATE"):
        more = [_sweep(connection, stream, *limit) for stream, limit in limits.items()]
        removed = connection.execute(
            "DELETE FROM latest WHERE id IN (SELECT id FROM latest WHERE value IS NULL AND timestamp <= ? LIMIT ?)",
            (tombstones_until, SWEEP_RECORDS),
        ).rowcount
        return any(more) or removed == SWEEP_RECORDS


def _sweep(connection: sqlite3.Connection, stream: Stream, until: int, before_offset: int) -> bool:
    first, end = bounds(connection, stream)
    rows = connection.execute(
        "SELECT id, timestamp, ifnull(length(value), 0) FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (stream.row(first), stream.row(min(before_offset, end)), SWEEP_RECORDS),
    ).fetchall()
    last = None
    size = count = 0
    for row, timestamp, value_size in rows:
        if timestamp > until or size >= SWEEP_BYTES:
            break
        last = row
        size += value_size
        count += 1
    if last is None:
        return False
    connection.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (stream.row(first), last))
    connection.execute("UPDATE streams SET first = ? WHERE id = ?", (stream.offset(last) + 1, stream.id))
    return count == SWEEP_RECORDS or size >= SWEEP_BYTES


# ---------------------------------------------------------------- one record


def _row(
    stream: Stream, offset: int, timestamp: int, message: Message
) -> tuple[int, int, int, bytes | None, bytes | None, bytes | None, int]:
    key, value, headers = message
    encoded = orjson.dumps([(name, text.decode("latin-1")) for name, text in headers]) if headers else None
    row = stream.row(offset)
    return row, stream.id, timestamp, key, value, encoded, _crc(row, timestamp, key, value, encoded)


def _crc(row: int, timestamp: int, key: bytes | None, value: bytes | None, headers: bytes | None) -> int:
    """SQLite checks the shape of its pages and not what is in them; a changed digit would be counted."""
    crc = crc32(b"%d %d" % (row, timestamp))
    for part in (key, value, headers):
        crc = crc32(b"\0" if part is None else part, crc)
    return crc


def _is_whole(
    row: int, timestamp: int, key: bytes | None, value: bytes | None, headers: bytes | None, crc: int
) -> bool:
    try:
        return crc == _crc(row, timestamp, key, value, headers)
    except TypeError:  # damage can make anything of a column
        return False


def _decode_headers(encoded: bytes | None) -> tuple[tuple[str, bytes], ...]:
    if encoded is None:
        return ()
    return tuple((name, text.encode("latin-1")) for name, text in orjson.loads(encoded))
