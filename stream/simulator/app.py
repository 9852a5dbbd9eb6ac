"""The simulator as an ASGI application: access, latency, sleep and faults around the functions of the API.

In a test it hangs on `httpx.ASGITransport(app=create_app(world))`; `stream.simulator.server` puts it behind a socket.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import httpx
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from stream.core.errors import Rejected
from stream.simulator.access import Access
from stream.simulator.faults import AFTER, BEFORE, Fault, Faults
from stream.simulator.functions import Call, Functions, refusal
from stream.simulator.habits import mix
from stream.simulator.knobs import Knobs
from stream.simulator.reply import (
    HANDLER_NOT_FOUND,
    INVENTED_INTERNAL,
    INVENTED_TOO_MANY_REQUESTS,
    TOKEN_EXPIRED,
    UNAUTHORIZED,
    Reply,
    asleep,
    error,
    other_types,
)
from stream.simulator.world import World

Function: TypeAlias = Callable[[Call], Reply]

MOST_CALLS = 1000
"""So many of the latest calls are remembered."""


class _Number(IntegerConvertor):
    """An id in a path: what has more digits is none."""

    regex = "[0-9]{1,18}"


register_url_convertor("number", _Number())


def create_app(
    world: World, knobs: Knobs | None = None, faults: Faults | None = None, *, password: str | None = None
) -> Simulator:
    """An ASGI application over this world; the seed of the world gives the password if none is given."""
    knobs = knobs or Knobs()
    faults = faults or Faults(world.seed)
    return Simulator(world, knobs, faults, Access(knobs, world.seed, password=password))


class Simulator:
    """The platform as it is reached over HTTP.  World, faults and access may be changed while it runs.

    A connection that cannot be made or breaks is raised as httpx's error, which is what a client in the same process
    sees; the server turns it into a closed connection.
    """

    def __init__(self, world: World, knobs: Knobs, faults: Faults, access: Access) -> None:
        self.world = world
        self.knobs = knobs
        self.faults = faults
        self.access = access
        self.calls: deque[tuple[int, Call, int]] = deque(maxlen=MOST_CALLS)
        """(ms, call, status of the reply; 0: none) of the latest ones, oldest first."""
        self._sleeping: int | None = knobs.waking_requests if knobs.asleep else 0
        self._latest_call = world.now()
        self._second = (0, 0)
        self._router = self._routes(Functions(world, knobs, faults, access))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)

    def sleep(self, requests: int | None = None) -> None:
        """Suspended: 503 for so many requests, or until `wake`."""
        self._sleeping = requests

    def wake(self) -> None:
        self._sleeping = 0

    def _routes(self, functions: Functions) -> Router:
        table: tuple[tuple[str, str, Function], ...] = (
            ("POST", "/auth/v4/public/token", functions.login),
            ("POST", "/auth/v4/token", functions.issue_token),
            ("DELETE", "/auth/v4/token/{token}", functions.logout),
            ("GET", "/vm/v3/host", functions.hosts),
            ("GET", "/vm/v3/host/{id:number}", functions.host),
            ("GET", "/vm/v3/host/{id:number}/metrics", functions.metrics),
            ("GET", "/vm/v3/host/{id:number}/history", functions.history),
            ("POST", "/vm/v3/host/{id:number}/resource", functions.change_resource),
            ("GET", "/vm/v3/task", functions.tasks),
            ("GET", "/vm/v3/task/{id:number}", functions.task),
        )
        routes = [Route(path, self._endpoint(function), methods=[method]) for method, path, function in table]
        anything = Route("/{path:path}", self._endpoint(_not_found), methods=["GET", "POST", "DELETE"])
        return Router([*routes, anything], redirect_slashes=False)

    def _endpoint(self, function: Function) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            content = await request.body()
            call = Call(request.method, request.url.path, request.path_params, request.query_params, content)
            reply = Reply(0, b"")
            try:
                reply = await self._reply(request, call, function)
            finally:
                self.calls.append((self.world.now(), call, reply.status))
            return Response(reply.body(), reply.status, media_type=self.knobs.content_type)

        return respond

    async def _reply(self, request: Request, call: Call, function: Function) -> Reply:
        if self.knobs.latency_s or self.knobs.latency_jitter_s:
            await asyncio.sleep(self.knobs.latency_s + self.faults.random.random() * self.knobs.latency_jitter_s)
        before = self.faults.strike(str(call), self.world.now(), BEFORE)
        reply = await self._refuse(before, request) if before else None
        reply = reply or self._hindrance(request, call)
        if reply is None:
            try:
                reply = function(call)
            except Rejected as rejected:
                reply = refusal(rejected)
        after = self.faults.strike(str(call), self.world.now(), AFTER)
        return await self._spoil(after, reply, request) if after else reply

    def _hindrance(self, request: Request, call: Call) -> Reply | None:
        """What keeps a call from being served at all: sleep, haste, closed functions, no token."""
        now, knobs = self.world.now(), self.knobs
        idle_ms, self._latest_call = now - self._latest_call, now
        if knobs.suspend_after_ms is not None and idle_ms > knobs.suspend_after_ms:
            self.sleep(knobs.waking_requests)
        if self._sleeping is None or self._sleeping > 0:
            self._sleeping = self._sleeping and self._sleeping - 1
            return asleep()
        second, count = self._second
        self._second = (second, count + 1) if second == now // 1000 else (now // 1000, 1)
        if knobs.requests_per_second is not None and self._second[1] > knobs.requests_per_second:
            return error(429, INVENTED_TOO_MANY_REQUESTS, "Too many requests (invented)")
        if any(re.search(pattern, str(call)) for pattern in knobs.closed):
            return error(403, UNAUTHORIZED, "Unauthorized")
        if call.path == "/auth/v4/public/token":
            return None
        if not self.access.allows(request.headers.get("x-xsrf-token"), request.cookies.get("ses6"), now):
            return error(knobs.expired_status, TOKEN_EXPIRED, "Token expired or unauthorized")
        return None

    async def _refuse(self, fault: Fault, request: Request) -> Reply | None:
        """A fault before any work.  None: go on."""
        match fault.effect:
            case "refused":
                raise httpx.ConnectError("simulated: connection refused")
            case "unread":
                await _never(request)
            case "unavailable":
                return asleep()
            case "rate_limit":
                return error(429, INVENTED_TOO_MANY_REQUESTS, "Too many requests (invented)")
            case "lose_tokens":
                self.access.lose_tokens()
                return None
        return error(500, INVENTED_INTERNAL, "Internal error (invented)")

    async def _spoil(self, fault: Fault, reply: Reply, request: Request) -> Reply:
        """A fault after the work."""
        match fault.effect:
            case "reset":
                raise httpx.ReadError("simulated: connection reset")
            case "unanswered":
                await _never(request)
            case "slow":
                await asyncio.sleep(fault.delay_s)
            case "html":
                return Reply(200, b"<!doctype html><title>Sign in</title><p>Please sign in</p>")
            case "truncated":
                return Reply(reply.status, reply.body()[: len(reply.body()) // 2])
            case "wrong_types":
                return Reply(reply.status, other_types(reply.content))
            case "bare_error":
                return Reply(500, {})
            case "half_list" if isinstance(reply.content, dict) and "list" in reply.content:
                return Reply(reply.status, reply.content | {"list": self._half(reply.content["list"])})
        return reply

    def _half(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if mix(self.faults.seed, row["id"]) % 2]


async def _never(request: Request) -> NoReturn:
    """Waits until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise httpx.ReadError("simulated: no answer")


def _not_found(call: Call) -> Reply:
    return error(404, HANDLER_NOT_FOUND, "Handler not found")
