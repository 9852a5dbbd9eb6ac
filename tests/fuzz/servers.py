"""Requests to what serves HTTP: health and metrics, and the simulator.  Any path, parameters, headers and bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import orjson
from starlette.types import ASGIApp

from stream.adapters.clock import SystemClock
from stream.metrics import Metrics
from stream.simulator import Faults, Knobs, World, create_app
from stream.web.health import health_app
from tests.fuzz.mutation import Draw
from tests.fuzz.target import Loop

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
NOW = 1_773_532_800_000
DAY = 86_400_000
PATHS = ("/metrics", "/health/live", "/health/ready")
METHODS = ("GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "PATCH", "get", "")


_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
"""Nothing else gets past the server in a request's first line, except as %XX."""


class Asked(NamedTuple):
    method: str
    path: str
    """As it stands in the request line, without the query."""
    query: bytes
    headers: Headers
    body: bytes


async def answered(app: ASGIApp, asked: Asked) -> tuple[int, bytes]:
    """Status and body, as a server would get them.  Whatever the app raises is raised."""
    sent: list[Any] = []
    content = [asked.body[:100], asked.body[100:]]

    async def receive() -> dict[str, Any]:
        if not content:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": content.pop(0), "more_body": bool(content)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": "http",
            "path": unquote(asked.path),
            "raw_path": asked.path.encode("ascii", "replace"),
            "root_path": "",
            "query_string": asked.query,
            "headers": list(asked.headers),
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 8080),
        },
        receive,
        send,
    )
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


class Requests:
    """Requests, spoiled."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._asked = asked
        self._bodies = [each.body for each in asked if each.body]

    def draw(self, draw: Draw) -> Asked:
        method, path, query, headers, body = draw.pick(self._asked)
        if draw.chance(0.1):
            method = draw.pick(METHODS)
        if draw.chance(0.3):
            path = "/" + draw.text(path).lstrip("/").encode("utf-8", "replace").decode()
        if draw.chance(0.6):
            query = self._query(draw, query)
        if draw.chance(0.2):
            headers = [
                (draw.spoiled_bytes(name).lower(), draw.spoiled_bytes(value))
                for name, value in headers or [(b"host", b"x")]
            ]
        if self._bodies and draw.chance(0.7 if body else 0.05):
            body = draw.json(self._bodies)
        return Asked(method, quote(path, safe=_VISIBLE), quote(query, safe=_VISIBLE).encode(), headers, body)

    @staticmethod
    def _query(draw: Draw, query: bytes) -> bytes:
        pairs = [pair.partition(b"=") for pair in query.split(b"&")]
        at = draw.below(len(pairs))
        name, _, value = pairs[at]
        match draw.rng.randrange(5):
            case 0:
                return draw.spoiled_bytes(query)
            case 1:
                value = draw.word().encode("utf-8", "surrogatepass")
            case 2 | 3:
                value = draw.text(value.decode()).encode("utf-8", "surrogatepass")
            case _:
                value = value * draw.pick((0, 2, 300))
        pairs[at] = (name, b"=", value)
        return b"&".join(b"".join(pair) for pair in pairs)


async def nothing() -> None:
    """Asks nobody."""


class HealthSubject:
    def __init__(self) -> None:
        self._loop = Loop()
        metrics = Metrics(SystemClock())
        self._app = health_app(metrics, lambda: {"tracker": "partition 0 is not restored"}, nothing)
        self._requests = Requests([Asked("GET", path, b"a=b", [(b"host", b"x")], b"") for path in PATHS])

    def draw(self, draw: Draw) -> Asked:
        return self._requests.draw(draw)

    def take(self, given: Asked) -> bool:
        status, _ = self._loop.run(answered(self._app, given))
        assert status in (200, 404, 405, 503), f"status {status}"
        assert status != 503 or unquote(given.path).startswith("/health/ready")
        return status < 400


class SimulatorSubject:
    """The whole platform, with a token that is good; time stands still."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._begin()
        access = self._app.access
        token = [(b"x-xsrf-token", access.lasting().encode())]
        where = b"where=((consul_id+EQ+'500007')+AND+(name+EQ+'host_change_params'))"
        times = b"target=net_rx_summary&from=12:00_20260314&until=-1h&output=single&interval=5min"
        days = b"target=net_tx_summary&from=-7d&until=now&interval=1month"
        epoch = b"target=net_rx_summary&from=1773446400&until=1773532800"
        login = orjson.dumps({"email": access.email, "password": access.password})
        issue = b'{"expires_at":"2026-03-16 00:00:00","description":"x"}'
        limits = b'{"net_in_mbitps":10,"net_out_mbitps":0}'
        self._requests = Requests(
            [
                Asked("POST", "/auth/v4/public/token", b"", [], login),
                Asked("POST", "/auth/v4/token", b"", token, issue),
                Asked("DELETE", "/auth/v4/token/abc", b"", token, b""),
                Asked("GET", "/vm/v3/host", b"where=((id+EQ+'101')+OR+(name+CP+'%25vm1%25'))", token, b""),
                Asked("GET", "/vm/v3/host/101", b"", token, b""),
                *(Asked("GET", "/vm/v3/host/101/metrics", query, token, b"") for query in (times, days, epoch)),
                Asked("GET", "/vm/v3/host/101/history", b"", token, b""),
                Asked("POST", "/vm/v3/host/101/resource", b"", token, limits),
                Asked("GET", "/vm/v3/task", where, token, b""),
                Asked("GET", "/vm/v3/task/500007", b"", [(b"cookie", b"ses6=" + access.lasting().encode())], b""),
            ]
        )

    def draw(self, draw: Draw) -> Asked:
        return self._requests.draw(draw)

    def take(self, given: Asked) -> bool:
        before = self._world.happened
        status, body = self._loop.run(answered(self._app, given))
        assert status in (200, 201, 400, 401, 403, 404, 405, 409), f"status {status}"
        if body and status not in (404, 405):
            orjson.loads(body)
        accepted = status < 400
        assert accepted or self._world.happened == before, "a refused request changed the world"
        if accepted and given.method != "GET":
            self._begin()
        return accepted

    def _begin(self) -> None:
        """The same seed gives the same tokens each time."""
        self._world = World(lambda: NOW, seed=3)
        for number in range(3):
            self._world.create(since=NOW - 30 * DAY, tags=["vpn"] if number else [], name=f"vm{number}.example.com")
        self._app = create_app(self._world, Knobs(), Faults(3))
        self._app.access.lasting()
