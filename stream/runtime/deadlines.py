"""Deadlines where `asyncio.timeout` alone does not reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from stream.ports import Lease, Log, Role


@asynccontextmanager
async def taken_over(log: Log, role: Role, partition: int, *, deadline_s: float) -> AsyncIterator[Lease]:
    """As `Log.take_over`; raises TimeoutError when it takes longer than that to get the lease."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(deadline_s):
            lease = await stack.enter_async_context(log.take_over(role, partition))
        yield lease
