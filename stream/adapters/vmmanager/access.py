"""The life of a token: made at the first need, renewed when the platform no longer takes it, given back at the end."""

from __future__ import annotations

import asyncio

from stream.adapters.vmmanager import replies
from stream.adapters.vmmanager.client import Client, Request, Unauthorized
from stream.adapters.vmmanager.settings import Credentials, LongLivedToken
from stream.core.errors import Misconfigured, QuotaStreamError, Refused, Unavailable

HOLD_FIRST_S = 60.0
HOLD_LIMIT_S = 900.0
LOGOUT_DEADLINE_S = 5.0


class Access:
    """One token for all requests of a platform.

    However many requests find it expired, there is one login.  After a login was refused no other is tried for a
    while (a minute, doubling up to a quarter of an hour), so that a wrong password locks no account out.
    """

    def __init__(self, client: Client, secret: Credentials | LongLivedToken) -> None:
        self._client = client
        self._secret = secret
        self._token: str | None = None
        self._login: asyncio.Task[str] | None = None
        self._refusal: Refused | None = None
        self._hold_s = HOLD_FIRST_S
        self._held_until = float("-inf")

    async def token(self) -> str:
        """The token in use, or a new one.  Raises Refused or Unavailable when there is none to be had."""
        return self._token or await self.renew(None)

    async def renew(self, refused: str | None) -> str:
        """Another token than `refused`; callers who come together share one login."""
        if self._token is not None and self._token != refused:
            return self._token
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in(refused), name=f"login-{self._client.name}")
            self._login.add_done_callback(_retrieve)
        return await asyncio.shield(self._login)

    def distrust(self, refusal: Refused) -> None:
        """A new token is not taken either: it is good for other requests, but for a while none renews it."""
        self._hold(refusal)

    async def close(self) -> None:
        """Give back a token that we made, as far as that can be done soon."""
        if self._login is not None and not self._login.done():
            self._login.cancel()
            await asyncio.wait({self._login})
        token, self._token = self._token, None
        if token is None or isinstance(self._secret, LongLivedToken):
            return
        try:
            async with asyncio.timeout(LOGOUT_DEADLINE_S):
                await self._client.call(Request("logout", "DELETE", f"/auth/v4/token/{token}", secret=True), token)
        except (QuotaStreamError, Unauthorized, TimeoutError):
            return  # it expires by itself within an hour

    async def _log_in(self, refused: str | None) -> str:
        now = asyncio.get_running_loop().time()
        if self._refusal is not None and now < self._held_until:
            raise Refused(f"{self._refusal} (not tried again for {self._held_until - now:.0f} s)")
        self._token = None
        try:
            token = await self._obtain(refused)
        except Refused as error:
            self._hold(error)
            raise
        self._refusal, self._hold_s = None, HOLD_FIRST_S
        self._token = token
        return token

    def _hold(self, refusal: Refused) -> None:
        self._refusal = refusal
        self._held_until = asyncio.get_running_loop().time() + self._hold_s
        self._hold_s = min(HOLD_LIMIT_S, 2 * self._hold_s)

    async def _obtain(self, refused: str | None) -> str:
        name = self._client.name
        if isinstance(self._secret, LongLivedToken):
            token = self._read()
            if token == refused:
                raise Refused(f"{name}: the platform does not take our token; make a new one")
            return token
        password = self._read()
        login = Request(
            "login", "POST", "/auth/v4/public/token",
            json={"email": self._secret.email, "password": password}, secret=True,
        )  # fmt: skip
        try:
            return replies.token(await self._client.call(login, None))
        except Unauthorized as error:
            raise Refused(f"{error}; check e-mail and password") from error
        except replies.Odd as error:
            raise Unavailable(f"{name}: login: {error}") from error

    def _read(self) -> str:
        """What is missing or no secret may be a file that is just being replaced: it is read again later."""
        try:
            return self._secret.read()
        except (OSError, Misconfigured) as error:
            raise Unavailable(f"{self._client.name}: the secret cannot be read: {error}") from error


def _retrieve(login: asyncio.Task[str]) -> None:
    """An error that nobody waits for any more: the next request meets it again."""
    if not login.cancelled():
        login.exception()
