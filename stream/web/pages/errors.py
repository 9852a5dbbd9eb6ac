"""A page that says what went wrong, for whoever asked from a browser."""

from __future__ import annotations

from datetime import UTC
from functools import cache
from http import HTTPStatus

from jinja2 import Template
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stream.web.rendering import environment


def error_page(_: Request, status: int, detail: str) -> Response:
    """Without anything that somebody would have to be logged in for."""
    try:
        title = HTTPStatus(status).phrase.capitalize()
    except ValueError:
        title = f"Error {status}"
    return HTMLResponse(_template().render(title=title, detail=detail, status=status), status)


@cache
def _template() -> Template:
    return environment(UTC).get_template("error.html")
