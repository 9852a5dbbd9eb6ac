"""Clients of aiokafka come to an end, whatever state they are in and whether or not a broker answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

STOP_S = 5.0

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Has work done in the background: what must end goes on ending, whoever gives up waiting for it."""


async def ended(starting: asyncio.Task[None], *ways: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A start is let come to its end first, as one that is cancelled leaves connections behind; then it is
    stopped."""
    await asyncio.wait({starting}, timeout=STOP_S)
    if not starting.done():
        starting.cancel()
    elif not starting.cancelled():
        starting.exception()
    await stopped(*ways)


async def stopped(*ways: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Try one way after the other until one of them ends well and in time.

    Each is a task of its own: aiokafka cancels tasks and awaits them, and so raises a CancelledError that is not ours.
    """
    for way in ways:
        ending = asyncio.create_task(way())
        await asyncio.wait({ending}, timeout=STOP_S)
        if not ending.done():
            ending.cancel()
        elif not ending.cancelled() and ending.exception() is None:
            return
