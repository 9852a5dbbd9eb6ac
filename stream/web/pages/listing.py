"""The list of services: what is asked for in the address, and pages of what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast, get_args
from urllib.parse import quote, urlencode

from stream.replica.model import Found, Query, Sort

PER_PAGE: Final = 50
MOST_PAGES: Final = 1_000_000
MOST_TEXT: Final = 300

SORTS: Final[Mapping[Sort, str]] = {
    "service": "Service",
    "usage": "Share of the quota used",
    "changed": "Last change",
    "counted_to": "Counted to",
    "speed": "Speed",
}


def query_of(parameters: Mapping[str, str]) -> Query:
    """What an address asks for; what it says wrongly is as if it was not there."""
    sort = parameters.get("sort", "service")
    page = parameters.get("page", "1")
    number = min(int(page), MOST_PAGES) if page.isascii() and page.isdecimal() and len(page) < 9 else 1
    return Query(
        text=parameters.get("q", "").strip()[:MOST_TEXT],
        exact=parameters.get("exact") == "1",
        platform=parameters.get("platform") or None,
        plan=parameters.get("plan") or None,
        profile=parameters.get("profile") or None,
        slowed=True if parameters.get("slowed") == "1" else None,
        sort=cast("Sort", sort) if sort in get_args(Sort) else "service",
        descending=parameters.get("descending") == "1",
        offset=(max(1, number) - 1) * PER_PAGE,
        limit=PER_PAGE,
    )


def address_of(query: Query) -> str:
    """Of the page that shows `query`."""
    given = {
        "q": query.text,
        "exact": query.exact,
        "platform": query.platform,
        "plan": query.plan,
        "profile": query.profile,
        "slowed": query.slowed,
        "sort": query.sort if query.sort != "service" else "",
        "descending": query.descending,
        "page": query.offset // PER_PAGE + 1 if query.offset else "",
    }
    asked = urlencode({name: "1" if value is True else value for name, value in given.items() if value})
    return f"/services?{asked}" if asked else "/services"


@dataclass(frozen=True, slots=True)
class Paging:
    first: int
    last: int
    total: int
    before: str | None
    """The address of the page before; None on the first one."""
    after: str | None


def paging(query: Query, found: Found) -> Paging:
    first = query.offset + 1 if found.rows else 0
    last = query.offset + len(found.rows)
    before = address_of(replace(query, offset=max(0, query.offset - PER_PAGE))) if query.offset else None
    after = address_of(replace(query, offset=query.offset + PER_PAGE)) if last < found.total and found.rows else None
    return Paging(first, last, found.total, before, after)


def service_address(service: str) -> str:
    """Of a service's page."""
    return f"/services/{path_of(service)}"


def path_of(service: str) -> str:
    """Its id in an address, whatever it is made of."""
    has_dots = any(part in ("", ".", "..") for part in service.split("/"))  # a browser would walk over these
    return quote(service, safe="" if has_dots else "/")
