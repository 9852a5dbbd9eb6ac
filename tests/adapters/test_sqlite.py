"""The embedded log: the contract, its file, its errors in words, and backups."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from stream.adapters.clock import SystemClock, WarpClock, run_warped
from stream.adapters.sqlite import SqliteLog
from stream.adapters.sqlite_file import PAGE_BYTES, SCHEMA_VERSION, backup, connect
from stream.core.errors import Corrupt, InUse, Misconfigured
from stream.ports import CHANGES, DELTAS, STATE, Message
from tests.adapters.embedded import EmbeddedContract
from tests.adapters.world import (
    DAY_MS,
    PARTITIONS,
    START_MS,
    EmbeddedWorld,
    SettableClock,
    messages,
    read_all,
    values,
    waiting_for,
)


class TestSqliteLog(EmbeddedContract):
    """The contract, over two logs that have the file open at once."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
        """A new file, open as by `run` and as by another command."""
        clock = SettableClock()
        log = await SqliteLog.open(tmp_path / "log.db", clock=clock, exclusive=True, partitions=PARTITIONS)
        other = await SqliteLog.open(tmp_path / "log.db", clock=clock)
        yield EmbeddedWorld(log, other, clock)
        await other.close()
        await log.close()


# ---------------------------------------------------------------- opening


async def test_reopened(tmp_path: Path) -> None:
    """Everything is there again: records, offsets, state, and the fence, which goes on counting."""
    clock = SettableClock()
    log = await SqliteLog.open(tmp_path / "log.db", clock=clock, exclusive=True, partitions=2)
    async with log.take_over("tracker", 1) as lease:
        await lease.write(STATE, [Message(b"meta", b"1")])
        end = await log.append(DELTAS, 1, messages("a"))
    await log.close()
    log = await SqliteLog.open(tmp_path / "log.db", clock=clock, exclusive=True)
    assert log.partitions == 2
    assert await log.snapshot(STATE, 1) == {b"meta": b"1"}
    assert await log.append(DELTAS, 1, messages("b")) > end
    assert values(await read_all(log, DELTAS, 1)) == ["a", "b"]
    async with log.take_over("tracker", 1) as again:
        assert again.epoch > lease.epoch
    await log.close()


async def test_closed_cleanly(tmp_path: Path) -> None:
    """After a close everything is in the one file, which can then be copied as it is."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), exclusive=True)
    await log.append(DELTAS, 0, messages("a"))
    assert log.size_bytes() > 4096
    await log.close()
    assert sorted(os.listdir(tmp_path)) == ["log.db", "log.db.lock"]


async def test_second_exclusive_open(tmp_path: Path) -> None:
    """A second `run` is refused with the holder's pid, also from the same process; after the first one it may."""
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    with pytest.raises(InUse, match=rf"process {os.getpid()} "):
        await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    await log.append(DELTAS, 0, messages("the first one goes on"))
    await log.close()
    again = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    await again.close()


async def test_number_of_partitions_is_fixed(tmp_path: Path) -> None:
    """Asking for another number than the file was made with is refused, with the number to ask for."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), partitions=4)
    await log.close()
    with pytest.raises(Misconfigured, match="ask for 4"):
        await SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), partitions=3)
    with pytest.raises(Misconfigured, match="1 to 1024"):
        await SqliteLog.open(tmp_path / "new.db", clock=SystemClock(), partitions=0)


async def test_opened_by_many_at_once(tmp_path: Path) -> None:
    """However many make the file at the same moment, it is made once and all of them have it."""
    logs = await asyncio.gather(
        *(SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), partitions=2) for _ in range(8))
    )
    for number, log in enumerate(logs):
        await log.append(DELTAS, 0, messages(str(number)))
    assert values(await read_all(logs[0], DELTAS, 0)) == [str(number) for number in range(8)]
    for log in logs:
        await log.close()


async def test_no_folder(tmp_path: Path) -> None:
    """A file in a folder that does not exist is named with what is wrong."""
    for exclusive in (True, False):
        with pytest.raises(Misconfigured, match="No such file or directory"):
            await SqliteLog.open(tmp_path / "missing" / "log.db", clock=SystemClock(), exclusive=exclusive)
    with pytest.raises(Misconfigured, match="cannot be opened"):
        await SqliteLog.open(tmp_path, clock=SystemClock())


async def test_another_programs_file(tmp_path: Path) -> None:
    """A text file and another program's database are refused, and left as they are."""
    text = tmp_path / "notes.txt"
    text.write_text("quota-stream\n" * 200)
    with pytest.raises(Corrupt, match="no database"):
        await SqliteLog.open(text, clock=SystemClock())
    assert text.read_text() == "quota-stream\n" * 200
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(Misconfigured, match="another program"):
        await SqliteLog.open(other, clock=SystemClock())
    assert other.read_bytes() == before


async def test_newer_format(tmp_path: Path) -> None:
    """A file that a later version wrote is refused, and says that the program is to be upgraded."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock())
    await log.close()
    connection = sqlite3.connect(tmp_path / "log.db")
    with connection:
        connection.execute("UPDATE properties SET value = ? WHERE name = 'schema'", (SCHEMA_VERSION + 1,))
    connection.close()
    with pytest.raises(Corrupt, match="upgrade"):
        await SqliteLog.open(tmp_path / "log.db", clock=SystemClock())
    with pytest.raises(Corrupt, match="upgrade"):
        backup(tmp_path / "log.db", tmp_path / "copy.db")


async def test_commits_are_power_safe(tmp_path: Path) -> None:
    """Every connection synchronises its write-ahead log at each commit."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock())
    with closing(connect(tmp_path / "log.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    await log.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM records WHERE key = 'k7'",
        "DELETE FROM records WHERE key = 'k0'",
        "DELETE FROM records WHERE key = 'k9'",
        "UPDATE records SET value = CAST('{\"in\":2}' AS BLOB) WHERE key = 'k3'",
        "UPDATE records SET timestamp = timestamp + 1 WHERE key = 'k3'",
        "UPDATE records SET value = NULL WHERE key = 'k3'",
        "UPDATE streams SET next = next + 1 WHERE topic = 'traffic.deltas'",
        "UPDATE streams SET next = 'x' WHERE topic = 'traffic.deltas'",
        "UPDATE streams SET first = 1 WHERE topic = 'traffic.deltas'",
        "UPDATE streams SET next = 0 WHERE topic = 'quota.state'",
        "DELETE FROM streams WHERE topic = 'quota.enforcements'",
        "DELETE FROM properties WHERE name = 'partitions'",
        "UPDATE latest SET value = CAST('2' AS BLOB)",
        "DROP TABLE latest",
    ],
)
async def test_changed_from_outside(tmp_path: Path, damage: str) -> None:
    """Whatever is missing or changed in the file is told, with its name, and never read as if it were whole."""
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock())
    await log.append(DELTAS, 0, [Message(b"k%d" % number, b'{"in":1}') for number in range(10)])
    await log.append(STATE, 0, [Message(b"meta", b"1")])
    await log.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(damage.replace("key = '", "key = x'").replace("x'k", "x'6b3")).rowcount != 0
    with pytest.raises(Corrupt, match=rf"^{path}: .*(restore a backup|no such table)"):
        await read_everything(path)


async def test_a_page_in_the_place_of_another(tmp_path: Path) -> None:
    """The one `run` on a file is told that the table of its state is gone, although the page in its place is whole."""
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock())
    await log.append(STATE, 0, [Message(b"meta", b"1")])
    await log.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    content = path.read_bytes()
    empty = (roots["records"] - 1) * PAGE_BYTES
    lost = (roots["latest"] - 1) * PAGE_BYTES
    path.write_bytes(content[:lost] + content[empty : empty + PAGE_BYTES] + content[lost + PAGE_BYTES :])
    with pytest.raises(Corrupt, match=rf"^{path}: .*the state of the partitions is damaged"):
        await SqliteLog.open(path, clock=SystemClock(), exclusive=True)


async def read_everything(path: Path) -> None:
    log = await SqliteLog.open(path, clock=SystemClock())
    try:
        await read_all(log, DELTAS, 0)
        await log.snapshot(STATE, 0)
    finally:
        await log.close()


# ---------------------------------------------------------------- in use


async def test_own_appends_wake_without_polling(tmp_path: Path) -> None:
    """Readers of the same process are woken directly, within milliseconds, and not by looking now and then."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), poll_s=None)
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    for number in range(20):
        async with waiting_for(log, DELTAS, 0, number) as reader:
            await log.append(DELTAS, 0, messages("a"))
            acknowledged_at = loop.time()
            await reader
            latencies.append(loop.time() - acknowledged_at)
    assert sorted(latencies)[10] < 0.05
    await log.close()


async def test_appends_of_one_moment_share_a_commit(tmp_path: Path) -> None:
    """A hundred appends that come while a commit is under way cost a few transactions, not a hundred."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock(), poll_s=None)
    await asyncio.gather(*(log.append(DELTAS, 0, messages(str(number))) for number in range(100)))
    size_of_one_by_one = 100 * 2 * 8192  # each commit writes at least two pages to the write-ahead log
    assert (tmp_path / "log.db-wal").stat().st_size < size_of_one_by_one / 3
    await log.close()


async def test_someone_elses_append_survives_a_cancelled_one(tmp_path: Path) -> None:
    """An appender that gives up waiting takes nobody else's append along."""
    log = await SqliteLog.open(tmp_path / "log.db", clock=SystemClock())
    given_up, patient = (asyncio.create_task(log.append(DELTAS, 0, messages(name))) for name in ("given up", "patient"))
    await asyncio.sleep(0)
    given_up.cancel()
    await patient
    assert "patient" in values(await read_all(log, DELTAS, 0))
    await log.close()


async def test_space_is_used_again(tmp_path: Path) -> None:
    """With retention the file stops growing: 40 times its content goes through it."""
    clock = SettableClock()
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=clock, exclusive=True, retention_ms={DELTAS: 10 * DAY_MS})
    sizes = []
    for day in range(400):
        clock.at = START_MS + day * DAY_MS
        log.release(DELTAS, 0, await log.append(DELTAS, 0, [Message(b"vm1/1", os.urandom(20_000))] * 5))
        sizes.append(path.stat().st_size)
    first, end = await log.bounds(DELTAS, 0)
    assert 0 < end - first <= 5 * 15
    assert sizes[-1] < 5 * 15 * 20_000 * 2 + 8_000_000
    assert sizes[-1] <= max(sizes[:200]) + 100_000
    await log.close()


async def test_compacted_space_is_used_again(tmp_path: Path) -> None:
    """Checkpoints replace their pages: the file does not grow with their number."""
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    async with log.take_over("tracker", 0) as lease:
        for number in range(60):
            pages = [Message(f"{page}/{number % 2}".encode(), os.urandom(200_000)) for page in range(3)]
            await lease.write(STATE, [*pages, Message(b"meta", b"1")])
    assert len(await log.snapshot(STATE, 0)) == 7
    await log.close()
    assert path.stat().st_size < 6 * 200_000 * 3
    await log.close()


def test_warped_time_waits_for_the_disk(tmp_path: Path) -> None:
    """On a warped loop a deadline does not pass while the log is at work, and append times follow the loop."""

    async def main(clock: WarpClock) -> list[int]:
        log = await SqliteLog.open(tmp_path / "log.db", clock=clock, poll_s=None)
        for _ in range(50):
            async with asyncio.timeout(0.001):
                await log.append(CHANGES, 0, messages("a"))
            await asyncio.sleep(3600)
        timestamps = [record.timestamp for record in await read_all(log, CHANGES, 0)]
        await log.close()
        return timestamps

    assert run_warped(main, start_ms=START_MS) == [START_MS + hour * 3_600_000 for hour in range(50)]


# ---------------------------------------------------------------- backup


async def test_backup_while_in_use(tmp_path: Path) -> None:
    """A backup is a log as of one instant: it has what was there when it began, and nothing of what came meanwhile."""
    path, target = tmp_path / "log.db", tmp_path / "copy.db"
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    written = [Message(b"k", os.urandom(10_000)) for _ in range(2000)]
    await log.append(DELTAS, 0, written)
    loop = asyncio.get_running_loop()
    seen: list[tuple[int, int]] = []

    def progress(done: int, whole: int) -> None:
        seen.append((done, whole))
        if len(seen) <= 5:
            asyncio.run_coroutine_threadsafe(log.append(DELTAS, 0, messages("meanwhile")), loop).result()

    await asyncio.to_thread(backup, path, target, progress)
    assert len(await read_all(log, DELTAS, 0)) > len(written) + 1
    await log.close()
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 2000
    copy = await SqliteLog.open(target, clock=SystemClock(), exclusive=True)
    assert [record.value for record in await read_all(copy, DELTAS, 0)] == [message.value for message in written]
    await copy.close()
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]


def test_backup_refuses(tmp_path: Path) -> None:
    """Nothing there to copy, or something there already: refused, and nothing is touched."""
    with pytest.raises(Misconfigured, match="no such file"):
        backup(tmp_path / "log.db", tmp_path / "copy.db")
    (tmp_path / "log.db").write_bytes(b"")
    (tmp_path / "copy.db").write_bytes(b"precious")
    with pytest.raises(Misconfigured, match="exists already"):
        backup(tmp_path / "log.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"precious"
    with pytest.raises(Misconfigured, match="another program"):
        backup(tmp_path / "log.db", tmp_path / "copy2.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "log.db"]
