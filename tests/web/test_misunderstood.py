"""What cannot be understood is refused in one plain sentence of ours, which repeats nothing that was sent unescaped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.hostile import HOSTILE
from tests.web.house import House, house

LISTS = ("history/vm1/1", "changes", "dead-letters")
NO_PLACES = ("x", "", "1", "1-2", "1-2-", "-1-2-3", "1--2", "0x1-2-3", "1.5-2-3", "²-1-3", "1" * 20 + "-1-x")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, [{"type": "registration", "service": "vm1/1", "plans": []}]) as built:
        yield built


async def said(here: House, path: str, body: Any = None) -> tuple[int, str]:
    """Status and detail."""
    async with here.client(here.anna) as anna:
        sent = anna.get(f"/api/v1/{path}") if body is None else anna.post(f"/api/v1/{path}", json=body)
        answer = await sent
        return answer.status_code, answer.json().get("detail", "")


async def test_a_place_in_a_list(here: House) -> None:
    """Only what a page of the list gave as `next` is one; what looks like one, and is too large, is the beginning."""
    for path in LISTS:
        wrong = (*NO_PLACES, "1-2-x", "1-2-" + "1" * 20) if path == "dead-letters" else NO_PLACES
        for before in wrong:
            detail = "'before' in the query is no place in this list: give `next` of the page before as it is"
            assert await said(here, f"{path}?before={before}") == (422, detail), (path, before)
        for before in ("1-2-3", "9" * 19 + "-1-1", "1-1-" + "9" * 19):
            assert (await said(here, f"{path}?before={before}"))[0] == 200, (path, before)
    longest = f"{10**18}-{10**18}-{'x' * 200}/{10**18}/{'p' * 64}/{10**18}/9999"
    assert (await said(here, f"changes?before={longest}"))[0] == 200


async def test_pages_show_the_beginning_instead(here: House) -> None:
    """A person who has a wrong address sees the newest."""
    async with here.browser(here.ben) as ben:
        for path in ("services/vm1/1", "changes", "dead-letters"):
            whole = (await ben.get(f"/{path}")).text.count("<li")
            for before in (*NO_PLACES, "1-1-²", "1-1-" + "9" * 19, *(text[:300] for text in HOSTILE.values())):
                answer = await ben.get(f"/{path}", params={"before": before})
                assert answer.status_code == 200, (path, before)
                assert before[:2] == "1-" or answer.text.count("<li") == whole


WHOLE = "is no whole number: write digits alone, without quotes"


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("services?limit=0", "'limit' in the query is too small: it must be at least 1"),
        ("services?limit=1001", "'limit' in the query is too large: it must be at most 1000"),
        ("services?limit=x", f"'limit' in the query {WHOLE}"),
        ("services?slowed=perhaps", "'slowed' in the query is neither true nor false: write one of them"),
        ("services?sort=y", "'sort' in the query is unknown: it is 'service', 'usage', 'changed', 'counted_to' or "
                            "'speed'"),
        ("services?text=" + "x" * 201, "'text' in the query is too long: it may have 200 characters"),
        ("services/" + "x" * 201, "'service' in the path is too long: it may have 200 characters"),
        ("services?limit=0&offset=-1", "'offset' in the query is too small: it must be at least 0; "
                                       "'limit' in the query is too small: it must be at least 1"),
    ],
)  # fmt: skip
async def test_queries(here: House, path: str, detail: str) -> None:
    """It is said which parameter, what is wrong with it, and what is expected."""
    assert await said(here, path) == (422, detail)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "the body is no JSON object: send one, with `Content-Type: application/json`"),
        ({}, "'kind' in the body is missing: it must be given"),
        ({"kind": "<b>"}, "'kind' in the body is unknown: it is one of 'credit', 'exempt', 'pin', 'unpin', 'reset'"),
        ({"kind": "credit", "service": "vm1/1"}, "'bytes' in the body is missing: it must be given"),
        ({"kind": "credit", "service": "vm1/1", "bytes": "5"}, f"'bytes' in the body {WHOLE}"),
        ({"kind": "credit", "service": "vm1/1", "bytes": True}, f"'bytes' in the body {WHOLE}"),
        ({"kind": "credit", "service": "vm1/1", "bytes": 0.5}, f"'bytes' in the body {WHOLE}"),
        ({"kind": "credit", "service": "vm1/1", "bytes": 1e300}, "'bytes' in the body is too large: write less"),
        ({"kind": "reset", "service": ""}, "'service' in the body is empty: write something"),
        ({"kind": "reset", "service": 7}, "'service' in the body is no text: write it in quotes"),
        ({"kind": "reset", "service": "vm1/1", "id": "a\nb"},
         "'id' in the body has control characters: leave them out"),
        ({"kind": "reset", "service": "vm1/1", "by": "ben"},
         "'by' in the body cannot be sent: who does it is the name of the token; leave it out"),
        ({"kind": "reset", "service": "vm1/1", "at": 5}, "'at' in the body is no field that is known: leave it out"),
    ],
)  # fmt: skip
async def test_bodies(here: House, body: Any, detail: str) -> None:
    """The same of a body and its fields."""
    assert await said(here, "adjustments", body) == (422, detail)


async def test_a_body_that_is_no_json(here: House) -> None:
    """It is said where it ends to be one; and that there is none."""
    async with here.client(here.anna) as anna:
        for content, detail in (
            (b'{"kind": ', "the body is no JSON: see character 9"),
            (b"", "the body is missing: it must be given"),
            (b'{"kind":"reset","service":"\\ud800"}', "'service' in the body is no text: it has half a character"),
        ):
            answer = await anna.post(
                "/api/v1/adjustments", content=content, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["detail"]) == (422, detail)


async def test_names_of_fields_may_be_anything(here: House) -> None:
    """What somebody made up is told escaped and cut; and no more of it than of ten fields."""
    names = [text[:200] for text in HOSTILE.values()] + ["x" * 5000]
    for name in names:
        status, detail = await said(here, "adjustments", {"kind": "reset", "service": "vm1/1", name: 1})
        assert status == 422
        assert (detail.isprintable(), detail.isascii(), len(detail) < 700) == (True, True, True), name
        assert detail.endswith("in the body is no field that is known: leave it out"), detail
    status, detail = await said(here, "adjustments", {"kind": "reset", "service": "vm1/1"} | dict.fromkeys(names, 1))
    assert (status, detail.count("no field that is known")) == (422, 10)
