"""The API: everything that can be known, and what operators do, as JSON under `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from stream.metrics.web import WebMetrics
from stream.ports import Clock
from stream.replica.replica import Replica
from stream.runtime.operating import Operating
from stream.web.access import Access, reading
from stream.web.api.answers import Read, Tags
from stream.web.api.events import events_router
from stream.web.api.history import history_router
from stream.web.api.installation import freshness_router, installation_router
from stream.web.api.services import services_router
from stream.web.api.verbs import verbs_router
from stream.web.settings import WebSettings


def api_routers(
    replica: Replica, operating: Operating, access: Access, settings: WebSettings, *, clock: Clock, metrics: WebMetrics
) -> list[APIRouter]:
    """Each route asks first who is there, then whether everything was read."""
    tags = Tags(replica)
    known, read = Depends(reading), Depends(Read(replica))
    return [
        freshness_router(replica, [known]),
        events_router(replica, access, metrics, [known]),
        services_router(replica, tags, [known, read]),
        history_router(replica, tags, [known, read]),
        installation_router(replica, settings, tags, [known, read]),
        verbs_router(replica, operating, settings, clock, [known, read]),
    ]
