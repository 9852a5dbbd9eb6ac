"""What happened: to one service, to all of them, and as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, params
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from stream.core.enforced import speed_from_json
from stream.replica import model
from stream.replica.index import ENTRIES_PLACE
from stream.replica.replica import Replica
from stream.web.api.answers import PREFIX, READING, TAGGED, Document, Instant, Service, Tags, errors

MOST_ENTRIES = 1000
MOST_PLACE = 500
"""Characters of `before`: the id of an entry has a service's and a plan's name in it."""
CSV_PAGE = 500

COLUMNS = (
    "time", "kind", "plan", "from", "to", "reason", "speed_in_bits", "speed_out_bits", "usage_bytes", "quota_bytes",
    "by", "why", "result", "id",
)  # fmt: skip

FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""A cell that begins so is taken for a formula by spreadsheets."""

HIDDEN = "\N{REPLACEMENT CHARACTER}"
"""Stands for what cannot be seen: escapes, marks that turn the direction."""

Before = Annotated[
    str | None, Query(max_length=MOST_PLACE, pattern=ENTRIES_PLACE, description="`next` of the page before")
]
Limit = Annotated[int, Query(ge=1, le=MOST_ENTRIES, description="so many at most")]
Since = Annotated[Instant | None, Query(description="only what became known at this instant or later; ms since 1970")]


class EntryDocument(Document):
    """One thing that happened to a service."""

    id: str = Field(description="unique and stable; of a decision `<service>/<incarnation>/<revision>`")
    kind: model.EntryKind
    service: str = Field(description="`<platform>/<id>`")
    at: Instant = Field(description="when it happened; ms since 1970 (UTC)")
    incarnation: int = Field(description="of the service")
    revision: int | None = Field(description="of a decision, or of the decision that was carried out")
    document: dict[str, Any] = Field(
        description="a decision or a warning as in the log (with usage, quota, window, reason, and `by` and `why` of "
        "an operator); of an enforcement its receipt"
    )
    appended: Instant = Field(description="when it became known; ms since 1970 (UTC)")


class EntriesDocument(Document):
    entries: list[EntryDocument] = Field(description="the newest first")
    next: str | None = Field(description="give it as `before` to get those that follow; null: there are none")


TABLE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the whole history, the newest first", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


def history_router(replica: Replica, tags: Tags, first: Sequence[params.Depends]) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["history"], dependencies=first, responses=READING)

    @router.get("/changes", dependencies=[Depends(tags)], responses=TAGGED)
    async def changes(before: Before = None, limit: Limit = 100, since: Since = None) -> EntriesDocument:
        """What happened to any service."""
        return EntriesDocument.model_validate(await replica.recent(since=since, before=before, limit=limit))

    @router.get("/history/{service:path}", dependencies=[Depends(tags)], responses=TAGGED | errors(404))
    async def history(
        service: Service, before: Before = None, limit: Limit = 100, since: Since = None
    ) -> EntriesDocument:
        """What happened to a service, also to one that is gone."""
        return EntriesDocument.model_validate(await replica.history(service, before=before, limit=limit, since=since))

    @router.get(
        "/history.csv/{service:path}",
        dependencies=[Depends(tags)],
        responses=TAGGED | errors(404) | TABLE,
        response_class=Response,
    )
    async def history_csv(service: Service, tagged: Response, since: Since = None) -> Response:
        """The history as CSV (RFC 4180), UTF-8, times in UTC.  A cell that a spreadsheet would take for a formula is
        preceded by an apostrophe."""
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in service)
        headers = {**tagged.headers, "Content-Disposition": f'attachment; filename="history-{name}.csv"'}
        rows = _rows(replica, service, since)
        first = await anext(rows)  # before anything is said: what cannot be had is an error and not a torn table
        return StreamingResponse(_after(first, rows), headers=headers, media_type="text/csv")

    return router


async def _after(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for some in rest:
        yield some


async def _rows(replica: Replica, service: str, since: int | None) -> AsyncIterator[str]:
    """The table in pieces."""
    head: Sequence[Sequence[object]] = [COLUMNS]
    before: str | None = None
    while True:
        found = await replica.history(service, before=before, limit=CSV_PAGE, since=since)
        yield csv_text([*head, *(row_of(entry) for entry in found.entries)])
        if found.next is None:
            return
        head, before = (), found.next


def row_of(entry: model.Entry) -> Sequence[object]:
    """The cells of an entry, in the order of COLUMNS."""
    document = entry.document
    adjustment: Mapping[str, Any] = document.get("adjustment") or {}
    speed = document.get("speed") or document.get("wanted")
    bits = speed_from_json(speed) if speed else ("", "")
    what = f"{document['percent']} % used" if entry.kind == "warning" else document.get("reason")
    return (
        _time(entry.at), entry.kind, document.get("plan"), document.get("from"), document.get("to"), what,
        *("original" if one is None else one for one in bits), document.get("usage_bytes"),
        document.get("quota_bytes"), adjustment.get("by"), adjustment.get("why"), document.get("result"), entry.id,
    )  # fmt: skip


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Lines of CSV, in which nothing is a formula."""
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    visible = "".join(c if c.isprintable() or c in "\t\r\n" else HIDDEN for c in value)
    return f"'{visible}" if visible.lstrip(f" {HIDDEN}").startswith(FORMULA) else visible


def _time(at: int) -> str:
    """Never raises: of what no calendar here reaches, the number."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(at)
