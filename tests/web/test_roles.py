"""Who may do what, route by route: a new route without a rule here fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from stream.web.customer.links import sign
from tests.replica.stage import NOW
from tests.web.house import KEY, URL, House, house, routes_of

API = "/api/v1"
READ: Final = {
    *(
        ("GET", f"{API}/{name}")
        for name in (
            "freshness", "events", "services", "services/{service:path}", "forecast/{service:path}", "changes",
            "history/{service:path}", "history.csv/{service:path}", "population", "plans", "platforms", "sources",
            "problems", "dead-letters",
        )
    ),
    *(
        ("GET", path)
        for path in ("/", "/services", "/services/{service:path}", "/changes", "/platforms", "/dead-letters")
    ),
}  # fmt: skip
OPERATE: Final = {
    ("POST", f"{API}/adjustments"),
    ("POST", f"{API}/platforms/{{name}}/allow"),
    ("POST", f"{API}/platforms/{{name}}/release"),
    ("POST", f"{API}/link/{{service:path}}"),
    ("POST", f"{API}/forget/{{service:path}}"),
    ("POST", "/services/{service:path}"),
    ("POST", "/platforms"),
}
LOGGED_IN: Final = {("POST", "/logout")}
"""For all who are logged in."""

OPEN: Final = {
    ("GET", f"{API}/openapi.json"), ("GET", "/login"), ("POST", "/login"), ("GET", "/c/{token}"), ("*", "/static"),
}  # fmt: skip
"""They say nothing of the installation; the customer's page asks for a signature."""

LIVE: Final = f"{API}/events"
"""Never ends, so whoever may read it is not made to do so here."""

RULED: Final = sorted(READ | OPERATE | LOGGED_IN)
LINKED: Final = sign("vm1/101", NOW + 86_400_000, KEY)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[House]:
    service = {"type": "registration", "service": "vm1/101", "plans": [], "at": NOW}
    async with house(tmp_path, [{"type": "plans", "version": 1, "plans": {}}, service]) as built:
        yield built


def path_of(template: str) -> str:
    return template.replace("{service:path}", "vm1/101").replace("{name}", "vm1").replace("{token}", LINKED)


async def refused(client: httpx.AsyncClient, method: str, template: str, **more: object) -> int | None:
    """The status of a refusal; None if it was let through.  A page that leads to the log-in is one with 401."""
    response = await client.request(method, path_of(template), **more)  # type: ignore[arg-type]
    if response.status_code == 303 and response.headers["Location"].startswith("/login?"):
        return 401
    return response.status_code if response.status_code in (401, 403) else None


async def test_every_route_has_a_rule(here: House) -> None:
    """Whoever adds one says here who may use it."""
    assert set(routes_of(here.app)) == READ | OPERATE | LOGGED_IN | OPEN


async def test_nobody_is_let_in(here: House) -> None:
    """Without a token, and with one that is wrong."""
    for token in (None, "qs_" + "x" * 43):
        async with here.client(token) as client:
            for method, template in RULED:
                here.clock.at += 60_000  # so that the limit on failures is not reached
                assert await refused(client, method, template) == 401, (method, template)


async def test_a_program_does_what_its_role_says(here: House) -> None:
    """Who reads is kept from each verb; who operates from nothing."""
    async with here.client(here.ben) as ben, here.client(here.anna) as anna:
        for method, template in RULED:
            if template != LIVE:
                expected = 403 if (method, template) in OPERATE else None
                assert await refused(ben, method, template) == expected, (method, template)
                assert await refused(anna, method, template) is None, (method, template)


async def test_a_person_does_what_the_role_says(here: House) -> None:
    """As a program, but that each change needs the page's own token."""
    async with here.browser(here.ben) as ben, here.browser(here.anna) as anna:
        for method, template in RULED:
            if template == LIVE:
                continue
            is_verb = (method, template) in OPERATE
            assert await refused(ben, method, template) == (403 if method == "POST" else None), (method, template)
            assert await refused(anna, method, template) == (403 if method == "POST" else None), (method, template)
            if is_verb:
                forged = {"X-CSRF-Token": "0" * 64}
                assert await refused(anna, method, template, headers=forged) == 403, (method, template)


async def test_a_revoked_token_opens_nothing(here: House) -> None:
    """Neither as it is nor by the session that was begun with it."""
    async with here.browser(here.anna) as person, here.client(here.anna) as program:
        here.tokens.revoke("anna")
        for method, template in RULED:
            here.clock.at += 60_000
            assert await refused(person, method, template) == 401, (method, template)
            assert await refused(program, method, template) == 401, (method, template)


async def test_a_customers_link_opens_nothing_else(here: House) -> None:
    """Wherever its token is shown: as a token, as a session, to log in with, in a parameter."""
    async with here.client() as client:
        assert (await client.get(f"/c/{LINKED}")).status_code == 200
        wrong = await client.post("/login", data={"token": LINKED})
        assert (wrong.status_code, "Set-Cookie" in wrong.headers) == (401, False)
        for method, template in RULED:
            here.clock.at += 60_000
            for headers in (
                {"Authorization": f"Bearer {LINKED}"}, {"Cookie": f"session={LINKED}"}, {"X-CSRF-Token": LINKED},
                {"Referer": f"{URL}/c/{LINKED}"}, {"X-Remote-User": "anna"},
            ):  # fmt: skip
                assert await refused(client, method, template, headers=headers) == 401, (method, template)
            assert await refused(client, method, template, params={"token": LINKED}) == 401
        for path in (
            f"/c/{LINKED}/",
            f"/c/{LINKED}/history",
            f"/c/../services/{LINKED}",
            f"/c/{LINKED}.csv",
            f"/c//{LINKED}",
        ):
            response = await client.get(path)
            assert response.status_code in (303, 404), path
            assert "vm1" not in response.text
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await client.request(method, f"/c/{LINKED}")).status_code == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
async def test_there_are_no_other_ways(here: House, method: str) -> None:
    """No route answers a method that it does not name, to nobody and to an operator."""
    async with here.client() as nobody, here.client(here.anna) as anna:
        for template in sorted({template for _, template in RULED} | {"/c/{token}", "/login"}):
            for client in (nobody, anna):
                response = await client.request(method, path_of(template))
                assert response.status_code in (404, 405), (method, template)
