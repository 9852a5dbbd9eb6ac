"""The embedded log's file: how it is made, checked, locked and copied, and what its errors mean in words.

    FILE            the database: schema below, application id "QStr"
    FILE-wal, -shm  SQLite's own, while anybody has it open; a restored copy must not meet the ones of its predecessor
    FILE.lock       locked by the one `run` on this file, and holds its pid

Space of removed records is used again: the file stays as large as it ever had to be.  A backup is compact only in so
far; `VACUUM` in the sqlite3 shell, while nothing runs, makes it small.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from stream.core.errors import Corrupt, InUse, Misconfigured, QuotaStreamError, Unavailable
from stream.ports import TOPICS

APPLICATION_ID = 0x51537472
SCHEMA_VERSION = 1

PAGE_BYTES = 8192
CACHE_BYTES = 16 * 1024 * 1024
WAL_LIMIT_BYTES = 64 * 1024 * 1024
BUSY_S = 10.0
"""How long one waits for another process that is writing."""

_COLUMNS = """
    id        INTEGER PRIMARY KEY,   -- stream << 40 | offset
    stream    INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,      -- append time in ms
    key       BLOB,
    value     BLOB,
    headers   BLOB,                  -- JSON [[name, value as latin-1], ...], or NULL
    crc       INTEGER NOT NULL       -- over all of the above
"""

_SCHEMA = (
    "CREATE TABLE properties (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE streams (
        id        INTEGER PRIMARY KEY,
        topic     TEXT NOT NULL,
        partition INTEGER NOT NULL,
        first     INTEGER NOT NULL,      -- offset of the oldest record that is kept
        next      INTEGER NOT NULL,      -- offset after the newest
        timestamp INTEGER NOT NULL,      -- of the newest
        UNIQUE (topic, partition)
    )""",
    f"CREATE TABLE records ({_COLUMNS})",
    f"CREATE TABLE latest ({_COLUMNS}, UNIQUE (stream, key))",
    "CREATE INDEX tombstones ON latest (timestamp) WHERE value IS NULL",
    """CREATE TABLE fences (
        role      TEXT NOT NULL,
        partition INTEGER NOT NULL,
        epoch     INTEGER NOT NULL,      -- of the latest owner
        PRIMARY KEY (role, partition)
    ) WITHOUT ROWID""",
)


# ---------------------------------------------------------------- errors


@contextmanager
def in_words(path: Path, *, opening: bool = False) -> Iterator[None]:
    """What SQLite and the system say about the file, as our own errors; Corrupt from within gets the file's name."""
    try:
        yield
    except Corrupt as error:
        raise Corrupt(f"{path}: {error}") from error
    except sqlite3.Error as error:
        translated = _translated(error, path, opening)
        if translated is None:
            raise
        raise translated from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which cites what it found
        raise Corrupt(f"{path}: damaged; {RESTORE}") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise Unavailable(_FULL.format(path=path)) from error
        raise Misconfigured(f"{path}: {error.strerror}; {_WRITABLE}") from error


_FULL = "{path}: the disk is full; make room, then it goes on (nothing that was acknowledged is lost)"
_WRITABLE = "this user must be able to write the file and its folder"
RESTORE = "stop, keep a copy of the file, and restore a backup"


def _translated(error: sqlite3.Error, path: Path, opening: bool) -> QuotaStreamError | None:
    """None for what is no trouble of the file but a mistake of the program."""
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.NotSupportedError):
        return None
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return Unavailable(_FULL.format(path=path))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable(
                f"{path}: another process has kept it locked for {BUSY_S:g} s; find it with `fuser {path}`"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            words = f"{path}: cannot be opened for writing ({name}); {_WRITABLE}"
            return Misconfigured(words) if opening else Unavailable(words)
        case sqlite3.SQLITE_IOERR if code not in _DAMAGE:
            return Unavailable(f"{path}: cannot be read or written ({name}); check the disk, its space and its limits")
        case sqlite3.SQLITE_NOTADB:
            return Corrupt(
                f"{path}: this is no database, or its first page is damaged; name another file or restore a backup"
            )
        case sqlite3.SQLITE_NOMEM:
            return Unavailable(f"{path}: out of memory")
        case _:
            return Corrupt(f"{path}: damaged ({error}); {RESTORE}")


_DAMAGE = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


def integers(connection: sqlite3.Connection, query: str, *parameters: object) -> tuple[int, ...]:
    """The one row that the query must have, of nothing but integers; else Corrupt."""
    row = connection.execute(query, parameters).fetchone()
    if row is None or not all(isinstance(value, int) for value in row):
        raise Corrupt(f"damaged (no numbers where there must be some); {RESTORE}")
    return tuple(row)


# ---------------------------------------------------------------- opening


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits power-safe; only the thread that made it may use it."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    for pragma in (
        f"page_size = {PAGE_BYTES}",  # of a new file
        "synchronous = FULL",
        "secure_delete = OFF",
        f"cache_size = -{CACHE_BYTES // 1024}",
        f"journal_size_limit = {WAL_LIMIT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def open_file(path: Path, partitions: int | None) -> int:
    """Make the file unless it is there, and check that it can be used.  Returns its number of partitions.

    `partitions` is for a new file (None: 1).  Raises Misconfigured if an old one has another number, is of another
    program or cannot be written; Corrupt if it is damaged or of a newer version.
    """
    if partitions is not None and not 1 <= partitions <= 1024:
        raise Misconfigured(f"{path}: a log has 1 to 1024 partitions, not {partitions}")
    with in_words(path, opening=True), _folder_locked(path.parent), closing(connect(path)) as connection:
        if _is_empty(connection):
            _create(connection, path, partitions or 1)
        check_version(connection, path)
        (stored,) = integers(connection, "SELECT value FROM properties WHERE name = 'partitions'")
        connection.execute("DELETE FROM properties WHERE 0")  # can it be written?
    if partitions not in (None, stored):
        raise Misconfigured(
            f"{path}: made with {stored} partitions, which is fixed, but {partitions} are asked for; "
            f"ask for {stored}, or begin a new file"
        )
    return stored


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises Misconfigured if this is another program's file, Corrupt if a newer version of ours wrote it."""
    (application,) = integers(connection, "PRAGMA application_id")
    if application != APPLICATION_ID:
        raise Misconfigured(f"{path}: a database of another program; name another file")
    (version,) = integers(connection, "SELECT value FROM properties WHERE name = 'schema'")
    if version > SCHEMA_VERSION:
        raise Corrupt(f"its format {version} is newer than this program's ({SCHEMA_VERSION}); upgrade the program")


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = integers(connection, "SELECT count(*) FROM sqlite_master")
    (application,) = integers(connection, "PRAGMA application_id")
    return not tables and not application


def _create(connection: sqlite3.Connection, path: Path, partitions: int) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Misconfigured(
            f"{path}: this file system cannot hold it (no write-ahead log); name a file on a local disk"
        )
    rows = [(topic, partition) for topic in TOPICS for partition in range(partitions)]
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("INSERT INTO properties VALUES ('schema', ?), ('partitions', ?)", (SCHEMA_VERSION, partitions))
    connection.executemany(
        "INSERT INTO streams (topic, partition, first, next, timestamp) VALUES (?, ?, 0, 0, 0)", rows
    )
    connection.execute("COMMIT")


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Two processes that make the file at the same time take turns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class RunLock:
    """The lock of the one `run` on a file.  Ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        """Take it.  Raises InUse, with the holder's pid, if another process (or another log in this one) has it."""
        with in_words(path):
            self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            except BlockingIOError:
                holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(self._descriptor)
                raise InUse(
                    f"{path}: process {holder or '(unknown)'} runs on it; stop that one first "
                    "(publish, tail, status and service work beside it)"
                ) from None
            except OSError:
                os.close(self._descriptor)
                raise

    def release(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


# ---------------------------------------------------------------- copying


def backup(path: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """A consistent copy of the log as of one instant, also while it is in use; checked before it gets its name.

    `progress(done, whole)` in pages, now and then.  To restore: stop `run`, remove FILE, FILE-wal and FILE-shm, and put
    the copy in FILE's place.  Raises Misconfigured if there is no log at `path` or something at `target`.
    """
    if not path.is_file():
        raise Misconfigured(f"{path}: there is no such file")
    if target.exists():
        raise Misconfigured(f"{target}: exists already; name another file or remove it")
    partial = target.with_name(target.name + ".partial")
    try:
        with in_words(path, opening=True), closing(connect(path)) as source:
            check_version(source, path)
            source.execute("BEGIN")
            integers(source, "SELECT count(*) FROM streams")  # from here on it reads this instant's state
            with in_words(partial, opening=True):
                _copy(source, partial, progress or (lambda done, whole: None))
        with in_words(target, opening=True):
            partial.replace(target)
            _sync_folder(target.parent)
    finally:
        for rest in (partial, *(partial.with_name(partial.name + end) for end in ("-journal", "-wal", "-shm"))):
            rest.unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, target: Path, progress: Callable[[int, int], None]) -> None:
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy, pages=1024, progress=lambda _, rest, whole: progress(whole - rest, whole))
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Corrupt(f"the copy is damaged ({verdict}), and so probably is the log; {RESTORE}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
