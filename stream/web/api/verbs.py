"""What operators do: records in the log, by the name of their token, answered when they are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Body, HTTPException, Path, Query, Response, params
from pydantic import BeforeValidator, ConfigDict, Field

from stream.config.units import DURATION
from stream.core.errors import Misconfigured, Rejected
from stream.core.model import MAX_BYTES, MAX_INSTANT
from stream.ports import Clock
from stream.replica.replica import Replica
from stream.runtime.operating import Misunderstood, Operating, Wish, another, is_same
from stream.web.access import Operator
from stream.web.api.answers import PREFIX, Document, Instant, Service, errors, no_service
from stream.web.api.events import with_heartbeats
from stream.web.api.installation import PlatformDocument
from stream.web.api.misunderstood import WHOLE
from stream.web.api.services import ServiceDocument, service_document
from stream.web.customer import make_link
from stream.web.settings import WebSettings
from stream.wire.fields import CONTROL, MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS

COUNTED_WITHIN_S = 10
SHOWN_WITHIN_S = 5.0
MOST_DAYS = 3660
DAY_MS = DURATION.units["d"]
HOUR_MS = DURATION.units["h"]
PRINTABLE = rf"^[^{CONTROL}]+$"
SERVICE = rf"^[^@/{CONTROL}][^/{CONTROL}]*/[^{CONTROL}]+$"

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=PRINTABLE)]


def _whole(value: object) -> object:
    """JSON knows 5.0 as a whole number; pydantic by itself would take "5" and true for one, or else refuse 5.0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(WHOLE)
    return value


Whole: TypeAlias = Annotated[int, Field(strict=False), BeforeValidator(_whole)]
When: TypeAlias = Annotated[int, Field(strict=False, ge=0, le=MAX_INSTANT), BeforeValidator(_whole)]


class Sent(Document):
    """What a body consists of: nothing but its fields, each of its own type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Adjusted(Sent):
    service: str = Field(
        min_length=1, max_length=MAX_ID_CHARACTERS, description="`<platform>/<id>`", examples=["vm1/101"]
    )
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="kept with it, and shown in the history")
    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=PRINTABLE)] | None = Field(
        None, description="whoever repeats it gives the same id, and it is done once; null: a new one"
    )


class Credited(Adjusted):
    """Raise a quota for once."""

    kind: Literal["credit"]
    plan: Name | None = Field(None, description="of this plan alone; null: all plans of the service")
    bytes: Whole = Field(ge=1, le=MAX_BYTES, description="by so much")


class Exempted(Adjusted):
    """Give the original speed back for a while."""

    kind: Literal["exempt"]
    plan: Name | None = Field(None, description="of this plan alone; null: all plans of the service")
    until: When = Field(description="ms since 1970 (UTC)")


class Pinned(Adjusted):
    """Hold a plan in one profile."""

    kind: Literal["pin"]
    plan: Name = Field(description="of which plan")
    profile: Name = Field(description="one of its profiles")
    until: When | None = Field(None, description="ms since 1970 (UTC); null: until it is unpinned")


class Unpinned(Adjusted):
    """Let a pinned plan move again."""

    kind: Literal["unpin"]
    plan: Name | None = Field(None, description="of this plan alone; null: all plans of the service")


class Reset(Adjusted):
    """Empty the window and go back to the first profile."""

    kind: Literal["reset"]
    plan: Name | None = Field(None, description="of this plan alone; null: all plans of the service")


Adjustment: TypeAlias = Annotated[
    Credited | Exempted | Pinned | Unpinned | Reset, Body(discriminator="kind", description="what is to be done")
]


class AdjustedDocument(Document):
    id: str = Field(description="of what was done; who repeats it with this id does it once")
    counted: bool = Field(description="false: it is in the log, and will be counted when a tracker runs")
    repeated: bool = Field(description="one with that id was counted before, and this one did nothing")
    service: ServiceDocument = Field(description="as it is shown now; not yet counted, not yet changed")


class Allowed(Sent):
    for_ms: Whole = Field(
        3_600_000, ge=1, le=DURATION.most, description="ms; the brake lets everything pass for so long"
    )
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="kept with it")


class Released(Sent):
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="kept with it")


class SwitchedDocument(Document):
    counted: bool = Field(description="false: it is in the log, and takes effect when an enforcer runs")
    platform: PlatformDocument = Field(description="as it is shown now")


class Forgotten(Sent):
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="kept with it; name nobody")


class ForgottenDocument(Document):
    counted: bool = Field(description="false: it is in the log, and will be counted when a tracker runs")


class Linked(Sent):
    days: Whole = Field(30, ge=1, le=MOST_DAYS, description="the link is valid for so long")


class LinkDocument(Document):
    url: str = Field(description="whoever has it sees this service, and nothing else")
    expires: Instant = Field(description="ms since 1970 (UTC)")


ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"description": "it is in the log, and not counted yet"}}


class Verbs:
    def __init__(self, replica: Replica, operating: Operating, settings: WebSettings, clock: Clock) -> None:
        self._replica = replica
        self._operating = operating
        self._settings = settings
        self._clock = clock

    async def adjust(
        self, wanted: Adjustment, who: Operator, response: Response, wait_s: WaitS = COUNTED_WITHIN_S
    ) -> AdjustedDocument:
        """Credit, exempt, pin, unpin or reset a service.

        200: it is counted, and what is shown has it.  202: it is in the log; repeat it with the same `id` to wait on.
        409: the tracker refused it, or its `id` belongs to another one of the last 40 days (who and why may differ).
        """
        if self._replica.service(wanted.service) is None:
            raise no_service()
        wish = Wish(**wanted.model_dump())
        await self._is_known(wish)
        try:
            outcome = await self._operating.adjust(wish, by=who.name, wait_s=wait_s or None)
        except Misunderstood as error:
            raise HTTPException(422, str(error)) from error
        except Rejected as error:
            raise HTTPException(409, str(error)) from error
        if outcome.counted:
            await until(self._replica, lambda: self._replica.shows(outcome.partition, outcome.offset))
            if wish.id is not None:
                await self._until_known(wish)
        else:
            response.status_code = 202
        status = self._replica.service(wanted.service)
        if status is None:
            raise no_service()
        return AdjustedDocument(
            id=outcome.id, counted=outcome.counted, repeated=outcome.repeated, service=service_document(status)
        )

    async def _is_known(self, wish: Wish) -> bool:
        """Whether one of its id was counted.  Raises HTTPException 409 if all that were are other ones."""
        known = [] if wish.id is None else await self._replica.adjusted(wish.id)
        if known and not any(is_same(wish, one.service, one.document["adjustment"]) for one in known):
            raise HTTPException(409, str(another(known[0].service, known[0].document["adjustment"])))
        return bool(known)

    async def _until_known(self, wish: Wish) -> None:
        """Not for ever: what was forgotten, and repeated, is never known.  Raises HTTPException 409 as above."""
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(SHOWN_WITHIN_S),
                aclosing(with_heartbeats(self._replica.news(), SHOWN_WITHIN_S)) as news,
            ):
                async for _ in news:
                    if await self._is_known(wish):
                        return

    async def allow(
        self,
        name: PlatformName,
        who: Operator,
        response: Response,
        wanted: Allowed,
        wait_s: WaitS = COUNTED_WITHIN_S,
    ) -> SwitchedDocument:
        """Let a platform's services be slowed, however many, for a while; also ends a release."""
        self._known(name)
        end = await self._operating.allow(name, for_ms=wanted.for_ms, by=who.name, why=wanted.why)
        return await self._switched(name, response, wait_s, lambda it: it.allowed_until >= end and not it.released)

    async def release(
        self,
        name: PlatformName,
        who: Operator,
        response: Response,
        wanted: Released,
        wait_s: WaitS = COUNTED_WITHIN_S,
    ) -> SwitchedDocument:
        """Give all services of a platform their original speed back and stop enforcing there, until `allow`."""
        self._known(name)
        await self._operating.release(name, by=who.name, why=wanted.why)
        return await self._switched(name, response, wait_s, lambda it: it.released)

    def _known(self, name: str) -> PlatformDocument:
        found = next((one for one in self._replica.platforms() if one.name == name), None)
        if found is None:
            raise HTTPException(404, "there is no such platform; `/api/v1/platforms` names them")
        return PlatformDocument.model_validate(found)

    async def _switched(
        self, name: str, response: Response, wait_s: float, is_so: Callable[[PlatformDocument], bool]
    ) -> SwitchedDocument:
        counted = await until(self._replica, lambda: is_so(self._known(name)), wait_s)
        if not counted:
            response.status_code = 202
        return SwitchedDocument(counted=counted, platform=self._known(name))

    async def forget(
        self,
        service: ServiceName,
        who: Operator,
        response: Response,
        wanted: Forgotten,
        wait_s: WaitS = COUNTED_WITHIN_S,
    ) -> ForgottenDocument:
        """Remove a service, registered or not, from state, history and pages; its speed is given back.

        If its platform still lists it and a rule still matches it, the collector registers it again, as a new one.
        """
        try:
            outcome = await self._operating.forget(service, by=who.name, why=wanted.why, wait_s=wait_s or None)
        except Misunderstood as error:
            raise HTTPException(422, str(error)) from error
        if outcome.counted:
            await until(self._replica, lambda: self._replica.shows(outcome.partition, outcome.offset))
        else:
            response.status_code = 202
        return ForgottenDocument(counted=outcome.counted)

    async def link(self, service: Service, who: Operator, wanted: Linked) -> LinkDocument:
        """Make a link with which a customer sees this service."""
        if self._replica.service(service) is None:
            raise no_service()
        expires = self._clock.now() + wanted.days * DAY_MS
        try:
            url = make_link(self._settings, service, expires=expires)
        except Misconfigured as error:
            raise HTTPException(409, str(error)) from error
        return LinkDocument(url=url, expires=expires)


WaitS = Annotated[int, Query(ge=0, le=60, description="how many seconds the answer may wait until it is counted")]
ServiceName = Annotated[Service, Path(pattern=SERVICE)]
PlatformName = Annotated[str, Path(min_length=1, max_length=MAX_NAME_CHARACTERS, description="a platform's name")]


def verbs_router(
    replica: Replica, operating: Operating, settings: WebSettings, clock: Clock, first: Sequence[params.Depends]
) -> APIRouter:
    refusals = errors(400, 401, 403, 404, 409, 413, 422, 429, 503)
    router = APIRouter(prefix=PREFIX, tags=["verbs"], dependencies=first, responses=refusals)
    verbs = Verbs(replica, operating, settings, clock)
    router.add_api_route("/adjustments", verbs.adjust, methods=["POST"], responses=ACCEPTED)
    router.add_api_route("/platforms/{name}/allow", verbs.allow, methods=["POST"], responses=ACCEPTED)
    router.add_api_route("/platforms/{name}/release", verbs.release, methods=["POST"], responses=ACCEPTED)
    router.add_api_route("/forget/{service:path}", verbs.forget, methods=["POST"], responses=ACCEPTED)
    router.add_api_route("/link/{service:path}", verbs.link, methods=["POST"])
    return router


async def until(replica: Replica, is_so: Callable[[], bool], within_s: float = SHOWN_WITHIN_S) -> bool:
    """Whether it became so within that time, as far as the replica shows it."""
    try:
        async with asyncio.timeout(within_s), aclosing(replica.news()) as news:
            while not is_so():
                await anext(news)
    except TimeoutError:
        return is_so()
    return True
