"""The simulator behind a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from stream.simulator.app import Simulator
from stream.web.serving import serving


@dataclass(frozen=True, slots=True)
class Address:
    """What a client needs."""

    url: str
    email: str
    password: str
    token: str
    """A long-lived one, instead of e-mail and password."""


@asynccontextmanager
async def serve(simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Address]:
    """Serves HTTP as long as the context lasts, from a port of the system's choice if it is 0; installs no signal
    handlers.  Raises Misconfigured if the address cannot be had."""
    async with serving(_closing(simulator), host, port) as url:
        access = simulator.access
        yield Address(url, access.email, access.password, access.lasting())


def _closing(app: ASGIApp) -> ASGIApp:
    """Turns httpx's errors, which mean "no connection", into a connection that is closed without an answer."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except httpx.TransportError:
            # An answer that is begun and not ended makes uvicorn close the connection.
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"1")]})

    return closing
