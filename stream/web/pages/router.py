"""The operators' pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from stream.config.units import Wrong, duration_ms
from stream.core.errors import Misconfigured, Rejected, Unavailable
from stream.ports import Clock
from stream.replica import Replica
from stream.replica.model import PlatformStatus
from stream.runtime.operating import Operating, Outcome
from stream.web.access import Access, Operator, Principal, Reader
from stream.web.api.verbs import until
from stream.web.pages import details, forms, listing, words
from stream.web.pages.band import band
from stream.web.pages.foretold import foretold
from stream.web.pages.lines import decided_lines, lines_of, since_when
from stream.web.pages.overview import DAY_MS, populations
from stream.web.pictures import EnglishLabels, usage_bar
from stream.web.rendering import environment
from stream.web.settings import WebSettings

HOUR_MS: Final = 3_600_000
RECENT: Final = 20
"""Changes on the overview ..."""
READ: Final = 200
"""... of so many entries, receipts among them; and those in which a band and its reason are looked for."""
PER_PAGE: Final = 60
"""Entries of a history on one page."""
WAIT_S: Final = 10.0
"""How long an answer waits until a correction is counted."""
TOLD_S: Final = 5.0
"""How long, besides, until the history tells of it."""
FEW: Final = 20
BEHIND_MS: Final = 60_000
"""What waits for so long is said in plain sight."""


def pages_router(
    replica: Replica, operating: Operating | None, access: Access, settings: WebSettings, *, clock: Clock
) -> APIRouter:
    """Without `operating` nothing can be done on the pages, whoever asks."""
    pages = Pages(replica, operating, access, settings, clock)
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", pages.overview)
    router.add_api_route("/services", pages.services)
    router.add_api_route("/services/{service:path}", pages.service)
    router.add_api_route("/services/{service:path}", pages.adjust, methods=["POST"])
    router.add_api_route("/changes", pages.changes)
    router.add_api_route("/platforms", pages.platforms)
    router.add_api_route("/platforms", pages.switch, methods=["POST"])
    router.add_api_route("/dead-letters", pages.letters)
    return router


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows around itself."""

    who: Principal
    csrf: str
    operates: bool


class Pages:
    """A method for each page."""

    def __init__(
        self, replica: Replica, operating: Operating | None, access: Access, settings: WebSettings, clock: Clock
    ) -> None:
        self._replica = replica
        self._operating = operating
        self._access = access
        self._settings = settings
        self._clock = clock
        self._labels = EnglishLabels(settings.timezone)
        self._templates = templates(settings)

    async def overview(self, request: Request, who: Reader) -> Response:
        now = self._now()
        span = (now - DAY_MS, now)
        plans = self._replica.plans().plans
        course = await self._replica.population_over_time(*span)
        recent = await self._replica.recent(since=now - HOUR_MS, limit=READ)
        lines = decided_lines(recent.entries, plans)
        return self._page(
            request,
            who,
            "overview",
            populations=populations(plans, self._replica.population(), course, span, self._labels),
            lines=lines[:RECENT],
            more=recent.next is not None or len(lines) > RECENT,
        )

    async def services(self, request: Request, who: Reader) -> Response:
        query = listing.query_of(request.query_params)
        found = self._replica.search(query)
        plans = self._replica.plans().plans
        return self._page(
            request,
            who,
            "services",
            query=query,
            rows=found.rows,
            paging=listing.paging(query, found),
            sorts=listing.SORTS,
            plans=plans,
            profiles=sorted({profile.name for plan in plans.values() for profile in plan.profiles}),
            names=[platform.name for platform in self._replica.platforms()],
        )

    async def service(self, request: Request, who: Reader, service: str) -> Response:
        return await self._service(request, who, service)

    async def _service(
        self, request: Request, who: Principal, service: str, *, refused: str = "", status: int = 200
    ) -> Response:
        found = self._replica.service(service)
        before = request.query_params.get("before")
        history = await self._replica.history(service, before=before, limit=PER_PAGE)
        if found is None and not history.entries:
            raise HTTPException(404, "There is no service of this name, and nothing is known of one.")
        plans = self._replica.plans().plans
        platforms = {one.name: one for one in self._replica.platforms()}
        newest = await self._replica.history(service, limit=READ)
        return self._page(
            request,
            who,
            "service",
            status=status,
            service=service,
            found=found,
            cards=[] if found is None else details.plan_cards(found, self._labels),
            since=found and since_when(newest.entries, found.view.speed, found.plans),
            band=band(newest.entries, {} if found is None else found.plans, self._now(), self._labels),
            lines=lines_of(history.entries, plans),
            older=history.next,
            comparison=found and details.comparison_of(found.comparison),
            tone=found and found.enforcement and details.enforcement_tone(found.enforcement),
            standing=found and details.standing_of(found, platforms.get(service.partition("/")[0])),
            forecast=[] if found is None else foretold(found),
            refused=refused,
            given=await request.form() if refused else {},
        )

    async def adjust(self, request: Request, who: Operator, service: str) -> Response:
        form = _texts(await request.form())
        operating = self._may_operate()
        try:
            wish = forms.wish_of(service, form, self._clock.now())
            outcome = await operating.adjust(wish, by=who.name, wait_s=WAIT_S)
        except (Wrong, Rejected, Misconfigured) as error:
            return await self._service(request, who, service, refused=str(error), status=422)
        except Unavailable as error:
            return await self._service(request, who, service, refused=str(error), status=503)
        if outcome.counted:
            await until(self._replica, lambda: self._replica.shows(outcome.partition, outcome.offset))
            await self._until_told(outcome, service)
        came = "repeated" if outcome.repeated else "counted" if outcome.counted else "waiting"
        return RedirectResponse(f"{listing.service_address(service)}?done={wish.kind}&came={came}", 303)

    async def _until_told(self, outcome: Outcome, service: str) -> None:
        """Until its decision is in the history; not for ever, and a repeated one makes none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_S), aclosing(self._replica.news()) as news:
                while not outcome.repeated:
                    newest = await self._replica.history(service, limit=FEW)
                    if any((one.document.get("adjustment") or {}).get("id") == outcome.id for one in newest.entries):
                        return
                    await anext(news)

    async def changes(self, request: Request, who: Reader) -> Response:
        before = request.query_params.get("before")
        found = await self._replica.recent(before=before, limit=PER_PAGE)
        lines = decided_lines(found.entries, self._replica.plans().plans)
        return self._page(request, who, "changes", lines=lines, older=found.next, before=before)

    async def platforms(self, request: Request, who: Reader) -> Response:
        return self._platforms(request, who)

    def _platforms(self, request: Request, who: Principal, *, refused: str = "", status: int = 200) -> Response:
        return self._page(request, who, "platforms", refused=refused, status=status, plans=self._replica.plans())

    async def switch(self, request: Request, who: Operator) -> Response:
        """The brake: allow and release."""
        form = _texts(await request.form())
        operating = self._may_operate()
        platform, verb, why = form.get("platform", ""), form.get("verb", ""), form.get("why", "").strip()
        try:
            if platform not in {one.name for one in self._replica.platforms()}:
                raise Wrong("there is no such platform", "use one of the forms")
            if verb == "allow":
                end = await operating.allow(platform, for_ms=duration_ms(form.get("for", "")), by=who.name, why=why)
                done = await self._until_switched(platform, lambda it: it.allowed_until >= end and not it.released)
            elif verb == "release":
                await operating.release(platform, by=who.name, why=why)
                done = await self._until_switched(platform, lambda it: it.released)
            else:
                raise Wrong("this cannot be done to a platform", "use one of the forms")
        except (Wrong, Rejected, Misconfigured) as error:
            return self._platforms(request, who, refused=str(error), status=422)
        except Unavailable as error:
            return self._platforms(request, who, refused=str(error), status=503)
        return RedirectResponse(f"/platforms?done={verb if done else 'waiting'}", 303)

    async def _until_switched(self, platform: str, is_so: Callable[[PlatformStatus], bool]) -> bool:
        """Whether the enforcers have heard of it, as far as is shown here within a while."""
        return await until(
            self._replica, lambda: any(one.name == platform and is_so(one) for one in self._replica.platforms())
        )

    async def letters(self, request: Request, who: Reader) -> Response:
        before = request.query_params.get("before")
        found = await self._replica.letters(before=before)
        return self._page(request, who, "letters", letters=found.letters, older=found.next, before=before)

    def _may_operate(self) -> Operating:
        if self._operating is None:
            raise HTTPException(403, "This process only shows; nothing can be changed here.")
        return self._operating

    def _now(self) -> int:
        return self._clock.now()

    def _page(self, request: Request, who: Principal, page: str, *, status: int = 200, **values: Any) -> Response:
        """`page` with what every page shows around it."""
        frame = Frame(who, self._access.csrf_token(request), who.operates and self._operating is not None)
        common = {
            "page": page,
            "frame": frame,
            "now": self._now(),
            "freshness": self._replica.freshness(),
            "problems": self._replica.problems(),
            "notes": self._replica.notes(),
            "sources": self._replica.sources(),
            "switches": self._replica.platforms(),
            "shadow": self._settings.shadow,
            "parameters": request.query_params,
        }
        return HTMLResponse(self._templates.get_template(f"{page}.html").render(common | values), status)


def templates(settings: WebSettings) -> Environment:
    """With what the operators' pages call besides the filters."""
    made = environment(settings.timezone)
    made.filters |= {
        "due": words.due_text,
        "window": words.window_text,
        "length_of": words.length_text,
        "capital": words.sentence,
        "code": words.with_code,
    }
    made.globals |= {
        "service_address": listing.service_address,
        "path_of": listing.path_of,
        "usage_bar": usage_bar,
        "zone": str(settings.timezone),
        "TROUBLES": words.TROUBLES,
        "PLACES": words.PLACES,
        "COUNTED": forms.COUNTED,
        "BEHIND_MS": BEHIND_MS,
    }
    return made


def _texts(form: Mapping[str, Any]) -> dict[str, str]:
    """The fields that are texts; files are nothing to us."""
    return {name: value for name, value in form.items() if isinstance(value, str)}
