"""Waiting, in a world's own time, for what it does not tell by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def held(condition: Callable[[], object], *, within_s: float, look_s: float) -> bool:
    """Look every `look_s` whether it holds, up to the deadline."""
    until_s = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > until_s:
            return False
        await asyncio.sleep(look_s)
    return True
