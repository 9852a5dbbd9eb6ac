"""Who wants to hear when something changes, and what they have not heard yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from stream.replica.model import News

MOST_UNHEARD = 64


class Gazette:
    """What is told reaches everybody who listens then.  Whoever is slow hears that anything may have changed."""

    def __init__(self) -> None:
        self.version = 0
        self._listeners: set[asyncio.Queue[News]] = set()

    def tell(self, news: News) -> None:
        self.version += 1
        for queue in self._listeners:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                for kind in ("state", "entry", "letter"):
                    queue.put_nowait(News(kind))
            else:
                queue.put_nowait(news)

    async def listen(self) -> AsyncGenerator[News, None]:
        """For ever; what is told from the first `anext` on."""
        queue: asyncio.Queue[News] = asyncio.Queue(MOST_UNHEARD)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
