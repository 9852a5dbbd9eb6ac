"""Measures answers by the route's template: what stands in a path is nobody's label."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.metrics.web import WebMetrics

LIVE = "text/event-stream"


class Measured:
    """Middleware."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, is_live = time.perf_counter(), 500, False

        async def noting(message: Message) -> None:
            nonlocal status, is_live
            if message["type"] == "http.response.start":
                status = message["status"]
                is_live = any(name == b"content-type" and LIVE.encode() in value for name, value in message["headers"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            seconds = None if is_live else time.perf_counter() - began
            self._metrics.answered(route_of(scope), status, seconds)


def route_of(scope: Scope) -> str:
    """The template of the route that answered; `none` if there was none."""
    return str(getattr(scope.get("route"), "path", None) or "none")
