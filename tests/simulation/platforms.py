"""The platform of a whole world, and the network before it: what is under way there belongs to no process.

process   --request--.                     .--answer-->
network               '--before_s--.      '--after_s
platform                          does it           also when the process is dead, or has long given it up
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

import httpx
import orjson

from stream.simulator import Simulator
from tests.simulation.process import current, outside
from tests.simulation.trace import Trace
from tests.simulation.weather import Course, Weather

LATER = 5
"""A late request may be so much later than a late call on the log: also long after it was given up."""
PATIENCE_S = 120.0
"""So long the platform keeps a connection on which it says nothing."""


class Post(NamedTuple):
    """A request for other limits, as it left its process."""

    at: int
    who: str
    service: str
    limits: tuple[int | None, int | None]
    """Mbit/s in and out, as the platform writes them."""
    known: int
    """How many entries the log's journal had."""


class Network(httpx.AsyncBaseTransport):
    """The way to one platform, for all processes."""

    def __init__(self, app: Simulator, weather: Weather, trace: Trace, journal: Sequence[object]) -> None:
        self._app, self._weather, self._trace, self._journal = app, weather, trace, journal
        self._tasks: set[asyncio.Task[None]] = set()
        self.posts: list[Post] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what httpx does when the network fails."""
        content = await request.aread()
        who, what = current(), f"{request.method} {request.url.raw_path.decode()}"
        if what.endswith("/resource"):
            self._note_post(who, request.url.path, content)
        course = self._weather.course()
        before_s = course.before_s + (LATER * course.late_s if course.fate == "late" else 0.0)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[httpx.Response] = loop.create_future()
        if course.fate != "ok":
            self._trace.note(who, what.partition("?")[0], course.fate)
        loop.call_later(before_s, self._arrive, request, content, course, answer, context=outside())
        return await answer

    def _note_post(self, who: str, path: str, content: bytes) -> None:
        body = orjson.loads(content)
        limits = body["net_in_mbitps"], body["net_out_mbitps"]
        number = path.split("/")[-2]
        self.posts.append(Post(self._app.world.now(), who, f"vm1/{number}", limits, len(self._journal)))
        self._trace.note(who, f"POST {number}", limits)

    def _arrive(
        self, request: httpx.Request, content: bytes, course: Course, answer: asyncio.Future[httpx.Response]
    ) -> None:
        """It is at the platform, or lost."""
        if course.fate == "refused":
            _fail(answer, httpx.ConnectError("simulated: connection refused"))
        elif course.fate != "unanswered":
            task = asyncio.get_running_loop().create_task(self._serve(request, content, course, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, request: httpx.Request, content: bytes, course: Course, answer: asyncio.Future[httpx.Response]
    ) -> None:
        try:
            response = await respond(self._app, request, content, answer)
        except httpx.HTTPError as error:
            _fail(answer, error)
            return
        await asyncio.sleep(course.after_s)
        if course.fate == "answer lost":
            _fail(answer, httpx.ReadError("simulated: connection lost"))
        elif course.fate == "ok" and not answer.done():
            answer.set_result(response)


async def respond(
    app: Simulator, request: httpx.Request, content: bytes, answer: asyncio.Future[httpx.Response]
) -> httpx.Response:
    """What the application makes of a request."""
    parts: list[MutableMapping[str, Any]] = []
    incoming = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if incoming:
            return incoming.pop()
        await asyncio.wait({answer}, timeout=PATIENCE_S)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        parts.append(message)

    await app(_scope(request), receive, send)
    start, *bodies = parts
    body = b"".join(part.get("body", b"") for part in bodies)
    return httpx.Response(start["status"], headers=start["headers"], content=body)


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }


def _fail(answer: asyncio.Future[httpx.Response], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
