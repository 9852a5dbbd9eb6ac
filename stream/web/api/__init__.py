"""The API: everything that can be known, and what operators do, as JSON under `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from stream.metrics.web import WebMetrics
from stream.ports import Clock
from stream.replica.replica import Replica
from stream.runtime.operating import Operating
from stream.web.access import Access, reading
from stream.web.api.answers import PREFIX, Tags
from stream.web.api.events import events_router
from stream.web.api.history import history_router
from stream.web.api.installation import installation_router
from stream.web.api.services import services_router
from stream.web.api.verbs import verbs_router
from stream.web.settings import WebSettings


def api_router(
    replica: Replica, operating: Operating, access: Access, settings: WebSettings, *, clock: Clock, metrics: WebMetrics
) -> APIRouter:
    """Whoever asks must be known before anything else is looked at."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(reading)])
    tags = Tags(replica)
    router.include_router(services_router(replica, tags))
    router.include_router(history_router(replica, tags))
    router.include_router(installation_router(replica, settings, tags))
    router.include_router(events_router(replica, access, metrics))
    router.include_router(verbs_router(replica, operating, settings, clock))
    return router
