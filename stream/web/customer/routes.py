"""`/c/<token>`: the page of one service, for whoever has its link."""

from __future__ import annotations

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stream.core.errors import Misconfigured
from stream.core.forecast import forecast
from stream.ports import Clock
from stream.replica.model import Status
from stream.replica.replica import Replica
from stream.web.access.clients import client_of
from stream.web.customer.language import LANGUAGES, Calendar, Language, chosen, languages
from stream.web.customer.links import service_of
from stream.web.customer.page import MOST_LINES, page_of, zone_of
from stream.web.headers import policy
from stream.web.rendering import environment
from stream.web.settings import WebSettings

log = structlog.get_logger()


def customer_router(replica: Replica, settings: WebSettings, *, clock: Clock) -> APIRouter:
    """The token stands in the path, so it must not get into logs or a Referer: no answer here leads anywhere else."""
    router = APIRouter(include_in_schema=False)
    templates = environment(settings.timezone)
    languages()  # reads the catalogues: a damaged one is seen at the start
    headers = {
        "Content-Security-Policy": policy(settings.frame_ancestors),
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
        "Cache-Control": "no-store",
        "Vary": "Accept-Language",
    }

    def answer(template: str, language: Language, status: int, **values: object) -> Response:
        body = templates.get_template(f"customer/{template}.html").render(
            language=language.code, languages=LANGUAGES, text=language.text, **values
        )
        return HTMLResponse(body, status, headers | {"Content-Language": language.code})

    @router.get("/c/{token}")
    async def show(request: Request, token: str) -> Response:
        language = chosen(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        if replica.freshness().as_of is None:  # it cannot tell yet whom it knows
            return answer("later", language, 503)
        status = opened(token)
        if status is None:
            log.info("web.refused", reason="link", client=client_of(request, settings.access))
            return answer("refused", language, 404)
        calendar = Calendar(language, zone_of(status, settings.timezone), clock.now())
        found = await replica.history(status.view.service, limit=2 * MOST_LINES)
        coming = None if status.view.backfilling else forecast(status.view, status.plans)
        name = status.view.service.partition("/")[0]
        platform = next((one for one in replica.platforms() if one.name == name), None)
        page = page_of(status, platform, found.entries, coming, calendar, shadow=settings.shadow)
        return answer("page", language, 200, page=page, zone=str(calendar.zone))

    def opened(token: str) -> Status | None:
        """None whatever is wrong with the link: nobody learns which services there are."""
        try:
            service = service_of(token, settings.link_keys(), clock.now())
        except Misconfigured as error:
            log.error("web.link_keys_unreadable", error=str(error))
            return None
        return None if service is None else replica.service(service)

    return router
