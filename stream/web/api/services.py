"""Services: found, one by one with everything about it, and what is coming to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, params
from pydantic import Field

from stream.core.coming import Coming, ComingKind, PlanForecast
from stream.core.enforced import Enforcement, Result
from stream.core.forecast import forecast
from stream.core.model import Slice
from stream.core.view import PlanView
from stream.replica import model
from stream.replica.model import Row, Status
from stream.replica.replica import Replica
from stream.web.api.answers import (
    PREFIX,
    READING,
    TAGGED,
    Document,
    Instant,
    Service,
    SpeedDocument,
    Tags,
    errors,
    no_service,
)
from stream.wire.fields import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS

MOST_ROWS = 1000
MOST_OFFSET = 10_000_000


class RowPlanDocument(Document):
    plan: str = Field(description="name of the plan")
    profile: str = Field(description="the profile that it is in")
    usage_bytes: int = Field(description="bytes in the window now")
    quota_bytes: int | None = Field(description="bytes that the profile allows, credit included; null: any number")


class RowDocument(Document):
    """One service in a list."""

    service: str = Field(description="`<platform>/<id>`")
    labels: dict[str, str] = Field(description="name, account, ip: what the configuration keeps of it")
    speed: SpeedDocument = Field(description="the speed due, over all plans and adjustments")
    plans: list[RowPlanDocument] = Field(description="in the order of its registration")
    source: str = Field(description="who counts its traffic")
    counted_to: Instant | None = Field(description="its traffic is counted up to here; null: none was yet")
    changed_at: Instant | None = Field(description="when the youngest of its profiles was entered")


class FoundDocument(Document):
    services: list[RowDocument] = Field(description="in the order that was asked for")
    total: int = Field(description="how many services match in all")
    next_offset: int | None = Field(description="give it as `offset` to get those that follow; null: there are none")


class SliceDocument(Document):
    start: Instant
    end: Instant
    bytes: int = Field(description="counted in `[start, end)`")


class CreditDocument(Document):
    bytes: int = Field(description="by which the quota is raised")
    expires_at: Instant = Field(description="until then")


class PlanDocument(Document):
    """One plan of a service, as of the service's time."""

    plan: str = Field(description="name of the plan")
    profile: str = Field(description="the profile that it is in")
    profile_speed: SpeedDocument = Field(description="the profile's speed")
    speed: SpeedDocument = Field(
        description="what this plan makes due: the profile's, a pin's, or original while exempt"
    )
    entered_at: Instant = Field(description="when the profile was entered")
    stay_until: Instant | None = Field(description="when the way up opens; null: there is none")
    next_up: Instant | None = Field(description="when the way up is judged next; null: without one, or at rest")
    usage_bytes: int = Field(description="bytes in the window now")
    quota_bytes: int | None = Field(description="bytes that the profile allows, credit included; null: any number")
    window: list[SliceDocument] = Field(description="slice by slice, the oldest first")
    warned: bool = Field(description="a warning was given")
    since: Instant | None = Field(description="when the plan came to the running service; null: with it")
    counted_from: Instant | None = Field(description="nothing before it is in the window; null: no such limit")
    credits: list[CreditDocument] = Field(description="in the order in which they were given")
    exempt_until: Instant | None = Field(description="it rests until then; null: it does not")
    pinned: str | None = Field(description="the profile that it is held in; null: none")
    pinned_until: Instant | None = Field(description="null with a pin: until it is unpinned")

    @classmethod
    def of(cls, plan: PlanView) -> PlanDocument:
        return cls(
            plan=plan.plan,
            profile=plan.profile,
            profile_speed=SpeedDocument.of(plan.speed),
            speed=SpeedDocument.of(plan.due),
            entered_at=plan.entered_at,
            stay_until=plan.stay_until,
            next_up=plan.next_up,
            usage_bytes=plan.usage_bytes,
            quota_bytes=plan.quota_bytes,
            window=[_slice(part) for part in plan.window],
            warned=plan.warned,
            since=plan.since,
            counted_from=plan.counted_from,
            credits=[CreditDocument(bytes=one.bytes, expires_at=one.expires_at) for one in plan.credits],
            exempt_until=plan.exempt_until,
            pinned=plan.pinned,
            pinned_until=plan.pinned_until,
        )


class ReceiptDocument(Document):
    """What came of asking the platform."""

    revision: int = Field(description="of the decision that was carried out; 0: of a former incarnation's")
    wanted: SpeedDocument = Field(description="what was asked for; null is no limit")
    result: Result
    shown: SpeedDocument | None = Field(description="what the platform showed then; null is no limit")
    at: Instant


class EnforcementDocument(Document):
    """What the platform was asked for.  In its speeds null is no limit."""

    original: SpeedDocument = Field(description="what the platform had before we touched it")
    wanted: SpeedDocument | None = Field(description="what it was asked for last; null: nothing yet")
    asked_at: Instant | None = Field(description="when; ms since 1970 (UTC)")
    revision: int | None = Field(description="of the decision that this carries out")
    settled: bool = Field(description="the platform has shown it")
    repairs: list[Instant] = Field(description="when it was set again within the last day, because somebody changed it")
    receipts: list[ReceiptDocument] = Field(description="of the last requests, the oldest first")

    @classmethod
    def of(cls, noted: Enforcement) -> EnforcementDocument:
        intent = noted.intent
        receipts = [
            ReceiptDocument(
                revision=one.revision,
                wanted=SpeedDocument.of(one.wanted),
                result=one.result,
                shown=None if one.shown is None else SpeedDocument.of(one.shown),
                at=one.at,
            )
            for one in noted.receipts
        ]
        return cls(
            original=SpeedDocument.of(noted.original),
            wanted=None if intent is None else SpeedDocument.of(intent.wanted),
            asked_at=None if intent is None else intent.at,
            revision=None if intent is None else intent.revision,
            settled=noted.settled,
            repairs=list(noted.repairs),
            receipts=receipts,
        )


class TotalsDocument(Document):
    in_: int = Field(serialization_alias="in", description="bytes to the service")
    out: int = Field(description="bytes from the service")


class ServiceDocument(Document):
    """Everything about one service."""

    service: str = Field(description="`<platform>/<id>`")
    incarnation: int = Field(description="offset of the registration that made it")
    revision: int = Field(description="of its last decision")
    source: str = Field(description="who counts its traffic")
    labels: dict[str, str] = Field(description="name, account, ip: what the configuration keeps of it")
    quota_bytes: int | None = Field(description="its own quota, for plans that take it from the service")
    anchor_day: int | None = Field(description="its own day of the month, for plans that take it from the service")
    counted_to: Instant | None = Field(description="its traffic is counted up to here; null: none was yet")
    speed: SpeedDocument = Field(description="the speed due, over all plans and adjustments")
    plans: list[PlanDocument] = Field(description="in the order of its registration")
    accepted: TotalsDocument = Field(description="bytes that were counted in its whole life")
    stale: TotalsDocument = Field(description="bytes that came out of order or again, and were not counted")
    backfilling: bool = Field(description="it is being filled with numbers of the past, and not judged yet")
    enforcement: EnforcementDocument | None = Field(description="null: its platform was never asked for anything")
    comparison: dict[str, int | str] | None = Field(
        description="the platform's own total of this month beside ours, bytes; null: not compared yet"
    )


class ComingDocument(Document):
    """One thing that comes if nobody intervenes."""

    kind: ComingKind = Field(description="stay: the way up opens; period: a calendar window begins anew")
    at: Instant
    profile: str = Field(description="that the plan is in then")
    speed: SpeedDocument = Field(description="that the plan makes due then")
    due: SpeedDocument = Field(description="of the service then, if its other plans stay as they are")
    exact: bool = Field(description="it follows from the rules; else it is an estimate")
    below_bytes: int | None = Field(
        description="it comes if fewer bytes than these are counted from `as_of` until then; null: in any case"
    )

    @classmethod
    def of(cls, coming: Coming) -> ComingDocument:
        return cls(
            kind=coming.kind,
            at=coming.at,
            profile=coming.profile,
            speed=SpeedDocument.of(coming.speed),
            due=SpeedDocument.of(coming.due),
            exact=coming.exact,
            below_bytes=coming.below_bytes,
        )


class PlanForecastDocument(Document):
    plan: str = Field(description="name of the plan")
    exact: list[ComingDocument] = Field(description="what follows from the rules, in order of time")
    pace_bytes_per_hour: int | None = Field(description="as counted of late; null: too little is known")
    estimate: ComingDocument | None = Field(description="the next move at that pace; null: it leads to none")

    @classmethod
    def of(cls, plan: PlanForecast) -> PlanForecastDocument:
        return cls(
            plan=plan.plan,
            exact=[ComingDocument.of(one) for one in plan.exact],
            pace_bytes_per_hour=None if plan.pace is None else plan.pace.over(3_600_000) // 100,
            estimate=None if plan.estimate is None else ComingDocument.of(plan.estimate),
        )


class ForecastDocument(Document):
    """What comes to a service, as of the time up to which it is counted."""

    service: str = Field(description="`<platform>/<id>`")
    as_of: Instant | None = Field(description="its traffic is counted up to here; null: none was yet")
    speed: SpeedDocument = Field(description="the speed due now")
    plans: list[PlanForecastDocument] = Field(description="in the order of its registration")


def _slice(part: Slice) -> SliceDocument:
    return SliceDocument(start=part.start, end=part.end, bytes=part.bytes)


def _row(row: Row) -> RowDocument:
    plans = [
        RowPlanDocument(plan=it.plan, profile=it.profile, usage_bytes=it.usage_bytes, quota_bytes=it.quota_bytes)
        for it in row.plans
    ]
    return RowDocument(
        service=row.service,
        labels=dict(row.labels),
        speed=SpeedDocument.of(row.speed),
        plans=plans,
        source=row.source,
        counted_to=row.counted_to,
        changed_at=row.changed_at,
    )


def service_document(status: Status) -> ServiceDocument:
    view = status.view
    return ServiceDocument(
        service=view.service,
        incarnation=view.incarnation,
        revision=view.revision,
        source=view.source,
        labels=dict(view.labels),
        quota_bytes=view.quota,
        anchor_day=view.anchor_day,
        counted_to=view.time,
        speed=SpeedDocument.of(view.speed),
        plans=[PlanDocument.of(plan) for plan in view.plans],
        accepted=TotalsDocument(in_=view.accepted_in, out=view.accepted_out),
        stale=TotalsDocument(in_=view.stale_in, out=view.stale_out),
        backfilling=view.backfilling,
        enforcement=None if status.enforcement is None else EnforcementDocument.of(status.enforcement),
        comparison=None if status.comparison is None else dict(status.comparison),
    )


class Wanted(Document):
    """Which services, and how: the query of the list."""

    text: str = Field("", max_length=MAX_ID_CHARACTERS, description="beginning of id, name, account or IP address")
    exact: bool = Field(False, description="`text` is the whole of it")
    platform: str | None = Field(None, max_length=MAX_NAME_CHARACTERS, description="of this platform")
    plan: str | None = Field(None, max_length=MAX_NAME_CHARACTERS, description="with this plan")
    profile: str | None = Field(None, max_length=MAX_NAME_CHARACTERS, description="in this profile")
    slowed: bool | None = Field(
        None, description="whether they are slower than in the first profiles of their plans; without it: both"
    )
    sort: model.Sort = Field("service", description="by id, share of the quota used, last change, counted end or speed")
    descending: bool = Field(False, description="the last ones first")
    offset: int = Field(0, ge=0, le=MOST_OFFSET, description="so many are passed over")
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="so many at most")

    def query(self) -> model.Query:
        return model.Query(**self.model_dump())


def services_router(replica: Replica, tags: Tags, first: Sequence[params.Depends]) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["services"], dependencies=first, responses=READING)

    @router.get("/services", dependencies=[Depends(tags)], responses=TAGGED)
    async def services(wanted: Annotated[Wanted, Query()]) -> FoundDocument:
        """Find services.  All that is given must hold."""
        found = replica.search(wanted.query())
        end = wanted.offset + len(found.rows)
        rows = [_row(row) for row in found.rows]
        return FoundDocument(services=rows, total=found.total, next_offset=end if rows and end < found.total else None)

    @router.get("/services/{service:path}", dependencies=[Depends(tags)], responses=TAGGED | errors(404))
    async def service(service: Service) -> ServiceDocument:
        """Everything about one service, its windows slice by slice."""
        status = replica.service(service)
        if status is None:
            raise no_service()
        return service_document(status)

    @router.get("/forecast/{service:path}", dependencies=[Depends(tags)], responses=TAGGED | errors(404))
    async def service_forecast(service: Service) -> ForecastDocument:
        """What comes to a service if nobody intervenes."""
        status = replica.service(service)
        if status is None:
            raise no_service()
        coming = forecast(status.view, status.plans)
        return ForecastDocument(
            service=service,
            as_of=status.view.time,
            speed=SpeedDocument.of(coming.speed),
            plans=[PlanForecastDocument.of(plan) for plan in coming.plans],
        )

    return router
