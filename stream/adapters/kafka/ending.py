"""Clients of aiokafka come to an end, whatever state they are in and whether or not a broker answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

STOP_S = 5.0


async def ended(starting: asyncio.Task[None], *ways: Callable[[], Awaitable[None]]) -> None:
    """A start is let come to its end first, as one that is cancelled leaves connections behind; then it is
    stopped."""
    await asyncio.wait({starting}, timeout=STOP_S)
    if not starting.done():
        starting.cancel()
    elif not starting.cancelled():
        starting.exception()
    await stopped(*ways)


async def stopped(*ways: Callable[[], Awaitable[None]]) -> None:
    """Try one way after the other until one of them ends in time."""
    for way in ways:
        with suppress(Exception):
            async with asyncio.timeout(STOP_S):
                await way()
                return
