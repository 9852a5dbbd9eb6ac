"""`/login` and `/logout`: a token for a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from stream.web.access.access import Access, reading
from stream.web.access.principal import Principal
from stream.web.rendering import environment
from stream.web.settings import WebSettings

MOST_TOKEN_CHARACTERS: Final = 200


def access_router(access: Access, settings: WebSettings) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    template = environment(settings.timezone).get_template("access/login.html")

    def page(target: str, status: int = 200, error: str = "", headers: Mapping[str, str] | None = None) -> Response:
        return HTMLResponse(template.render(next=target, error=error, csrf=""), status, headers)

    @router.get("/login")
    async def show(request: Request) -> Response:
        target = local_path(request.query_params.get("next", ""))
        if access.principal(request) is not None:
            return RedirectResponse(target, 303)
        if request.headers.get("sec-fetch-site") == "cross-site":  # a link in a mail: the browser keeps our cookie back
            again = f"/login?{urlencode({'next': target})}"
            return HTMLResponse("<!doctype html><title>Log in</title>", headers={"Refresh": f"0; url={again}"})
        return page(target)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=4)
        token, target = (value if isinstance(value := form.get(name), str) else "" for name in ("token", "next"))
        target = local_path(target)
        try:
            identity = access.log_in(request, token[:MOST_TOKEN_CHARACTERS])
        except HTTPException as refusal:
            return page(target, refusal.status_code, str(refusal.detail), refusal.headers)
        if identity is None:
            return page(target, 401, "This token is not known here.")
        access.log_out(request)  # of whoever was logged in before
        response = RedirectResponse(target, 303)
        access.set_cookie(response, identity)
        return response

    @router.post("/logout")
    async def log_out(request: Request, _: Annotated[Principal, Depends(reading)]) -> Response:
        access.log_out(request)
        response = RedirectResponse("/login", 303)
        access.delete_cookie(response)
        return response

    return router


def local_path(target: str) -> str:
    """Where to go after logging in: a path of this server and nothing that a browser takes for another's."""
    is_ours = target.startswith("/") and target.isprintable() and not target.startswith(("//", "/\\"))
    return target if is_ours and "\\" not in target else "/"
