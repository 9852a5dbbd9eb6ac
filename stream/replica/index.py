"""The history in a SQLite file of its own, which may be deleted at any time: the log builds it anew.

    a fetch of records ---> one transaction: what they tell, and up to where they are read

Everything in it follows from the log but the samples of the population.  Receipts are as many as the log remembers of
a service.  One thread uses it, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from stream.core.errors import Unavailable
from stream.ports import CHANGES, DEAD_LETTERS
from stream.replica.entries import Read, asked_id
from stream.replica.model import Entries, Entry, Letter, Letters, Population

_T = TypeVar("_T")

SCHEMA = 3
TABLES = (
    "CREATE TABLE positions (topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL, last_offset INTEGER,"
    " last_digest BLOB, PRIMARY KEY (topic, partition)) WITHOUT ROWID",
    "CREATE TABLE entries (id TEXT PRIMARY KEY, kind TEXT NOT NULL, service TEXT NOT NULL, at INTEGER NOT NULL,"
    " incarnation INTEGER NOT NULL, revision INTEGER, document BLOB NOT NULL, appended INTEGER NOT NULL,"
    " place INTEGER NOT NULL, adjustment TEXT)",
    "CREATE INDEX by_adjustment ON entries (adjustment) WHERE adjustment IS NOT NULL",
    "CREATE INDEX of_service ON entries (service, appended, place, id)",
    "CREATE INDEX by_time ON entries (appended, place, id)",
    "CREATE TABLE letters (id TEXT PRIMARY KEY, at INTEGER NOT NULL, partition INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, reason TEXT NOT NULL, cure TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL,"
    " is_adjustment INTEGER NOT NULL)",
    "CREATE INDEX letters_by_time ON letters (at, partition, offset)",
    "CREATE TABLE population (at INTEGER, plan TEXT, profile TEXT, services INTEGER NOT NULL,"
    " PRIMARY KEY (at, plan, profile)) WITHOUT ROWID",
    "CREATE TABLE forgotten (digest BLOB PRIMARY KEY, before INTEGER NOT NULL, appended INTEGER NOT NULL)",
    f"PRAGMA user_version = {SCHEMA}",
)
ENFORCED = 1 << 62
"""`place` of what is told by `quota.enforcements`; else it is the offset."""
MOST_LIMIT = 1000
MOST_INSTANTS = 600
"""Of a population over time; more of them are thinned out."""
MOST = (1 << 63) - 1
ENTRIES_PLACE = "^[0-9]{1,19}-[0-9]{1,19}-.+$"
"""What `next` of entries looks like ..."""
LETTERS_PLACE = "^[0-9]{1,19}-[0-9]{1,19}-[0-9]{1,19}$"
"""... and of dead letters."""
ENTRY = "id, kind, service, at, incarnation, revision, document, appended, place, adjustment"
INSERT = f"INSERT OR IGNORE INTO entries ({ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Position(NamedTuple):
    """Up to where a partition of a topic is read, and what was read last: by that a log is known again."""

    next_offset: int
    last_offset: int | None = None
    last_digest: bytes | None = None


class Counted(NamedTuple):
    """How many letters of a kind came within a minute."""

    minute: int
    reason: str
    is_adjustment: bool
    letters: int


class Index:
    """`open` it first.  Everything raises Unavailable when the disk does not do its part."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quota-index")
        self._connection: sqlite3.Connection | None = None
        self._forgotten: dict[bytes, int] = {}
        """By digest of the service: of incarnations before that offset nothing is kept."""

    async def open(self) -> None:
        """Make it if it is missing, no database, or of another version."""
        await self._run(self._open)

    def _open(self) -> None:
        if self._connection is not None:
            return
        self._connection = self._connect()
        try:
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError:
            version = -1
        if version != SCHEMA:
            self._begin_anew()
        with self._connection as connection:  # these are told anew, by whoever opens it
            connection.execute("DELETE FROM entries WHERE id = service || '//asked'")
            self._forgotten = dict(connection.execute("SELECT digest, before FROM forgotten"))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path or ":memory:", check_same_thread=False, timeout=5.0)
        with suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        return connection

    def _begin_anew(self) -> None:
        self._disconnect()
        if self._path is not None:
            for end in ("", "-wal", "-shm"):
                Path(f"{self._path}{end}").unlink(missing_ok=True)
        self._connection = self._connect()
        self._forgotten.clear()
        with self._connection as connection:
            for statement in TABLES:
                connection.execute(statement)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def begin_anew(self) -> None:
        """Forget everything."""
        await self._run(self._begin_anew)

    async def close(self) -> None:
        await self._run(self._disconnect)
        self._executor.shutdown(wait=False)

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"the index {self._path or 'in memory'}: {error}; it may be deleted") from error

    async def _ask(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        def ask() -> list[Any]:
            assert self._connection is not None, "it is open"
            return self._connection.execute(statement, values).fetchall()

        return await self._run(ask)

    async def _write(self, *statements: tuple[str, Iterable[Sequence[Any]]]) -> None:
        """In one transaction."""

        def write() -> None:
            assert self._connection is not None, "it is open"
            with self._connection as connection:
                for statement, rows in statements:
                    connection.executemany(statement, rows)

        await self._run(write)

    # ------------------------------------------------------------ writing

    async def positions(self) -> dict[tuple[str, int], Position]:
        rows = await self._ask("SELECT topic, partition, next_offset, last_offset, last_digest FROM positions")
        return {(topic, partition): Position(*place) for topic, partition, *place in rows}

    async def note_outcomes(self, partition: int, found: Sequence[tuple[int, Entry]], position: Position) -> None:
        """Entries with the offsets of their records; what is there already stays as it is."""
        await self._write(
            (INSERT, [_row(entry, offset) for offset, entry in found if self._is_kept(entry)]),
            _moved(CHANGES, partition, position),
        )  # fmt: skip

    async def note_letters(self, partition: int, found: Sequence[Read], position: Position) -> None:
        rows = [
            (it.id, it.at, it.partition, it.offset, it.reason, it.cure, it.value, kind, is_adjustment)
            for it, kind, is_adjustment in found
        ]
        await self._write(
            ("INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows),
            _moved(DEAD_LETTERS, partition, position),
        )

    async def note_enforcements(self, services: Iterable[str], entries: Sequence[Entry]) -> None:
        """All that is known now of these services."""
        await self._write(
            ("DELETE FROM entries WHERE id = ?", [(asked_id(service),) for service in services]),
            (INSERT, [_row(entry, ENFORCED) for entry in entries if self._is_kept(entry)]),
        )

    async def note_population(self, at: int, population: Mapping[tuple[str, str], int], *, since: int) -> None:
        """Instead of whatever was noted from `since` on."""
        rows = [(at, plan, profile, services) for (plan, profile), services in population.items()]
        await self._write(
            ("DELETE FROM population WHERE at >= ?", [(since,)]),
            ("INSERT INTO population VALUES (?, ?, ?, ?)", rows),
        )

    async def forget(self, service: str, before: int, appended: int) -> None:
        """Keep nothing of its incarnations before that offset, also of what is read later.  Its name is not kept."""
        digest = _digest(service)
        before = self._forgotten[digest] = max(before, self._forgotten.get(digest, 0))
        await self._write(
            ("INSERT OR REPLACE INTO forgotten VALUES (?, ?, ?)", [(digest, before, appended)]),
            ("DELETE FROM entries WHERE service = ? AND incarnation < ?", [(service, before)]),
        )
        await self._ask("PRAGMA wal_checkpoint(TRUNCATE)")  # which has it, too

    def _is_kept(self, entry: Entry) -> bool:
        return not self._forgotten or entry.incarnation >= self._forgotten.get(_digest(entry.service), 0)

    async def sweep(self, entries_before: int, letters_before: int) -> None:
        """Remove what is older."""
        await self._write(
            ("DELETE FROM entries WHERE appended < ?", [(entries_before,)]),
            ("DELETE FROM forgotten WHERE appended < ?", [(entries_before,)]),
            ("DELETE FROM population WHERE at < ?", [(entries_before,)]),
            ("DELETE FROM letters WHERE at < ?", [(letters_before,)]),
        )

    # ------------------------------------------------------------ reading

    async def entries(self, service: str | None, before: str | None, since: int | None, limit: int) -> Entries:
        limit = min(max(1, limit), MOST_LIMIT)
        appended, place, identity = _cursor(before, ENTRIES_PLACE)
        rows = await self._ask(
            f"SELECT {ENTRY} FROM entries WHERE (appended, place, id) < (?, ?, ?) AND appended >= ?"
            f" {'' if service is None else 'AND service = ?'} ORDER BY appended DESC, place DESC, id DESC LIMIT ?",
            (appended, place, identity, since or 0, *([] if service is None else [service]), limit + 1),
        )
        found = [_entry(row) for row in rows[:limit]]
        more = len(rows) > limit
        return Entries(found, _next(rows[limit - 1][7], rows[limit - 1][8], rows[limit - 1][0]) if more else None)

    async def adjusted(self, identity: str, since: int) -> list[Entry]:
        """What the adjustments of that id have caused since then, the oldest first."""
        rows = await self._ask(
            f"SELECT {ENTRY} FROM entries WHERE adjustment = ? AND appended >= ? ORDER BY appended, place LIMIT ?",
            (identity, since, MOST_LIMIT),
        )
        return [_entry(row) for row in rows]

    async def letters(self, before: str | None, limit: int) -> Letters:
        limit = min(max(1, limit), MOST_LIMIT)
        at, partition, offset = _cursor(before, LETTERS_PLACE)
        rows = await self._ask(
            "SELECT id, at, reason, cure, value, partition, offset FROM letters"
            " WHERE (at, partition, offset) < (?, ?, ?) ORDER BY at DESC, partition DESC, offset DESC LIMIT ?",
            (at, partition, min(int(offset), MOST), limit + 1),
        )
        last = rows[limit - 1] if len(rows) > limit else None
        return Letters([Letter(*row) for row in rows[:limit]], last and _next(last[1], last[5], last[6]))

    async def population(self, since: int, until: int) -> list[Population]:
        """All that were noted; of more than MOST_INSTANTS one of each part of the time in which there are any."""
        rows = await self._ask(
            "WITH noted AS (SELECT at FROM population WHERE at >= :since AND at < :until),"
            " span AS (SELECT min(at) AS first, max(at) + 1 - min(at) AS length FROM noted)"
            " SELECT at, plan, profile, services FROM population WHERE at IN"
            " (SELECT min(at) FROM noted, span GROUP BY (at - first) * :most / length) ORDER BY at, plan, profile",
            {"since": since, "until": until, "most": MOST_INSTANTS},
        )
        return [Population(*row) for row in rows]

    async def letters_counted(self, since: int) -> list[Counted]:
        rows = await self._ask(
            "SELECT at / 60000, kind, is_adjustment, count(*) FROM letters WHERE at >= ? GROUP BY 1, 2, 3", (since,)
        )
        return [Counted(minute, reason, bool(adjusts), count) for minute, reason, adjusts, count in rows]


def _row(entry: Entry, place: int) -> tuple[Any, ...]:
    document = orjson.dumps(entry.document)
    adjustment = (entry.document.get("adjustment") or {}).get("id")
    return (entry.id, entry.kind, entry.service, entry.at, entry.incarnation, entry.revision, document,
            entry.appended, place, adjustment if isinstance(adjustment, str) else None)  # fmt: skip


def _entry(row: Sequence[Any]) -> Entry:
    identity, kind, service, at, incarnation, revision, document, appended, *_ = row
    return Entry(id=identity, kind=kind, service=service, at=at, incarnation=incarnation, revision=revision,
                 document=orjson.loads(document), appended=appended)  # fmt: skip


def _moved(topic: str, partition: int, position: Position) -> tuple[str, list[tuple[Any, ...]]]:
    return "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", [(topic, partition, *position)]


def _next(*place: object) -> str:
    """Where the next page of a list begins."""
    return "-".join(str(each) for each in place)


def _cursor(before: str | None, form: str) -> tuple[int, int, str]:
    """What `_next` has written; the beginning of the list for what is none."""
    if before is None or not re.fullmatch(form, before):
        return MOST, MOST, str(MOST)
    first, second, third = before.split("-", 2)
    return min(int(first), MOST), min(int(second), MOST), third


def _digest(service: str) -> bytes:
    return blake2b(service.encode(), digest_size=16).digest()
