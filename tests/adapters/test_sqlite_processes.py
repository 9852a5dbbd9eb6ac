"""The embedded log among real processes, real kills and a real full disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.adapters.sqlite_file import backup
from stream.core.errors import Corrupt, InUse, Misconfigured, QuotaStreamError, Truncated, Unavailable
from stream.ports import CHANGES, DELTAS, STATE, Message
from tests.adapters.process import APPENDERS, PAGES
from tests.adapters.world import DEADLINE_S, messages, read_all, values

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def process(role: str, path: Path) -> AsyncIterator[Process]:
    """Another process on the file, killed at the end if it has not ended."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.adapters.process", role, str(path), stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def line_of(child: Process) -> str:
    """The next line that it says; empty when it has ended."""
    assert child.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        return (await child.stdout.readline()).decode().strip()


async def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """While a process holds the file, another `run` is refused with its pid, and others may append.

    The lock dies with its holder.
    """
    path = tmp_path / "log.db"
    async with process("hold", path) as holder:
        assert await line_of(holder) == "holding"
        with pytest.raises(InUse, match=rf"process {holder.pid} runs on it; stop that one first"):
            await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
        beside = await SqliteLog.open(path, clock=SystemClock())
        await beside.append(DELTAS, 0, messages("beside"))
        await beside.close()
        holder.kill()
        await holder.wait()
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    assert values(await read_all(log, DELTAS, 0)) == ["beside"]
    await log.close()


async def test_appends_of_others_are_seen_soon(tmp_path: Path) -> None:
    """A waiting reader sees what another process appends within a second, time after time."""
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    async with process("append", path) as appender, aclosing(log.read(DELTAS, 0, 0, wait_s=DEADLINE_S)) as fetches:
        assert await line_of(appender) == "ready"
        assert appender.stdin is not None
        for number in range(5):
            appender.stdin.write(f"{number}\n".encode())
            [record] = (await anext(fetches)).records
            assert record.value == str(number).encode()
            assert time.time() * 1000 - record.timestamp < 1000
            assert await line_of(appender) == "appended"
    await log.close()


async def test_kills_lose_nothing(tmp_path: Path) -> None:
    """Killed at any instant, ten times: every acknowledged record is there, each once and in order, and checkpoints
    are whole."""
    rng = random.Random(7)
    path = tmp_path / "log.db"
    offset = checkpoint = 0
    for _ in range(10):
        acknowledged = {"checkpoint": checkpoint, **dict.fromkeys(map(str, range(APPENDERS)), -1)}
        async with process("work", path) as worker:
            assert await line_of(worker) == "working"
            lines = [await line_of(worker) for _ in range(rng.randrange(1, 60))]
            worker.kill()
            rest, _ = await worker.communicate()
        for line in [*lines, *rest.decode().splitlines()]:
            word, number = line.split()
            acknowledged[word] = int(number)
        checkpoint = acknowledged.pop("checkpoint")
        log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
        records = [record for record in await read_all(log, DELTAS, 0) if record.offset >= offset]
        for appender, last in acknowledged.items():
            own = [int((record.value or b"").split()[0]) for record in records if record.key == appender.encode()]
            assert own == list(range(len(own)))
            assert len(own) in (last + 1, last + 2)  # one may have been committed and not acknowledged
        snapshot = await log.snapshot(STATE, 0)
        assert {int(value) for value in snapshot.values()} in ({checkpoint}, {checkpoint + 1}, set())
        assert len(snapshot) == (PAGES + 1 if snapshot else 0)
        assert snapshot or checkpoint == 0
        decisions = [int(value) for value in values(await read_all(log, CHANGES, 0))]
        assert decisions == sorted(set(decisions))
        checkpoint = int(snapshot.get(b"meta", b"0"))
        offset = (await log.bounds(DELTAS, 0))[1]
        await log.close()


async def test_an_owner_in_another_process_is_fenced(tmp_path: Path) -> None:
    """A process that is taken over in the midst of its work finds out at its next write, and spoils nothing."""
    path = tmp_path / "log.db"
    async with process("work", path) as worker:
        assert await line_of(worker) == "working"
        while not (await line_of(worker)).startswith("checkpoint"):
            pass
        log = await SqliteLog.open(path, clock=SystemClock())
        async with log.take_over("tracker", 0) as lease:
            taken = await lease.snapshot(STATE)
            async with asyncio.timeout(DEADLINE_S):
                await worker.communicate()  # its owner is fenced, and it ends
            assert worker.returncode == 1
            assert await lease.snapshot(STATE) == taken
        await log.close()


# ---------------------------------------------------------------- a full disk


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 3 MB; False where this user may not make one."""
    mounted = os.geteuid() == 0 and not subprocess.call(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder])
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.check_call(["umount", "--lazy", folder])


class Disk:
    """A folder on which there is room for 3 MB: a small file system, or else a limit on the size of files."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._mounted = mounted
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        if mounted:
            self._ballast.write_bytes(bytes(1_500_000))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, self._limits[1]))

    def fill(self) -> None:
        """Leave no room at all."""
        if self._mounted:
            with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._limits[1]))

    def make_room(self) -> None:
        if self._mounted:
            self._ballast.unlink()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture(params=["small file system", "limit on files"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Both kinds; where no file system can be mounted, the limit stands in for it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if request.param == "limit on files":
        yield Disk(tmp_path, mounted=False)
    else:
        with small_disk(tmp_path) as mounted:
            yield Disk(tmp_path, mounted=mounted)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_full_disk(disk: Disk) -> None:
    """On a full disk appends and checkpoints say so; nothing acknowledged is lost, and with room again all goes on."""
    path = disk.folder / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    acknowledged = 0
    async with log.take_over("tracker", 0) as lease:
        await lease.write(STATE, [Message(b"meta", b"1"), Message(b"page", b"1")])
        try:
            while acknowledged < 10_000:
                await log.append(DELTAS, 0, [Message(b"%d" % acknowledged, bytes(5000))])
                acknowledged += 1
        except Unavailable:
            pass
        for _ in range(3):
            with pytest.raises(Unavailable, match=rf"{path}.*(make room|space)"):
                await lease.write(STATE, [Message(b"meta", b"2"), Message(b"page", bytes(500_000))])
        assert await lease.snapshot(STATE) == {b"meta": b"1", b"page": b"1"}
        assert len(await read_all(log, DELTAS, 0)) == acknowledged
        assert 20 < acknowledged < 10_000
        disk.make_room()
        await lease.write(STATE, [Message(b"meta", b"2"), Message(b"page", bytes(400_000))])
        await log.append(DELTAS, 0, messages("room again"))
    await log.close()
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    keys = [record.key for record in await read_all(log, DELTAS, 0)]
    assert keys == [*(b"%d" % number for number in range(acknowledged)), b"vm1/1"]
    assert (await log.snapshot(STATE, 0))[b"meta"] == b"2"
    await log.close()


async def test_opened_on_a_full_disk(disk: Disk) -> None:
    """A new log on a disk without any room is an error in words, and opens once there is room."""
    disk.fill()
    path = disk.folder / "log.db"
    for exclusive in (True, False):
        with pytest.raises(Unavailable, match=r"log\.db.*(make room|space)"):
            await SqliteLog.open(path, clock=SystemClock(), exclusive=exclusive)
    disk.make_room()
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    await log.append(DELTAS, 0, messages("a"))
    await log.close()


async def test_backup_to_a_full_disk(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A backup that finds no room says so, leaves nothing behind, and the log is none the worse for it."""
    path = tmp_path_factory.mktemp("elsewhere") / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock())
    for _ in range(8):
        await log.append(DELTAS, 0, [Message(b"k", os.urandom(100_000))])
    disk.fill()
    before = sorted(os.listdir(disk.folder))
    with pytest.raises(Unavailable, match=r"copy\.db"):
        await asyncio.to_thread(backup, path, disk.folder / "copy.db")
    assert sorted(os.listdir(disk.folder)) == before
    assert len(await read_all(log, DELTAS, 0)) == 8
    await log.close()


# ---------------------------------------------------------------- files that may not be written


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that any user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("what", ["file", "folder", "new file"])
async def test_read_only(shared_folder: Path, what: str) -> None:
    """A file or folder that this user may not write is refused at once, with what to change."""
    path = shared_folder / "log.db"
    if what != "new file":
        log = await SqliteLog.open(path, clock=SystemClock())
        await log.close()
        os.chmod(path, 0o444 if what == "file" else 0o666)
    os.chmod(shared_folder, 0o777 if what == "file" else 0o555)
    async with process("unprivileged", path) as user:
        answer = await line_of(user)
    assert answer.startswith(f"Misconfigured: {path}: cannot be opened for writing"), answer
    assert "this user must be able to write the file and its folder" in answer


# ---------------------------------------------------------------- damage


async def content(path: Path) -> object:
    """Everything that one can read in a log."""
    log = await SqliteLog.open(path, clock=SystemClock(), exclusive=True)
    try:
        topics = [await read_all(log, topic, partition) for topic in (DELTAS, CHANGES) for partition in (0, 1)]
        return topics, [await log.snapshot(STATE, partition) for partition in (0, 1)]
    finally:
        await log.close()


@pytest.mark.parametrize("seed", range(8))
async def test_damage_is_never_read(tmp_path: Path, seed: int) -> None:
    """Whatever bytes of the file are changed: either one is told, or what one reads is what was written."""
    rng = random.Random(seed)
    path = tmp_path / "log.db"
    log = await SqliteLog.open(path, clock=SystemClock(), partitions=2)
    for partition in (0, 1):
        await log.append(
            DELTAS, partition, [Message(b"vm1/%d" % n, rng.randbytes(rng.randrange(3000))) for n in range(40)]
        )
        await log.append(CHANGES, partition, [Message(b"vm1/%d" % n, b"{}", (("type", b"x"),)) for n in range(200)])
        await log.append(
            STATE, partition, [Message(b"%d" % n, rng.randbytes(rng.randrange(20_000))) for n in range(20)]
        )
    await log.close()
    whole = path.read_bytes()
    expected = await content(path)
    told: list[QuotaStreamError] = []
    for _ in range(12):
        damaged = bytearray(whole)
        start = rng.randrange(len(whole))
        for position in range(start, min(len(whole), start + rng.choice([1, 16, 4096]))):
            damaged[position] ^= rng.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            assert await content(path) == expected, f"silently changed by damage at byte {start}"
        except QuotaStreamError as error:
            told.append(error)
    assert len(told) > 3
    assert {type(error) for error in told} <= {Corrupt, Misconfigured, Truncated}
