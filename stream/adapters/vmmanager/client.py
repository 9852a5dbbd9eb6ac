"""Requests to one VMmanager: pace, patience, deadlines, and errors in words.

    path, parameters --> turn (requests a second, concurrency) --> deadline --> 503? wait and again --> JSON

A platform that has been idle is suspended and answers 503, to any function and with any body, until it is awake.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias

import httpx

from stream.adapters.vmmanager import replies
from stream.adapters.vmmanager.settings import VmmanagerSettings
from stream.core.errors import Busy, Misconfigured, Refused, Unavailable

Outcome: TypeAlias = Literal["ok", "suspended", "unauthorized", "refused", "unavailable"]
RequestObserver: TypeAlias = Callable[[str, str, Outcome, float], None]
"""Called once for each request sent: platform, what it was for ("list", "metrics", ...), outcome, seconds."""
DateObserver: TypeAlias = Callable[[str, str], None]
"""Called with what the platform says that the time is (HTTP's Date), with each answer: platform, header."""

BODY_LIMIT_BYTES = 128 * 1024 * 1024
"""A list of 50,000 machines has about 100 MB."""
BURST_S = 0.1
QUICK_TRIES = 10
SLOWEST_S = 10.0
HEADERS = httpx.Headers({"accept": "application/json", "user-agent": "quota-stream"})
TRANSIENT = frozenset({408, 425, 429})
"""Client errors that pass by themselves."""
CONFLICT = 409
"""The machine is at work: so does our simulator say it; no sample of VMmanager's own words is known."""

# httpx writes each URL, httpcore each header: with a token in them, neither belongs in any log.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class Request(NamedTuple):
    kind: str
    """What it is for: login, logout, list, metrics, total, resource, task."""
    method: Literal["GET", "POST", "DELETE"]
    path: str
    query: str = ""
    json: Mapping[str, Any] | None = None
    secret: bool = False
    """Path, content and answer hold a secret: none of them is repeated in messages."""

    def __str__(self) -> str:
        return self.kind if self.secret else f"{self.method} {self.path}"


class Reply(NamedTuple):
    status: int
    body: bytes
    seconds: float


class Unauthorized(Exception):
    """The token is not, or no longer, good; `str()` says what the platform said."""


class Pace:
    """Turns at no more than a rate, first come first served; what was missed is made up for within BURST_S."""

    def __init__(self, per_second: float) -> None:
        self._step_s = 1 / per_second
        self._next = float("-inf")

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        at = max(self._next, now - BURST_S)
        self._next = at + self._step_s
        if at > now:
            await asyncio.sleep(at - now)


class Client:
    """Sends requests, with whatever token it is given, and returns the JSON of what was answered well.

    Raises Refused where the platform said no, Busy where it says "not now", Unavailable where it could not answer or
    its answer makes no sense, and Unauthorized, which is for this adapter alone, where the token is not good.
    """

    def __init__(
        self,
        name: str,
        settings: VmmanagerSettings,
        observe: RequestObserver,
        transport: httpx.AsyncBaseTransport | None = None,
        dated: DateObserver = lambda platform, date: None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._observe = observe
        self._dated = dated
        self._pace = Pace(settings.max_requests_per_second)
        self._answered_at = float("-inf")  # when anything was last answered with something else than 503
        self._base = settings.url.rstrip("/")
        self._headers = HEADERS
        self._headers_token: str | None = None
        self._new_line = partial(_line, trust(name, settings), transport)
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()  # so that warm ones are used first
        for _ in range(settings.concurrency):
            self._free.put_nowait(self._new_line())
        self._closing: set[asyncio.Task[None]] = set()

    async def call(self, request: Request, token: str | None) -> Any:
        """The JSON of a good answer (None for an empty body)."""
        reply = await self._patiently(request, token)
        try:
            said = self._judge(request, reply, token)
        except Unauthorized:
            self._observe(self.name, request.kind, "unauthorized", reply.seconds)
            raise
        except Refused:
            self._observe(self.name, request.kind, "refused", reply.seconds)
            raise
        except Unavailable:
            self._observe(self.name, request.kind, "unavailable", reply.seconds)
            raise
        self._observe(self.name, request.kind, "ok", reply.seconds)
        return said

    async def close(self) -> None:
        while not self._free.empty():
            self._discard(self._free.get_nowait())
        if self._closing:
            await asyncio.wait(self._closing)

    async def _patiently(self, request: Request, token: str | None) -> Reply:
        """Any answer but 503, for which it waits: ten quick tries, then slower, as long as the settings allow."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, wait_s in enumerate(_waits()):
            reply = await self._send(request, token)
            if reply.status != 503:
                self._answered_at = loop.time()
                return reply
            self._observe(self.name, request.kind, "suspended", reply.seconds)
            if loop.time() + wait_s > began + self._settings.suspended_s:
                break
            if number >= QUICK_TRIES and self._answered_at > began:  # awake, then: it is only this function
                break
            await asyncio.sleep(wait_s)
        raise Unavailable(f"{self.name}: {request}: still answers 503 after {loop.time() - began:.0f} s")

    async def _send(self, request: Request, token: str | None) -> Reply:
        """One request and its whole answer, whatever its status, within the deadline."""
        loop = asyncio.get_running_loop()
        origin: Exception
        await self._pace.turn()
        line = await self._free.get()
        is_good = False
        began = loop.time()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status, body = await self._exchange(line, request, token)
            is_good = True
            return Reply(status, body, loop.time() - began)
        except TimeoutError as error:
            cause, origin = f"no answer within {self._settings.timeout_s:g} s", error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, UnicodeError) as error:
            cause, origin = _cause(error), error
        finally:
            if not is_good:  # one that was cancelled may hold on to its only connection, and would never answer again
                self._discard(line)
                line = self._new_line()
            self._free.put_nowait(line)
        self._observe(self.name, request.kind, "unavailable", loop.time() - began)
        raise Unavailable(f"{self.name}: {request}: {cause}") from origin

    def _discard(self, line: httpx.AsyncClient) -> None:
        closing = asyncio.create_task(line.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _exchange(self, line: httpx.AsyncClient, request: Request, token: str | None) -> tuple[int, bytes]:
        url = f"{self._base}{request.path}?{request.query}" if request.query else self._base + request.path
        # Made here and not by the client's build_request, which costs as much again.
        sent = httpx.Request(request.method, url, headers=self._headers_with(token), json=request.json)
        response = await line.send(sent, stream=True, auth=None)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BODY_LIMIT_BYTES:
                    raise httpx.StreamError(f"the answer is longer than {BODY_LIMIT_BYTES} bytes")
            if (date := response.headers.get("date")) is not None:
                self._dated(self.name, date)
            return response.status_code, bytes(body)
        finally:
            await response.aclose()

    def _headers_with(self, token: str | None) -> httpx.Headers:
        if token is None:
            return HEADERS
        if token != self._headers_token:
            self._headers = httpx.Headers({**HEADERS, "x-xsrf-token": token, "cookie": f"ses6={token}"})
            self._headers_token = token  # last: whoever finds it here finds its headers
        return self._headers

    def _judge(self, request: Request, reply: Reply, token: str | None) -> Any:
        """What a reply comes to: its JSON, or an error."""
        said, odd = None, ""
        if reply.body.strip():
            try:
                said = replies.parse(reply.body)
            except replies.Odd as error:
                odd = str(error)
        complaint = replies.complaint(said)
        if 200 <= reply.status < 300 and complaint is None:
            if odd:
                raise Unavailable(f"{self.name}: {request}: {odd}")
            return said
        words = f"{self.name}: {request}: {_in_words(request, reply.status, complaint, token)}"
        code = complaint.code if complaint else None
        if code == replies.TOKEN_EXPIRED or (reply.status == 401 and code not in replies.REFUSALS):
            raise Unauthorized(words)
        if reply.status == CONFLICT and code not in replies.REFUSALS:
            raise Busy(words)
        if code in replies.REFUSALS or (400 <= reply.status < 500 and reply.status not in TRANSIENT):
            raise Refused(words)
        raise Unavailable(words)


def _line(verify: ssl.SSLContext, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """A client of one connection.  A pool of sixteen costs twice as much per request as sixteen pools of one, since
    httpx looks at all connections of a pool several times for each request."""
    return httpx.AsyncClient(
        transport=transport,
        verify=verify,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0),
        timeout=None,  # one deadline over all of a request, in _send
        trust_env=False,  # whom a secret is sent to stands in the configuration alone
    )


def _waits() -> Iterator[float]:
    """Seconds to wait after each 503 in a row."""
    yield from (0.1 * attempt for attempt in range(1, QUICK_TRIES + 1))
    wait_s = 1.0
    while True:
        wait_s = min(SLOWEST_S, wait_s * 1.5)
        yield wait_s


def _in_words(request: Request, status: int, complaint: replies.Complaint | None, token: str | None) -> str:
    words = f"HTTP {status}"
    if 300 <= status < 400:
        words += ", a redirection, which is not followed; check the url"
    if complaint is not None and complaint.code is not None:
        words += f", code {complaint.code}"
    if complaint is not None and complaint.text and not request.secret:
        words += f": {complaint.text.replace(token, '***') if token else complaint.text}"
    return words


def _cause(error: Exception) -> str:
    """One line; httpx leaves the text of some errors empty, and in that of others stands what we sent."""
    if isinstance(error, httpx.LocalProtocolError | UnicodeError):
        return f"cannot be sent ({type(error).__name__})"
    return f"{replies.text(error)} ({type(error).__name__})" if str(error) else type(error).__name__


def trust(name: str, settings: VmmanagerSettings) -> ssl.SSLContext:
    """What httpx is to verify certificates with; dear to make, so to be shared.  Raises Misconfigured."""
    if settings.ca_file is None or not settings.verify:
        return _usual_trust(settings.verify)
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"{name}: ca_file {settings.ca_file}: {error}") from error


@cache
def _usual_trust(verify: bool) -> ssl.SSLContext:
    """The same for all platforms."""
    return httpx.create_ssl_context(verify=verify, trust_env=False)
