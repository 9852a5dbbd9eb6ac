"""What changes, told as it happens: server-sent events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, params
from sse_starlette import EventSourceResponse, ServerSentEvent

from stream.metrics.web import WebMetrics
from stream.replica.model import News
from stream.replica.replica import Replica
from stream.web.access import Access
from stream.web.api.answers import PREFIX, errors
from stream.wire.fields import MAX_ID_CHARACTERS

MOST_CLIENTS = 500
MOST_EACH = 100
"""Of one token, or of one whom a trusted proxy names: a fault of one program leaves room for the others."""
MOST_NAMED = 100
"""Services in one event; of more of them any may have changed."""
HEARTBEAT_S = 15.0
SEND_S = 30.0
"""Whoever does not take an event for so long is let go."""
AGAIN_MS = 3000
"""When a browser asks again after a connection ended."""
MOST_ENCODED = 64
ALIVE = ServerSentEvent(comment="alive").encode()


class Events:
    """Live connections.  A slow one gets fewer events and not late ones: news that nobody took are put together."""

    def __init__(
        self,
        replica: Replica,
        access: Access,
        metrics: WebMetrics,
        *,
        most: int = MOST_CLIENTS,
        most_each: int = MOST_EACH,
    ) -> None:
        self._replica = replica
        self._access = access
        self._metrics = metrics
        self._most, self._most_each = most, most_each
        self._clients: Counter[str] = Counter()

    def router(self) -> APIRouter:
        """Its only route."""
        router = APIRouter()
        router.add_api_route(
            "/events",
            self.events,
            methods=["GET"],
            response_class=EventSourceResponse,
            dependencies=[Depends(self._place)],
        )
        return router

    async def _place(self, request: Request) -> AsyncIterator[None]:
        """A live connection, from before its answer begins until that has ended."""
        principal = self._access.principal(request)
        name = principal.name if principal else ""
        if self._clients.total() >= self._most:
            raise _full(f"there are {self._most} live connections; try again later")
        if self._clients[name] >= self._most_each:
            raise _full(f"{name} has {self._most_each} live connections; end some, or try again later")
        self._clients[name] += 1
        try:
            yield
        finally:
            self._clients[name] -= 1
            self._clients += Counter()  # forgets who has none

    async def events(
        self,
        request: Request,
        service: Annotated[
            str | None, Query(max_length=MAX_ID_CHARACTERS, description="only what is, or may be, about this one")
        ] = None,
    ) -> EventSourceResponse:
        """Server-sent events: `state`, `entry` or `letter` says that something of the kind has changed, and its data
        `{"services": [...], "version": n}` of which services; null: of any.  Ask anew for what you show.

        The first event, `hello`, comes at once.
        """
        told = self._told(lambda: self._access.principal(request) is not None, service)
        return EventSourceResponse(told, ping=24 * 3600, send_timeout=SEND_S, headers={"X-Accel-Buffering": "no"})

    async def _told(self, may_go_on: Callable[[], bool], service: str | None) -> AsyncGenerator[bytes, None]:
        with self._metrics.live():
            async with aclosing(with_heartbeats(self._replica.news(), HEARTBEAT_S)) as news:
                await anext(news)
                yield encoded("hello", None, self._replica.version)
                async for one in news:
                    if not may_go_on():  # a token that was revoked ends what it began
                        return
                    if one is None:
                        yield ALIVE
                    elif service is None or one.services is None or service in one.services:
                        yield encoded(one.kind, one.services, self._replica.version)


def _full(detail: str) -> HTTPException:
    return HTTPException(503, detail, {"Retry-After": "30"})


@lru_cache(MOST_ENCODED)
def encoded(kind: str, services: frozenset[str] | None, version: int) -> bytes:
    """An event, written once for all who listen."""
    named = sorted(services) if services is not None and len(services) <= MOST_NAMED else None
    data = orjson.dumps({"services": named, "version": version}).decode()
    return ServerSentEvent(data, event=kind, retry=AGAIN_MS).encode()


async def with_heartbeats(news: AsyncIterator[News], every_s: float) -> AsyncGenerator[News | None, None]:
    """The news; None at once, when they are listened to, and whenever there were none for so long."""
    coming = asyncio.ensure_future(anext(news))
    try:
        await asyncio.sleep(0)  # from here on nothing is missed
        yield None
        while True:
            done, _ = await asyncio.wait({coming}, timeout=every_s)
            if not done:
                yield None
                continue
            one, coming = coming.result(), asyncio.ensure_future(anext(news))
            yield one
    finally:
        coming.cancel()
        await asyncio.wait({coming})


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "events for as long as somebody listens", "content": {"text/event-stream": {}}}
}


def events_router(replica: Replica, access: Access, metrics: WebMetrics, first: Sequence[params.Depends]) -> APIRouter:
    router = APIRouter(
        prefix=PREFIX, tags=["events"], dependencies=first, responses=errors(401, 403, 422, 429, 503) | STREAM
    )
    router.include_router(Events(replica, access, metrics).router())
    return router
