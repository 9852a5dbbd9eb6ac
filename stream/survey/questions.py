"""Asks one platform, and can do nothing but ask: what is neither a GET nor our own login never leaves.

Each reply is timed, and its `Date` header compared with this machine's clock.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from stream.adapters.vmmanager import VmmanagerSettings, replies
from stream.adapters.vmmanager.access import Access
from stream.adapters.vmmanager.client import Client, Outcome, Request, Unauthorized, trust
from stream.adapters.vmmanager.settings import Credentials, LongLivedToken
from stream.core.errors import QuotaStreamError, Refused, Unavailable
from stream.ports import Clock
from stream.survey.points import Series, series

RX, TX = "net_rx_summary", "net_tx_summary"
PAUSES_S = (1.0, 2.0, 4.0)
LOGIN, LOGOUT = "/auth/v4/public/token", "/auth/v4/token/"
EXPIRED = "a certificate that has expired; renew it on the platform"
CERTIFICATES = {
    "self-signed": "a certificate that no authority has signed; give it (or its authority's) with `ca_file: FILE`",
    "self signed": "a certificate that no authority has signed; give it (or its authority's) with `ca_file: FILE`",
    "issuer": "a certificate of an authority that is not known here; give the authority's with `ca_file: FILE`",
    "hostname mismatch": "a certificate for another name; write the name that it is for into `url`",
    "ip address mismatch": "a certificate that is not for this address; write the name that it is for into `url`",
    "expired": EXPIRED,
    "not yet valid": "a certificate that is not valid yet; set this machine's clock, or renew the certificate",
}
"""What OpenSSL says of a certificate, and in our words."""


class ReadOnly(httpx.AsyncBaseTransport):
    """Lets through what changes nothing, and listens."""

    def __init__(self, inner: httpx.AsyncBaseTransport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.ahead_ms: list[float] = []
        """How far the platform's clock is ahead of ours, by each reply that has a date."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        harmless = method == "GET" or (method, path) == ("POST", LOGIN)
        assert harmless or (method == "DELETE" and path.startswith(LOGOUT)), f"not read-only: {method}"
        self.requests += 1
        sent = self._clock.now()
        response = await self._inner.handle_async_request(request)
        self.statuses[response.status_code] += 1
        with suppress(TypeError, ValueError):  # no date, or none that is one
            date_ms = parsedate_to_datetime(response.headers.get("date", "")).timestamp() * 1000 + 500
            self.ahead_ms.append(date_ms - (sent + self._clock.now()) / 2)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Questions:
    """Raises Unavailable and Refused, with words for people."""

    def __init__(
        self,
        name: str,
        settings: VmmanagerSettings,
        secret: Credentials | LongLivedToken,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        inner = transport or httpx.AsyncHTTPTransport(verify=trust(name, settings), trust_env=False)
        self.wire = ReadOnly(inner, clock)
        self.seconds: dict[str, list[float]] = {}
        """Of each request that was answered well, by its kind."""
        self.suspended = 0
        self.empty: Counter[str] = Counter()
        """How "no data" looked, and how often."""
        self._client = Client(name, settings, self._observe, self.wire)
        self._access = Access(self._client, secret)

    async def login(self) -> None:
        await self._access.token()

    async def hosts(self) -> Any:
        """The reply with the list of all machines, as it comes."""
        return await self._ask(Request("list", "GET", "/vm/v3/host"))

    async def exists(self, number: int) -> bool:
        """Whether there is a machine with this id.  Raises Refused if it may not be asked."""
        try:
            await self._ask(Request("host", "GET", f"/vm/v3/host/{number}"))
        except Refused as error:
            if "HTTP 404" in str(error) or f"code {replies.NO_SUCH_INSTANCE}" in str(error):
                return False
            raise
        return True

    async def points(self, number: int, start: str, end: str, interval: str, target: str = RX) -> Series:
        """The points of a machine between two instants as the platform reads them."""
        query = f"target={target}&from={start}&until={end}&output=single&interval={interval}"
        reply = await self._ask(Request("metrics", "GET", f"/vm/v3/host/{number}/metrics", query))
        try:
            found = series(reply)
        except replies.Odd as error:
            raise Unavailable(f"{self.name}: metrics of {number}: {error}") from error
        if not found:
            self.empty["[]" if reply == [] else "empty datapoints"] += 1
        return found

    async def close(self) -> None:
        await self._access.close()
        await self._client.close()

    async def _ask(self, request: Request) -> Any:
        """The reply; "too many requests" is waited out for some seconds."""
        token = await self._access.token()
        for pause_s in (*PAUSES_S, None):
            refused = self.wire.statuses[429]
            try:
                return await self._client.call(request, token)
            except Unauthorized as error:
                raise Refused(f"{error}; the token is not taken") from error
            except Unavailable:
                if pause_s is None or self.wire.statuses[429] == refused:
                    raise
                await asyncio.sleep(pause_s)
        raise AssertionError

    def _observe(self, _platform: str, kind: str, outcome: Outcome, seconds: float) -> None:
        if outcome == "ok":
            self.seconds.setdefault(kind, []).append(seconds)
        self.suspended += outcome == "suspended"


def is_closed(error: QuotaStreamError) -> bool:
    """Whether the function is closed to outside callers: asking again is of no use."""
    return f"code {replies.CLOSED_FUNCTION}" in str(error)


def in_words(error: QuotaStreamError) -> str:
    """What went wrong, with a cure where there is one."""
    for cause in _causes(error):
        text = str(cause).lower()
        if isinstance(cause, ssl.SSLError | httpx.ConnectError) and "certificate" in text:
            told = next(
                (words for sign, words in CERTIFICATES.items() if sign in text), "a certificate that is no good"
            )
            return f"the platform shows {told} ({cause})"
    text = str(error)
    if is_closed(error):
        return f"{text}; the function is closed to this account: use an administrator's"
    if "HTML where JSON was expected" in text:
        return f"{text}; is the url that of the VMmanager itself, without a path or a page for signing in before it?"
    return text


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
