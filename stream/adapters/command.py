"""A local command that gets each event on its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from stream.core.errors import Refused, Unavailable


class Command:
    """Implements Receiver: status 0 is "I have it", any other a refusal; too late is killed, with what it started."""

    def __init__(self, words: Sequence[str], *, timeout_s: float = 30.0) -> None:
        self._words, self._timeout_s = words, timeout_s

    async def deliver(self, event: bytes) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{self._words[0]}: cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._timeout_s):
                await process.communicate(event)
        except TimeoutError as error:
            raise Unavailable(f"{self._words[0]}: not done within {self._timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise Refused(f"{self._words[0]}: ended with status {process.returncode}")

    async def close(self) -> None:
        """Nothing is held."""
