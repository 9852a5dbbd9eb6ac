"""Who may do what: the one place that every route asks, by `Depends(reading)` or `Depends(operating)`.

A program sends `Authorization: Bearer`; a person logs in with a token and has a session, or comes through a proxy.
What a browser adds by itself (a cookie, the proxy's header) proves nothing about who made it ask: unsafe methods then
need a page of ours to come from, and its token against forgery.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated, Final, Literal, NamedTuple, NoReturn
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from stream.core.errors import Misconfigured
from stream.ports import Clock
from stream.web.access.clients import client_of, proxied_user
from stream.web.access.failures import AGAIN_AFTER_MS, Failures
from stream.web.access.principal import Principal, Role
from stream.web.access.sessions import LIFETIME_MS, Sessions
from stream.web.access.tokens import Entry, TokensFile, hash_of
from stream.web.settings import AccessSettings

log = structlog.get_logger()

FORGERY_FIELD: Final = "csrf"
"""Of a form; scripts send the same value in the header."""

FORGERY_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class _Known(NamedTuple):
    """A principal, and how that is known."""

    principal: Principal
    by: Literal["token", "session", "proxy"]
    secret: str
    """What its token against forgery is made of."""


class Access:
    """Knows everybody who may come in."""

    def __init__(self, settings: AccessSettings, *, secure: bool, clock: Clock) -> None:
        self._settings = settings
        self._secure = secure
        self._clock = clock
        self._tokens = TokensFile(settings.tokens_file)
        self._sessions = Sessions()
        self._failures = Failures()
        self._key = secrets.token_bytes(32)
        self._told = ""  # what is wrong with the file of tokens, as logged last
        self.cookie: Final = "__Host-session" if secure else "session"

    # ------------------------------------------------------------ asking

    def principal(self, request: Request) -> Principal | None:
        """Who asks; None: nobody that we know (or no longer: a revoked token's sessions end at once)."""
        known = self._known(request)
        return None if known is None else known.principal

    def csrf_token(self, request: Request) -> str:
        """For the forms of a page, in the field `csrf`; empty for whoever needs none."""
        known = self._known(request)
        return "" if known is None or known.by == "token" else self._forgery_token(known)

    async def admit(self, request: Request, role: Role) -> Principal:
        """The principal, if it may.  Raises HTTPException 401, 403 or 429, with a sentence as its detail."""
        known = self._known(request)
        if known is None:
            self._refuse_unknown(request)
        if role == "operate" and not known.principal.operates:
            sentence = f"{known.principal.name} may read and not operate; use a token with the role operate"
            self._refuse(request, 403, "role", sentence, by=known.principal.name)
        if known.by != "token" and request.method not in SAFE_METHODS:
            await self._refuse_forged(request, known)
        return known.principal

    def _known(self, request: Request) -> _Known | None:
        token = _bearer(request)
        if token is not None:
            entry = self._find(hash_of(token))
            return None if entry is None else _Known(entry.principal, "token", "")
        identity = request.cookies.get(self.cookie, "")
        session = self._sessions.find(identity, self._clock.now()) if identity else None
        if session is not None:
            entry = self._find(session.token_sha256)
            if entry is not None:
                return _Known(entry.principal, "session", identity)
            self._sessions.end(identity)
        user = proxied_user(request, self._settings)
        return None if user is None else _Known(user, "proxy", user.name)

    def _find(self, sha256: str) -> Entry | None:
        """None as well while nobody can tell, because the file is damaged: then nobody comes in."""
        try:
            entry = self._tokens.find_hashed(sha256)
        except Misconfigured as error:
            if str(error) != self._told:
                log.error("web.tokens_unreadable", error=str(error))
                self._told = str(error)
            return None
        self._told = ""
        return entry

    # ------------------------------------------------------------ logging in and out

    def log_in(self, request: Request, token: str) -> str | None:
        """The id of a new session; None for a wrong token.  Raises HTTPException 403 (from a foreign page) or 429."""
        if _is_foreign(request):
            self._refuse(request, 403, "foreign page", "log in from the page of this server")
        entry = self._find(hash_of(token.strip()))
        if entry is None:
            self._count_failure(request)
            return None
        log.info("web.logged_in", by=entry.name, role=entry.role, client=self._client(request))
        return self._sessions.begin(entry.sha256, self._clock.now())

    def log_out(self, request: Request) -> None:
        self._sessions.end(request.cookies.get(self.cookie, ""))

    def set_cookie(self, response: Response, identity: str) -> None:
        response.set_cookie(
            self.cookie, identity, max_age=LIFETIME_MS // 1000, path="/", secure=self._secure, httponly=True,
            samesite="strict",
        )  # fmt: skip

    def delete_cookie(self, response: Response) -> None:
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="strict")

    # ------------------------------------------------------------ refusing

    def _refuse_unknown(self, request: Request) -> NoReturn:
        if _bearer(request) is not None:
            self._count_failure(request)
            raise HTTPException(401, "this token is not known here", {"WWW-Authenticate": "Bearer"})
        log.info("web.refused", reason="nobody", **self._told_of(request))
        raise HTTPException(
            401, "log in, or send a token: `Authorization: Bearer qs_...`", {"WWW-Authenticate": "Bearer"}
        )

    async def _refuse_forged(self, request: Request, known: _Known) -> None:
        if _is_foreign(request):
            self._refuse(request, 403, "foreign page", "do it from a page of this server", by=known.principal.name)
        given = request.headers.get(FORGERY_HEADER)
        if given is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS:
            field = (await request.form()).get(FORGERY_FIELD)
            given = field if isinstance(field, str) else None
        if not hmac.compare_digest(self._forgery_token(known).encode(), (given or "").encode()):
            sentence = "this page is too old, or it is not ours; load it again and repeat"
            self._refuse(request, 403, "forged", sentence, by=known.principal.name)

    def _forgery_token(self, known: _Known) -> str:
        return hmac.new(self._key, f"{known.by}\0{known.secret}".encode(), hashlib.sha256).hexdigest()

    def _count_failure(self, request: Request) -> None:
        """Logs a wrong token.  Raises HTTPException 429 beyond the limit."""
        within, left_out = self._failures.note(self._client(request), self._clock.now())
        if left_out is not None:
            reason = "wrong token" if within else "too many wrong tokens"
            more = {"left_out": left_out} if left_out else {}
            log.warning("web.refused", reason=reason, **self._told_of(request), **more)
        if not within:
            wait_s = AGAIN_AFTER_MS // 1000
            raise HTTPException(429, f"too many wrong tokens; wait {wait_s} seconds", {"Retry-After": str(wait_s)})

    def _refuse(self, request: Request, status: int, reason: str, sentence: str, **more: str) -> NoReturn:
        log.warning("web.refused", reason=reason, **self._told_of(request), **more)
        raise HTTPException(status, sentence)

    def _told_of(self, request: Request) -> dict[str, str]:
        """Of a request what a log may tell: the route and not the path, in which somebody may have put a secret."""
        route = getattr(request.scope.get("route"), "path", "")
        return {"client": self._client(request), "method": request.method, "route": route}

    def _client(self, request: Request) -> str:
        return client_of(request, self._settings)


def _bearer(request: Request) -> str | None:
    """The token that a program shows.  What a proxy logs people in with (`Basic`) is the proxy's affair."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_foreign(request: Request) -> bool:
    """Whether a browser says that a page of another site made it ask.  What is no browser says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()


async def reading(request: Request) -> Principal:
    """FastAPI's dependency of whatever only shows."""
    access: Access = request.app.state.access
    return await access.admit(request, "read")


async def operating(request: Request) -> Principal:
    """FastAPI's dependency of whatever changes something."""
    access: Access = request.app.state.access
    return await access.admit(request, "operate")


Reader = Annotated[Principal, Depends(reading)]
Operator = Annotated[Principal, Depends(operating)]
