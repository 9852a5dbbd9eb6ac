"""Headers that keep a browser from doing what no page of ours asks for, on every answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def policy(frame_ancestors: Sequence[str] = ()) -> str:
    """The Content-Security-Policy: nothing from elsewhere, nothing inline, embedded by `frame_ancestors` alone."""
    embedding = " ".join(frame_ancestors) or "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {embedding}"
    )


DEFAULTS = {
    "Content-Security-Policy": policy(),
    "Referrer-Policy": "same-origin",  # with less than that browsers hide the origin of our own forms from ourselves
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of answers that do not set them themselves: what is personal is the rule here, and what may be stored says so."""


SECRET = {"Referrer-Policy": "no-referrer"}
"""Where the path is a customer's secret, or a part of it, whatever is answered there."""


class Headers:
    """Middleware: each answer gets the DEFAULTS that it lacks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_secret = scope["type"] == "http" and scope["path"].lstrip("/").startswith("c/")

        async def with_defaults(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (DEFAULTS | SECRET if is_secret else DEFAULTS).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_defaults if scope["type"] == "http" else send)


class Heads:
    """Middleware: HEAD is answered as GET is, with nothing but the head, which whoever serves us sees to (uvicorn)."""

    def __init__(self, app: ASGIApp, *, never: str) -> None:
        """`never`: the path whose answer does not end."""
        self._app = app
        self._never = never

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"] == self._never:
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, send)
        finally:
            scope["route"] = asked.get("route")  # for metrics and logs
