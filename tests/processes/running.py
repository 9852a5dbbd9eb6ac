"""Starting the command as a process, and waiting for what it says."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("quota-stream")
DEADLINE_S = 60.0
"""For whatever must come; it mostly comes at once."""


class Running:
    """A process, whose lines of one stream can be waited for."""

    def __init__(self, process: Process, lines: asyncio.StreamReader) -> None:
        self.process = process
        self._lines = lines
        self.said: list[str] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    async def line(self, part: str = "") -> str:
        """The next line that has this in it."""
        async with asyncio.timeout(DEADLINE_S):
            while line := (await self._lines.readline()).decode():
                self.said.append(line)
                if part in line:
                    return line
        raise AssertionError(f"it ended without saying {part!r}: {''.join(self.said)}")

    async def object(self) -> Any:
        """The next line, which is JSON."""
        return json.loads(await self.line())

    async def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself; its exit status."""
        async with asyncio.timeout(DEADLINE_S):
            self.said += (await self._lines.read()).decode().splitlines(keepends=True)
            return await self.process.wait()


@asynccontextmanager
async def running(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """The command, whose standard error is listened to; killed at the end if it has not ended."""
    async with _started(folder, words, environ or {}, out=DEVNULL, err=PIPE) as process:
        assert process.stderr is not None
        yield Running(process, process.stderr)


@asynccontextmanager
async def telling(folder: Path, *words: str) -> AsyncIterator[Running]:
    """The command, whose standard output is listened to; killed at the end if it has not ended."""
    async with _started(folder, words, {}, out=PIPE, err=None) as process:
        assert process.stdout is not None
        yield Running(process, process.stdout)


@asynccontextmanager
async def _started(
    folder: Path, words: tuple[str, ...], environ: Mapping[str, str], *, out: int, err: int | None
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *words,
        cwd=folder,
        stdin=DEVNULL,
        stdout=out,
        stderr=err,
        env=_environment() | dict(environ),
        limit=1 << 20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def called(folder: Path, *words: str, stdin: str = "", status: int = 0) -> str:
    """Run the command to its end; its standard output, or its standard error where it has to fail."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=_environment()
    )
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode == status, err.decode()
    return (err if status else out).decode()


async def objects(folder: Path, *words: str) -> list[Any]:
    """What the command prints, line by line."""
    return [json.loads(line) for line in (await called(folder, *words)).splitlines()]


def _environment() -> dict[str, str]:
    """Ours, without what would lead the command elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in ("QUOTA_STREAM_CONFIG", "NOTIFY_SOCKET")}
