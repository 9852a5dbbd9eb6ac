"""Deadlines where `asyncio.timeout` alone does not reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from stream.core.errors import Unavailable
from stream.ports import Lease, Log, Role

ANSWER_S = 60.0
"""For a call on the log that somebody waits for."""


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises Unavailable when the log does not answer."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError as error:
        raise Unavailable(f"the log has not answered within {ANSWER_S:g} s") from error


@asynccontextmanager
async def taken_over(log: Log, role: Role, partition: int, *, deadline_s: float) -> AsyncIterator[Lease]:
    """As `Log.take_over`; raises TimeoutError when it takes longer than that to get the lease."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(deadline_s):
            lease = await stack.enter_async_context(log.take_over(role, partition))
        yield lease
