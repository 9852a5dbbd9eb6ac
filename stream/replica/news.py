"""Who wants to hear when something changes, and what they have not heard yet.

    tell ---> unheard of each listener ---> a few listeners at a time, in turns: others run in between

Whoever listens hears at once if nothing was told for a while, and else at most once in a round, of all that came
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from stream.replica.model import News

AT_ONCE = 5
"""Listeners that are told at one go: what they do then takes a millisecond each."""
BETWEEN_S = 0.01
ROUND_S = 0.25
"""The least time from one round to the next."""
MOST_NAMED = 200
"""Services in what has not been heard yet; of more of them any may have changed."""


class _Listener:
    def __init__(self) -> None:
        self.unheard: dict[tuple[str, bool], News] = {}
        """By kind, and whether services are named."""
        self.told = asyncio.Event()

    def add(self, news: News) -> None:
        former = self.unheard.get((news.kind, True))
        if news.services is not None and former is not None and former.services is not None:
            news = News(news.kind, former.services | news.services)
        if news.services is not None and len(news.services) > MOST_NAMED:
            self.unheard.pop((news.kind, True), None)
            news = News(news.kind)
        self.unheard[news.kind, news.services is not None] = news


class Gazette:
    """What is told reaches everybody who listens then, if late then put together."""

    def __init__(self) -> None:
        self.version = 0
        self._listeners: dict[_Listener, None] = {}
        self._next: asyncio.TimerHandle | asyncio.Handle | None = None  # set while a round is under way

    def tell(self, news: News) -> None:
        self.version += 1
        for listener in self._listeners:
            listener.add(news)
        if self._listeners and self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """A round, if there is anything to be heard."""
        waiting = [listener for listener in self._listeners if listener.unheard]
        self._next = None
        if waiting:
            self._go_on(waiting)

    def _go_on(self, waiting: list[_Listener]) -> None:
        for listener in waiting[:AT_ONCE]:
            listener.told.set()
        later, loop = waiting[AT_ONCE:], asyncio.get_running_loop()
        if later:
            self._next = loop.call_later(BETWEEN_S, self._go_on, later)
        else:
            self._next = loop.call_later(ROUND_S, self._begin)

    async def listen(self) -> AsyncGenerator[News, None]:
        """For ever; what is told from the first `anext` on."""
        listener = _Listener()
        self._listeners[listener] = None
        try:
            while True:
                await listener.told.wait()
                while listener.unheard:
                    yield listener.unheard.pop(next(iter(listener.unheard)))
                listener.told.clear()
        finally:
            self._listeners.pop(listener, None)
