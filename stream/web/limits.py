"""No request may send more than there is any use for."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 64 * 1024


class Limits:
    """Middleware: a body that grows too large ends in HTTPException 413, for whoever reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BODY_BYTES:
                raise HTTPException(413, f"the body is larger than {MOST_BODY_BYTES} bytes; send less")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
