"""The installation as a whole: who is in which profile, plans, platforms, sources, what is wrong, what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, params
from pydantic import Field

from stream.replica.index import LETTERS_PLACE
from stream.replica.model import Population
from stream.replica.replica import Replica
from stream.web.api.answers import PREFIX, READING, TAGGED, Document, Instant, Tags
from stream.web.settings import WebSettings

MOST_LETTERS = 1000
MOST_SPAN_MS = 400 * 86_400_000


class FreshnessDocument(Document):
    """How old what is shown is."""

    as_of: Instant | None = Field(description="all that was durable then is shown; null: not everything was read yet")
    age_ms: int | None = Field(description="how long ago that was")
    restored: int = Field(description="how many partitions were read to their end so far")
    partitions: int = Field(description="of so many")
    behind_ms: int = Field(description="age of the oldest record that no tracker has counted yet; 0: all are counted")


class CountDocument(Document):
    plan: str
    profile: str
    services: int


class CountAtDocument(CountDocument):
    at: Instant


class PopulationDocument(Document):
    """How many services are in which profile; services with several plans are in one of each."""

    now: list[CountDocument]
    samples: list[CountAtDocument] = Field(description="in the time that was asked for, in its order")


class PlansDocument(Document):
    version: int = Field(description="of the plans in force")
    versions: list[int] = Field(description="by partition; they differ while a change is under way")
    plans: dict[str, dict[str, Any]] = Field(description="by name, in their normal form: see the schema of plans")


class StandingDocument(Document):
    services: int = Field(description="how many")
    some: list[str] = Field(description="some of them")


class PlatformDocument(Document):
    name: str
    configured: bool = Field(description="it is in the configuration of who answers this")
    shadow: bool = Field(description="decisions are made, and nothing is changed there")
    released: bool = Field(description="all originals are given back, and nothing is enforced until `allow`")
    braked: bool = Field(description="too many would be slowed at once: slowing waits for `allow`")
    allowed_until: Instant = Field(description="the brake lets everything pass until then; 0: it never did")
    standing: dict[str, StandingDocument] = Field(description="what waits for somebody, by kind")


class PlatformsDocument(Document):
    platforms: list[PlatformDocument]


class SourceDocument(Document):
    """Who counts traffic."""

    name: str
    services: int = Field(description="how many it counts")
    counted_to: Instant | None = Field(description="up to where the one furthest behind is counted; null: none is yet")


class SourcesDocument(Document):
    sources: list[SourceDocument]


class ProblemDocument(Document):
    """Something that a person should mend."""

    id: str = Field(description="the same while it lasts")
    text: str = Field(description="what, where, and what to do")
    service: str | None = Field(description="if it is about one")


class ProblemsDocument(Document):
    shadow: bool = Field(description="decisions are made, and nothing is changed on any platform")
    problems: list[ProblemDocument]


class LetterDocument(Document):
    """A record that was rejected."""

    id: str
    at: Instant
    reason: str = Field(description="what is wrong with it")
    cure: str = Field(description="what its publisher can do")
    value: str = Field(description="the beginning of the record as text")
    partition: int = Field(description="where in the input it stood")
    offset: int = Field(description="where in the input it stood")


class LettersDocument(Document):
    letters: list[LetterDocument] = Field(description="the newest first")
    next: str | None = Field(description="give it as `before` to get those that follow; null: there are none")


def freshness_router(replica: Replica, first: Sequence[params.Depends]) -> APIRouter:
    """Answers also while not everything was read yet."""
    router = APIRouter(prefix=PREFIX, tags=["installation"], dependencies=first, responses=READING)

    @router.get("/freshness")
    async def freshness() -> FreshnessDocument:
        """How old what is shown is; each answer says it too, in the headers X-As-Of-Ms and X-Age-Ms."""
        return FreshnessDocument.model_validate(replica.freshness())

    return router


def installation_router(
    replica: Replica, settings: WebSettings, tags: Tags, first: Sequence[params.Depends]
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["installation"], dependencies=first, responses=READING)

    @router.get("/population")  # samples come with time alone: no ETag tells of them
    async def population(
        since: Annotated[Instant | None, Query(description="with it: samples from then on; ms since 1970")] = None,
        until: Annotated[Instant | None, Query(description="and before then, by default now; ms since 1970")] = None,
    ) -> PopulationDocument:
        """How many services are in which profile, now and over time."""
        counts = sorted(replica.population().items())
        now = [CountDocument(plan=plan, profile=profile, services=count) for (plan, profile), count in counts]
        end = (replica.freshness().as_of or 0) + 1 if until is None else until
        found: Sequence[Population] = ()
        if since is not None and since < end:
            found = await replica.population_over_time(since, min(end, since + MOST_SPAN_MS))
        samples = [CountAtDocument.model_validate(one) for one in found]
        return PopulationDocument(now=now, samples=samples)

    @router.get("/plans", dependencies=[Depends(tags)], responses=TAGGED)
    async def plans() -> PlansDocument:
        """The plans in force."""
        known = replica.plans()
        described = {name: plan.to_json() for name, plan in known.plans.items()}
        return PlansDocument(version=known.version, versions=list(known.versions), plans=described)

    @router.get("/platforms", dependencies=[Depends(tags)], responses=TAGGED)
    async def platforms() -> PlatformsDocument:
        """Platforms, and what waits for somebody there."""
        return PlatformsDocument(platforms=[PlatformDocument.model_validate(one) for one in replica.platforms()])

    @router.get("/sources", dependencies=[Depends(tags)], responses=TAGGED)
    async def sources() -> SourcesDocument:
        """Who counts traffic, and up to when."""
        return SourcesDocument(sources=[SourceDocument.model_validate(one) for one in replica.sources()])

    @router.get("/problems")
    async def problems() -> ProblemsDocument:
        """What a person should mend."""
        found = [ProblemDocument.model_validate(one) for one in replica.problems()]
        return ProblemsDocument(shadow=settings.shadow, problems=found)

    @router.get("/dead-letters", dependencies=[Depends(tags)], responses=TAGGED)
    async def dead_letters(
        before: Annotated[str | None, Query(pattern=LETTERS_PLACE, description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LETTERS, description="so many at most")] = 50,
    ) -> LettersDocument:
        """Records that were rejected, with the reason."""
        return LettersDocument.model_validate(await replica.letters(before=before, limit=limit))

    return router
