"""`/metrics`, `/health/live` and `/health/ready` of one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream.metrics import Metrics


def health_app(
    metrics: Metrics, problems: Callable[[], Mapping[str, str]], look: Callable[[], Awaitable[None]]
) -> Starlette:
    """An ASGI app; `problems` names what is not ready, by part, in words (empty: ready), `look` brings metrics up to
    date that take asking others."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        found = dict(problems())
        return JSONResponse({"status": "unready" if found else "ok", "problems": found}, 503 if found else 200)

    async def scrape(_: Request) -> Response:
        await look()
        metrics.refresh()
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[Route("/metrics", scrape), Route("/health/live", live), Route("/health/ready", ready)],
    )
