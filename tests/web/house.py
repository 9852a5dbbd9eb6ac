"""The whole web in this process, without a socket: over a log that a tracker has counted once by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from stream.adapters.memory import MemoryLog
from stream.metrics import Metrics
from stream.replica import Replica
from stream.runtime.operating import Operating
from stream.web.access import Access
from stream.web.access.tokens import TokensFile
from stream.web.app import web_app
from stream.web.settings import AccessSettings, WebSettings
from tests.replica.stage import Counting, Fixed, following

URL = "http://quota.test"
KEY = b"k" * 64


@dataclass(frozen=True)
class House:
    app: FastAPI
    clock: Fixed
    log: MemoryLog
    replica: Replica
    settings: WebSettings
    access: Access
    tokens: TokensFile
    anna: str
    """The token of anna, who operates."""
    ben: str
    """The token of ben, who reads."""

    @asynccontextmanager
    async def client(self, token: str | None = None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A program with that token, or nobody."""
        given = headers if token is None else headers | {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers=given) as client:
            yield client

    @asynccontextmanager
    async def browser(self, token: str) -> AsyncIterator[httpx.AsyncClient]:
        """A person who is logged in with that token."""
        async with self.client() as client:
            assert (await client.post("/login", data={"token": token})).status_code == 303
            yield client


@asynccontextmanager
async def house(folder: Path, records: Sequence[Any], **settings: Any) -> AsyncIterator[House]:
    """`records` of traffic.deltas are counted, and the replica has read what came of it."""
    clock = Fixed()
    log = MemoryLog(clock, partitions=1)
    counting = Counting(log)
    counting.count(records)
    await counting.checkpoint()
    tokens = TokensFile(folder / "tokens.json")
    anna, ben = tokens.create("anna", "operate", clock.at), tokens.create("ben", "read", clock.at)
    given: dict[str, Any] = {"access": AccessSettings(tokens_file=tokens.path), "public_url": URL}
    web = WebSettings(**given | {"link_keys": lambda: (KEY,)} | settings)
    access = Access(web.access, secure=web.secure, clock=clock)
    async with following(log, clock=clock) as replica:
        operating = Operating(log, clock=clock, max_ahead_ms=3_600_000)
        app = web_app(replica, operating, access, web, clock=clock, metrics=Metrics(clock).web)
        yield House(app, clock, log, replica, web, access, tokens, anna, ben)


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method, template) of every route, those of included routers too; of a mounted app `*`."""
    yield from _routes(app.routes, "")


def _routes(routes: Sequence[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _routes(included.routes, prefix + route.include_context.prefix)
        else:
            for method in sorted(getattr(route, "methods", None) or ["*"]):
                yield method, prefix + route.path
