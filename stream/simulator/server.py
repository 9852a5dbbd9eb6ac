"""The simulator behind a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from stream.core.errors import Misconfigured
from stream.simulator.app import Simulator


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
    listener = _listen(host, port)
    config = uvicorn.Config(
        _closing(simulator),
        lifespan="off",
        access_log=False,
        log_level="critical",
        timeout_graceful_shutdown=1,
        backlog=1024,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        await server.ready.wait()
        name = listener.getsockname()
        shown = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
        access = simulator.access
        yield Address(f"http://{shown}:{name[1]}", access.email, access.password, access.lasting())
    finally:
        server.should_exit = True
        await task
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise Misconfigured(f"cannot listen on {host}:{port}: {error}; choose another address") from error
    return listener


class _Server(uvicorn.Server):
    """Says when it is ready, and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _closing(app: ASGIApp) -> ASGIApp:
    """Turns httpx's errors, which mean "no connection", into a connection that is closed without an answer."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except httpx.TransportError:
            # An answer that is begun and not ended makes uvicorn close the connection.
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"1")]})

    return closing
