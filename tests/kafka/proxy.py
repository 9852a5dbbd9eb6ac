"""A line between clients and one broker that can be slow, mute, or cut."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import FIRST_COMPLETED, Queue, StreamReader, StreamWriter
from collections.abc import Coroutine
from typing import Any, Self

PIECE_BYTES = 1 << 16
PIECES = 1024
"""On their way in one direction; whoever sends more waits."""


class Proxy:
    """Listens on a port of loopback and passes on to another, both ways.  A context manager."""

    def __init__(self, port: int, target: int) -> None:
        self.delay_s = 0.0
        """How long each piece is on its way, in each direction; later pieces never overtake."""
        self._port, self._target = port, target
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server:
            self._server.close()
        self._server = None
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def mend(self) -> None:
        """Take connections again after `cut`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def drop(self) -> None:
        """End all connections; new ones work."""
        await self.cut()
        await self.mend()

    def mute(self) -> None:
        """Connections stay and are taken, but nothing comes through."""
        self._passing.clear()

    def unmute(self) -> None:
        """What was held back comes through, as after a fault of the network."""
        self._passing.set()

    def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        line = asyncio.get_running_loop().create_task(self._line(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _line(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, until one of its sides ends it."""
        with contextlib.closing(writer), contextlib.suppress(OSError):
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target)
            with contextlib.closing(back_writer):
                await _first(self._pass_on(reader, back_writer), self._pass_on(back_reader, writer))

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        time = asyncio.get_running_loop().time
        under_way: Queue[tuple[float, bytes]] = Queue(PIECES)

        async def take() -> None:
            while piece := await reader.read(PIECE_BYTES):
                await under_way.put((time() + self.delay_s, piece))
            await under_way.join()

        async def give() -> None:
            while True:
                due, piece = await under_way.get()
                await asyncio.sleep(max(0.0, due - time()))
                await self._passing.wait()
                writer.write(piece)
                await writer.drain()
                under_way.task_done()

        await _first(take(), give())


async def _first(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them until one of them ends, then end the others."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
