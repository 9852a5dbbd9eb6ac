"""The whole web of one installation: the API, the operators' pages, the customers' pages."""

from __future__ import annotations

from importlib.resources import files
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from stream import __version__
from stream.core.errors import Misconfigured, Unavailable
from stream.metrics.web import WebMetrics
from stream.ports import Clock
from stream.replica import Replica
from stream.runtime.operating import Operating
from stream.web.access import Access, access_router
from stream.web.api import api_routers
from stream.web.api.answers import PREFIX, Error, Fresh, error_answer
from stream.web.api.misunderstood import sentences
from stream.web.customer import customer_router
from stream.web.headers import Headers, Heads
from stream.web.limits import Limits
from stream.web.measuring import Measured, route_of
from stream.web.pages import error_page, pages_router
from stream.web.settings import WebSettings

log = structlog.get_logger()

DESCRIPTION = """\
What quota-stream knows of services, and what operators do.

Send a token as `Authorization: Bearer qs_...`; `quota-stream token create` makes one, with the role read or operate.
What is shown is a replica of the log: each answer says in `X-As-Of-Ms` as of when, and in `X-Age-Ms` how old that is.
Send an answer's `ETag` as `If-None-Match` to be told `304` while nothing has changed.  What is wrong with a request is
said as a problem document (RFC 9457).  In a path a service's id stands as it is, `/api/v1/services/vm1/101`.
"""


def web_app(
    replica: Replica, operating: Operating, access: Access, settings: WebSettings, *, clock: Clock, metrics: WebMetrics
) -> FastAPI:
    """An ASGI app.  The replica is followed, and the log kept open, by somebody else."""
    app = FastAPI(
        title="quota-stream",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.access = access
    for router in api_routers(replica, operating, access, settings, clock=clock, metrics=metrics):
        app.include_router(router)
    app.add_api_route(f"{PREFIX}/openapi.json", _described(app), include_in_schema=False)
    app.include_router(access_router(access, settings), include_in_schema=False)
    app.include_router(customer_router(replica, settings, clock=clock), include_in_schema=False)
    app.include_router(pages_router(replica, operating, access, settings, clock=clock), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=str(files("stream.web").joinpath("static"))), name="static")
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Misconfigured, _misconfigured)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Limits)
    app.add_middleware(Fresh, replica=replica)
    app.add_middleware(Headers)
    app.add_middleware(Heads, never=f"{PREFIX}/events")
    app.add_middleware(Measured, metrics=metrics)
    return app


def _described(app: FastAPI) -> Any:
    """The route of the API's description, which anybody may read: it says nothing of this installation."""
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    parts = described.setdefault("components", {})
    parts.setdefault("schemas", {})["Error"] = Error.model_json_schema()
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": "a named token"}}
    described["security"] = [{"token": []}]

    async def openapi() -> dict[str, Any]:
        return described

    return openapi


# ---------------------------------------------------------------- what went wrong, in words


def _answer(request: Request, status: int, detail: str, headers: Any = None) -> Response:
    """A problem document for programs, a page for people."""
    if request.url.path.startswith("/api/"):
        return error_answer(status, detail, headers)
    page = error_page(request, status, detail)
    page.headers.update(headers or {})
    return page


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 304:
        return Response(status_code=304, headers=error.headers)
    if error.status_code == 401 and request.method == "GET" and not request.url.path.startswith("/api/"):
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(where, safe='/')}", 303)
    detail = OUR_WORDS.get(error.detail, error.detail)
    return _answer(request, error.status_code, detail, error.headers)


OUR_WORDS = {
    "Not Found": "there is nothing here; `/api/v1/openapi.json` describes what there is",
    "Method Not Allowed": "this cannot be done here; the header Allow says what can",
    "There was an error parsing the body": "the body is no JSON; send `Content-Type: application/json` and an object",
}


async def _misunderstood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, 422, sentences(error.errors()))


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("web.unavailable", route=route_of(request.scope), cause=str(error))
    return _answer(request, 503, f"{error}; repeat it in a moment", {"Retry-After": "5"})


async def _misconfigured(request: Request, error: Exception) -> Response:
    """A right on the log that is missing, for example: it does not pass by itself."""
    log.error("web.misconfigured", route=route_of(request.scope), cause=str(error))
    return _answer(request, 503, str(error))


async def _broken(request: Request, error: Exception) -> Response:
    log.error("web.failed", route=route_of(request.scope), exc_info=error)
    return _answer(request, 500, "this is a mistake of ours; the log of `quota-stream` has it")
