"""A webhook: each event a POST, signed so that the receiver knows whom it comes from and when.

Quota-Stream-Signature: t=<seconds since the epoch>,v1=<hex HMAC-SHA256 of "<t>." and the body>
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx

from stream.core.errors import Misconfigured, Refused, Unavailable
from stream.ports import Clock

SIGNATURE = "Quota-Stream-Signature"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
PASSING = frozenset({408, 409, 425, 429})
"""Client errors that pass by themselves."""
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """The header's value."""
    mac = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"


class Webhook:
    """Implements Receiver."""

    def __init__(
        self,
        url: str,
        secret: Callable[[], str],
        *,
        clock: Clock,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`secret` is read for each event, so that it can be changed.  Raises Misconfigured."""
        self._url, self._secret, self._clock = url, secret, clock
        try:
            verify = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"notify: {ca_file}: no certificates can be read from it: {error}") from error
        self._client = httpx.AsyncClient(
            timeout=timeout_s, verify=verify, transport=transport, follow_redirects=False, trust_env=False
        )

    async def deliver(self, event: bytes) -> None:
        try:
            secret = self._secret().encode()
        except Misconfigured as error:
            raise Unavailable(str(error)) from error
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "quota-stream",
            SIGNATURE: signature(secret, self._clock.now() // 1000, event),
        }
        try:
            async with self._client.stream("POST", self._url, content=event, headers=headers) as reply:
                status = reply.status_code
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"the webhook does not answer: {str(error) or type(error).__name__}") from error
        if 200 <= status < 300:
            return
        if status in PASSING or status >= 500:
            raise Unavailable(f"the webhook cannot take anything now: it answered {status}")
        raise Refused(f"the webhook refused it: it answered {status}")

    async def close(self) -> None:
        await self._client.aclose()
