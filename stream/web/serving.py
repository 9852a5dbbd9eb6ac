"""An ASGI app behind a socket, inside an event loop that has other things to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from stream.core.errors import Misconfigured


class Tls(NamedTuple):
    """PEM files."""

    cert_file: Path
    key_file: Path


@asynccontextmanager
async def serving(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    tls: Tls | None = None,
    setting: str = "`--listen HOST:PORT` or off, or listen:",
) -> AsyncIterator[str]:
    """Serve HTTP while the context lasts, on a port of the system's choice if it is 0.  Yields the URL.

    Installs no signal handlers, and believes no header that names another client.  Raises Misconfigured if the address,
    which `setting` sets, cannot be had, or the certificate cannot be used.
    """
    config = uvicorn.Config(
        app, lifespan="off", access_log=False, log_level="critical", backlog=1024, proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=1,
        ssl_certfile=None if tls is None else tls.cert_file, ssl_keyfile=None if tls is None else tls.key_file,
    )  # fmt: skip
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        assert tls is not None, "nothing else is read"
        raise Misconfigured(
            f"{tls.cert_file}, {tls.key_file}: they cannot be used ({error}); give the certificate and its key as PEM"
        ) from error
    listener = _listen(host, port, setting)
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]), name="http-server")
    try:
        await server.ready.wait()
        yield _url(listener, "http" if tls is None else "https")
    finally:
        server.should_exit = True
        await task
        listener.close()


def _url(listener: socket.socket, scheme: str) -> str:
    name = listener.getsockname()
    shown = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"{scheme}://{shown}:{name[1]}"


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            undo.pop_all()
        return listener
    except (OSError, OverflowError) as error:
        cure = f"choose another one: {setting} in the configuration"
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
