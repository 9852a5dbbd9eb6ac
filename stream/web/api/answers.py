"""What all answers of the API share: their form, how fresh they are, what they say when something is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.config.units import plural
from stream.core.model import MAX_INSTANT
from stream.core.speed import Speed
from stream.replica.replica import Replica
from stream.wire.fields import MAX_ID_CHARACTERS

PREFIX = "/api/v1"


class Document(BaseModel):
    """A JSON object.  Unless a field says otherwise, instants are ms since 1970 (UTC), sizes bytes."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, from_attributes=True)


Instant = Annotated[int, Field(description="ms since 1970 (UTC)", ge=0, le=MAX_INSTANT)]
Service = Annotated[
    str,
    Path(
        description="The service's id, `<platform>/<id>`; its slash may be written as it is.",
        max_length=MAX_ID_CHARACTERS,
        min_length=1,
        examples=["vm1/101"],
    ),
]


class SpeedDocument(Document):
    """bit/s in each direction; null: as the platform had it before we touched it, or no limit."""

    in_: int | None = Field(serialization_alias="in", description="bit/s to the service; null: original, or no limit")
    out: int | None = Field(description="bit/s from the service; null: original, or no limit")

    @classmethod
    def of(cls, speed: Speed) -> SpeedDocument:
        return cls(in_=speed.in_, out=speed.out)


class Error(Document):
    """What is wrong (RFC 9457)."""

    type: str = Field(default="about:blank", description="always about:blank: the status says the kind")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong, and how to mend it")


PROBLEM = "application/problem+json"

ERRORS: Mapping[int, str] = {
    304: "nothing has changed since the ETag that was sent in If-None-Match",
    400: "the body is no JSON",
    401: "nobody that we know: send `Authorization: Bearer qs_...`",
    403: "somebody who may not do this",
    404: "there is no such thing",
    409: "the tracker refused it, or its id belongs to another one",
    413: "the body is too large",
    422: "the request cannot be understood",
    429: "too many wrong tokens",
    503: "the log or the index does not answer now, or there are too many live connections; repeat it",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: what it may answer beside its document; all but 304 are problem documents."""
    schema = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        status: {"description": ERRORS[status], **({} if status == 304 else {"content": schema})} for status in statuses
    }


READING = errors(401, 403, 422, 429, 503)
"""What whatever reads may answer."""

TAGGED = errors(304)


def error_answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    title = HTTPStatus(status).phrase
    body = orjson.dumps(Error(title=title, status=status, detail=detail).model_dump())
    return Response(body, status, dict(headers or {}), PROBLEM)


def no_service() -> HTTPException:
    return HTTPException(404, "there is no such service; look for it with `/api/v1/services?text=...`")


class Read:
    """A route's dependency: until everything was read once, nobody is told half of it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def __call__(self) -> None:
        """Raises HTTPException 503."""
        known = self._replica.freshness()
        if known.as_of is None:
            of = f"{known.partitions} {plural(known.partitions, 'partition')}"
            detail = f"the log is being read, {known.restored} of {of} so far; repeat it soon"
            raise HTTPException(503, detail, {"Retry-After": "2"})


class Tags:
    """ETags: what an answer is made of changes no more often than the replica's version.

    They say nothing after a restart, as versions begin anew.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._life = secrets.token_hex(4)

    async def __call__(self, request: Request, response: Response) -> None:
        """A route's dependency.  Raises HTTPException 304 for whoever has that answer already."""
        tag = f'W/"{self._life}-{self._replica.version}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        if tag in known or "*" in known:
            raise HTTPException(304, headers=headers)
        response.headers.update(headers)


class Fresh:
    """Middleware: each answer of the API says as of when it is, and how old that is."""

    def __init__(self, app: ASGIApp, replica: Replica) -> None:
        self._app = app
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_age(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers, freshness = MutableHeaders(scope=message), self._replica.freshness()
                if freshness.as_of is not None:
                    headers["X-As-Of-Ms"] = str(freshness.as_of)
                    headers["X-Age-Ms"] = str(freshness.age_ms)
            await send(message)

        is_ours = scope["type"] == "http" and scope["path"].startswith("/api/")
        await self._app(scope, receive, with_age if is_ours else send)
