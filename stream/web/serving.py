"""An ASGI app behind a socket, inside an event loop that has other things to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from stream.core.errors import Misconfigured


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve HTTP while the context lasts, on a port of the system's choice if it is 0.  Yields the URL.

    Installs no signal handlers.  Raises Misconfigured if the address cannot be had.
    """
    listener = _listen(host, port)
    server = _Server(uvicorn.Config(app, lifespan="off", access_log=False, log_level="critical", backlog=1024))
    server.config.timeout_graceful_shutdown = 1
    task = asyncio.create_task(server.serve([listener]), name="http-server")
    try:
        await server.ready.wait()
        yield _url(listener)
    finally:
        server.should_exit = True
        await task
        listener.close()


def _url(listener: socket.socket) -> str:
    name = listener.getsockname()
    shown = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"http://{shown}:{name[1]}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            undo.pop_all()
        return listener
    except (OSError, OverflowError) as error:
        cure = "choose another one: `--listen HOST:PORT` or off, or listen: in the configuration"
        raise Misconfigured(f"cannot listen on {host}:{port}: {error}; {cure}") from error


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
