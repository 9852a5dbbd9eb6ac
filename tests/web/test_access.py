"""Tokens, sessions, forgery, the proxy's header and the limit on failures: who comes in, and who does not."""

from __future__ import annotations

import asyncio
import hmac
import os
import stat
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from structlog.testing import capture_logs

from stream.core.errors import Misconfigured, Rejected
from stream.web.access import Access, Operator, Reader, access_router
from stream.web.access.failures import AGAIN_AFTER_MS, MOST_CLIENTS, MOST_FAILURES, Failures
from stream.web.access.routes import local_path
from stream.web.access.sessions import LIFETIME_MS, MOST_SESSIONS, Sessions
from stream.web.access.tokens import TokensFile, hash_of
from stream.web.settings import AccessSettings, WebSettings
from tests.adapters.world import SettableClock

HOST = "http://quota.test"


class Door:
    """An app with one route to read and one to operate, and the tokens of anna, who operates, and ben, who reads."""

    def __init__(self, folder: Path, *, secure: bool = False, **settings: Any) -> None:
        self.clock = SettableClock()
        self.file = TokensFile(folder / "tokens.json")
        self.anna = self.file.create("anna", "operate", self.clock.at)
        self.ben = self.file.create("ben", "read", self.clock.at)
        access = AccessSettings(tokens_file=self.file.path, **settings)
        self.access = Access(access, secure=secure, clock=self.clock)
        self.app = FastAPI()
        self.app.state.access = self.access
        self.app.include_router(access_router(self.access, WebSettings(access=access, secure=secure)))
        self.app.add_api_route("/read", _read, methods=["GET"])
        self.app.add_api_route("/operate", _operate, methods=["GET", "POST"])

    @asynccontextmanager
    async def client(self, address: str = "192.0.2.7", base: str = HOST) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield client

    @asynccontextmanager
    async def browser(self, token: str) -> AsyncIterator[httpx.AsyncClient]:
        """Logged in with it."""
        async with self.client() as client:
            response = await client.post("/login", data={"token": token}, headers={"Origin": HOST})
            assert response.status_code == 303
            yield client

    def forgery_token(self, client: httpx.AsyncClient) -> str:
        """As the forms of a page would have it for this client."""
        request = _request({"cookie": f"{self.access.cookie}={client.cookies[self.access.cookie]}"})
        return self.access.csrf_token(request)


def _request(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw, "client": ("192.0.2.7", 1)})


async def _read(who: Reader) -> str:
    return who.name


async def _operate(who: Operator) -> str:
    return who.name


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


@pytest.fixture
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged."""
    with capture_logs() as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---------------------------------------------------------------- the file


def test_the_file_keeps_hashes_for_its_owner_alone(door: Door) -> None:
    """No token stands in it, nobody else can read it, and nothing is left beside it."""
    text = door.file.path.read_text()
    assert door.anna.startswith("qs_")
    assert door.anna not in text
    assert hash_of(door.anna) in text
    assert stat.S_IMODE(door.file.path.stat().st_mode) == 0o600
    assert os.listdir(door.file.path.parent) == ["tokens.json"]


def test_names_are_told_once_and_revoked_by_name(door: Door) -> None:
    """A name is one token's; what is no name, or nobody's, is refused."""
    assert [(one.name, one.role) for one in door.file.entries()] == [("anna", "operate"), ("ben", "read")]
    for name in ("anna", "", "a\nb", " a", "x" * 65, "\x1b[31m"):
        with pytest.raises(Rejected):
            door.file.create(name, "read", 0)
    with pytest.raises(Rejected):
        door.file.revoke("carl")
    door.file.revoke("anna")
    assert door.file.find(door.anna) is None
    assert door.file.find(door.ben) is not None


def test_tokens_made_at_the_same_time_are_all_kept(door: Door) -> None:
    """Whoever changes the file waits for whoever else does."""
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: TokensFile(door.file.path).create(f"p{n}", "read", 0), range(24)))
    assert all(door.file.find(token) for token in made)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"version":2,"tokens":[]}', '{"version":1,"tokens":[{"name":"a"}]}', "\x00" * 9,
     '{"version":1,"tokens":[{"name":"a","role":"root","sha256":"00","created":1}]}'],
)  # fmt: skip
async def test_a_damaged_file_lets_nobody_in(door: Door, text: str, lines: list[MutableMapping[str, Any]]) -> None:
    """What cannot be read opens nothing; that is logged once, not with each request."""
    door.file.path.write_text(text)
    with pytest.raises(Misconfigured):
        TokensFile(door.file.path).entries()
    async with door.client() as client:
        for _ in range(3):
            assert (await client.get("/read", headers=bearer(door.anna))).status_code == 401
    assert [line["event"] for line in lines].count("web.tokens_unreadable") == 1


async def test_a_missing_file_has_nobody(tmp_path: Path) -> None:
    """Before the first token is made nobody comes in, and nothing fails."""
    door = Door(tmp_path)
    door.file.path.unlink()
    async with door.client() as client:
        assert (await client.get("/read", headers=bearer(door.anna))).status_code == 401


def test_every_token_is_compared_whole(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token and each right one are compared with all that there are, in constant time."""
    compared: list[str] = []

    def comparing(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", comparing)
    for token in (door.anna, door.ben, "qs_wrong"):
        compared.clear()
        door.file.find(token)
        assert compared == [hash_of(door.anna), hash_of(door.ben)]


# ---------------------------------------------------------------- roles


async def test_each_role_may_do_its_own(door: Door) -> None:
    """Readers read, operators do both, and nobody else does either."""
    async with door.client() as client:
        for token, reads, operates in ((door.anna, 200, 200), (door.ben, 200, 403), ("qs_wrong", 401, 401)):
            assert (await client.get("/read", headers=bearer(token))).status_code == reads
            assert (await client.get("/operate", headers=bearer(token))).status_code == operates
            assert (await client.post("/operate", headers=bearer(token))).status_code == operates
        for headers in (
            {},
            {"Authorization": f"Basic {door.anna}"},
            {"Authorization": door.anna},
            {"Cookie": "session=x"},
        ):
            response = await client.get("/read", headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_change_of_the_file_counts_at_once(door: Door) -> None:
    """A new token opens without a restart, a revoked one no longer does."""
    async with door.client() as client:
        carl = TokensFile(door.file.path).create("carl", "read", 0)
        assert (await client.get("/read", headers=bearer(carl))).text == '"carl"'
        TokensFile(door.file.path).revoke("carl")
        assert (await client.get("/read", headers=bearer(carl))).status_code == 401


# ---------------------------------------------------------------- sessions


@pytest.mark.parametrize(("secure", "name"), [(False, "session"), (True, "__Host-session")])
async def test_the_cookie_is_for_our_pages_alone(tmp_path: Path, secure: bool, name: str) -> None:
    """No script reads it, no other site sends it, and with https nothing but https carries it."""
    door = Door(tmp_path, secure=secure)
    async with door.client(base="https://quota.test") as client:
        response = await client.post("/login", data={"token": door.anna, "next": "/read"})
        cookie = response.headers["Set-Cookie"]
        assert (response.status_code, response.headers["Location"]) == (303, "/read")
        assert cookie.startswith(f"{name}=")
        flags = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= flags
        assert ("secure" in flags) == secure
        assert "domain" not in cookie.lower()
        assert door.anna not in cookie
        assert (await client.get("/read")).text == '"anna"'


async def test_a_session_ends_with_its_token(door: Door) -> None:
    """Revoking ends what was begun with it; so does time, and logging out."""
    async with door.browser(door.anna) as anna, door.browser(door.ben) as ben, door.browser(door.ben) as other:
        door.file.revoke("anna")
        assert (await anna.get("/read")).status_code == 401
        assert (await ben.get("/read")).status_code == 200
        out = await other.post("/logout", data={"csrf": door.forgery_token(other)})
        assert (out.status_code, out.headers["Location"]) == (303, "/login")
        assert (await other.get("/read")).status_code == 401
        door.clock.at += LIFETIME_MS - 1
        assert (await ben.get("/read")).status_code == 200
        door.clock.at += 1
        assert (await ben.get("/read")).status_code == 401


async def test_a_name_that_is_made_anew_opens_no_old_session(door: Door) -> None:
    """A session belongs to a token, not to a name."""
    async with door.browser(door.ben) as ben:
        door.file.revoke("ben")
        door.file.create("ben", "operate", 0)
        assert (await ben.get("/read")).status_code == 401


def test_there_are_only_so_many_sessions() -> None:
    """The oldest one ends."""
    sessions = Sessions()
    first, second = sessions.begin("a", 0), sessions.begin("a", 0)
    for _ in range(MOST_SESSIONS - 1):
        sessions.begin("a", 0)
    assert len(sessions) == MOST_SESSIONS
    assert sessions.find(first, 0) is None
    assert sessions.find(second, 0) is not None


@pytest.mark.parametrize(
    ("asked", "goes"),
    [("/services/vm1/1?x=1", "/services/vm1/1?x=1"), ("//harm.example", "/"), ("/\\harm.example", "/"), ("", "/"),
     ("https://harm.example", "/"), ("javascript:1", "/"), ("/a\r\nSet-Cookie: x", "/"), ("/a\\b", "/")],
)  # fmt: skip
def test_after_logging_in_one_stays_here(asked: str, goes: str) -> None:
    """Whoever made the link cannot send anybody to another site."""
    assert local_path(asked) == goes


async def test_who_is_logged_in_is_not_asked_again(door: Door) -> None:
    """The page to log in leads on."""
    async with door.browser(door.ben) as ben:
        response = await ben.get("/login", params={"next": "/read"})
        assert (response.status_code, response.headers["Location"]) == (303, "/read")


async def test_a_link_from_elsewhere_finds_the_session(door: Door) -> None:
    """Its request comes without our cookie; the page to log in asks once more by itself, and then it comes along."""
    async with door.client() as client:
        asked = {"next": "/services/a;b\"c'd"}
        first = await client.get("/login", params=asked, headers={"Sec-Fetch-Site": "cross-site"})
        assert first.headers["Refresh"] == "0; url=/login?next=%2Fservices%2Fa%3Bb%22c%27d"
        again = await client.get("/login", params=asked, headers={"Sec-Fetch-Site": "same-origin"})
        assert "Refresh" not in again.headers
        assert "Your token" in again.text


# ---------------------------------------------------------------- forgery


async def test_a_session_changes_nothing_without_its_own_token(door: Door) -> None:
    """A foreign page can make a browser send its cookie, but knows no token of ours, neither in a form nor a header."""
    async with door.browser(door.anna) as anna, door.browser(door.anna) as other:
        right, others = door.forgery_token(anna), door.forgery_token(other)
        for sent, status in ((None, 403), ("", 403), ("0" * 64, 403), (others, 403), (right, 200)):
            data = {} if sent is None else {"csrf": sent}
            assert (await anna.post("/operate", data=data)).status_code == status
            assert (await anna.post("/operate", files={"csrf": (None, sent or "")})).status_code == status
            headers = {} if sent is None else {"X-CSRF-Token": sent}
            assert (await anna.post("/operate", json={}, headers=headers)).status_code == status
        assert (await anna.post("/operate", json={"csrf": right})).status_code == 403
        assert (await anna.post("/operate", params={"csrf": right})).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": HOST}, 200), ({"Origin": "http://harm.example"}, 403), ({"Origin": "null"}, 403),
     ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
     ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403), ({}, 200),
     ({"Sec-Fetch-Site": "cross-site", "Origin": HOST}, 403)],
)  # fmt: skip
async def test_a_foreign_page_changes_nothing(door: Door, headers: dict[str, str], status: int) -> None:
    """Where a browser says that another site made it ask, even the right token does not help."""
    async with door.browser(door.anna) as anna:
        response = await anna.post("/operate", data={"csrf": door.forgery_token(anna)}, headers=headers)
        assert response.status_code == status
        assert (await anna.post("/operate", headers=bearer(door.anna) | headers)).status_code == 200


async def test_nobody_is_logged_in_by_a_foreign_page(door: Door) -> None:
    """Or else one would work in somebody else's name without noticing."""
    async with door.client() as client:
        response = await client.post("/login", data={"token": door.ben}, headers={"Origin": "http://harm.example"})
        assert response.status_code == 403
        assert "Set-Cookie" not in response.headers


async def test_logging_out_is_not_forged(door: Door) -> None:
    """Only a page of ours logs out."""
    async with door.browser(door.ben) as ben:
        assert (await ben.post("/logout")).status_code == 403
        assert (await ben.get("/read")).status_code == 200


# ---------------------------------------------------------------- failures


async def test_wrong_tokens_are_limited_for_each_client(door: Door, lines: list[MutableMapping[str, Any]]) -> None:
    """Ten, and then one a minute; the right token and other clients pass all the while; each is logged, none as is."""
    wrong = "qs_" + "w" * 43

    async def tries(client: httpx.AsyncClient) -> Sequence[int]:
        by_page = [(await client.post("/login", data={"token": wrong})).status_code for _ in range(MOST_FAILURES // 2)]
        by_api = [(await client.get("/read", headers=bearer(wrong))).status_code for _ in range(MOST_FAILURES // 2)]
        return by_page + by_api

    async with door.client() as client, door.client("192.0.2.8") as other:
        assert await tries(client) == [401] * MOST_FAILURES
        logged = [line for line in lines if line.get("reason") == "wrong token"]
        assert len(logged) == MOST_FAILURES
        assert {line["client"] for line in logged} == {"192.0.2.7"}
        assert {(line["method"], line["route"]) for line in logged} == {("POST", "/login"), ("GET", "/read")}
        assert await tries(client) == [429] * MOST_FAILURES
        assert [line["reason"] for line in lines[MOST_FAILURES:]] == ["too many wrong tokens"]
        page = await client.post("/login", data={"token": wrong})
        assert (page.headers["Retry-After"], "too many wrong tokens" in page.text) == ("60", True)
        assert (await other.get("/read", headers=bearer(wrong))).status_code == 401
        assert (await client.get("/read", headers=bearer(door.ben))).status_code == 200
        door.clock.at += AGAIN_AFTER_MS
        assert (await client.get("/read", headers=bearer(wrong))).status_code == 401
        assert (await client.get("/read", headers=bearer(wrong))).status_code == 429
    assert [(line["reason"], line.get("left_out")) for line in lines[-2:]] == [
        ("wrong token", MOST_FAILURES),
        ("too many wrong tokens", None),
    ]
    assert wrong not in repr(lines)
    assert door.ben not in repr(lines)


def test_a_client_is_a_network_where_addresses_are_many() -> None:
    """The 2^64 addresses of an IPv6 network count as one client, and no more clients than so many are remembered."""
    failures = Failures()
    for n in range(MOST_FAILURES):
        assert failures.note(f"2001:db8::{n:x}", 0) == (True, 0)
    assert failures.note("2001:db8::ffff:1", 0) == (False, 0)
    assert failures.note("2001:db8:1::1", 0) == (True, 0)
    for n in range(MOST_CLIENTS):
        failures.note(f"client {n}", 0)
    assert len(failures._clients) == MOST_CLIENTS
    assert failures.note("2001:db8::1", 0) == (True, 0)


async def test_a_refused_role_is_logged_by_name(door: Door, lines: list[MutableMapping[str, Any]]) -> None:
    """Who asked for what, and no secret."""
    async with door.client() as client:
        await client.post("/operate", headers=bearer(door.ben))
    (line,) = lines
    assert (line["event"], line["reason"], line["by"], line["route"]) == ("web.refused", "role", "ben", "/operate")


# ---------------------------------------------------------------- the proxy


PROXY: dict[str, Any] = {"user_header": "X-Remote-User", "proxies": (ip_network("127.0.0.0/8"), ip_network("::1"))}


async def test_a_header_alone_opens_nothing(tmp_path: Path) -> None:
    """It is believed if it is configured and comes from where the proxy is, and not otherwise."""
    cases: tuple[tuple[dict[str, Any], str, int], ...] = (
        ({}, "127.0.0.1", 401),
        ({"proxies": PROXY["proxies"]}, "127.0.0.1", 401),
        ({"user_header": "X-Remote-User"}, "127.0.0.1", 401),
        (PROXY, "192.0.2.7", 401),
        (PROXY, "127.0.0.1", 200),
        (PROXY, "::1", 200),
        (PROXY, "::ffff:127.0.0.1", 200),
        (PROXY, "testclient", 401),
    )
    for number, (settings, address, status) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with Door(folder, **settings).client(address) as client:
            headers = {"X-Remote-User": "anna", "X-Forwarded-For": "127.0.0.1"}
            assert (await client.get("/read", headers=headers)).status_code == status, (settings, address)


async def test_a_proxied_user_has_the_configured_role(tmp_path: Path) -> None:
    """Operators are listed, all others read; and a browser's session is protected against forgery here as well."""
    door = Door(tmp_path, operators=frozenset({"anna"}), **PROXY)
    async with door.client("127.0.0.1") as client:
        anna, ben = {"X-Remote-User": "anna"}, {"X-Remote-User": "ben"}
        assert (await client.get("/operate", headers=anna)).status_code == 200
        assert (await client.get("/operate", headers=ben)).status_code == 403
        assert (await client.post("/operate", headers=anna)).status_code == 403
        csrf = door.access.csrf_token(_proxied("anna"))
        assert (await client.post("/operate", headers=anna | {"X-CSRF-Token": csrf})).status_code == 200
        others = door.access.csrf_token(_proxied("ben"))
        assert (await client.post("/operate", headers=anna | {"X-CSRF-Token": others})).status_code == 403


async def test_what_a_proxy_asked_a_person_for_is_its_own_affair(tmp_path: Path) -> None:
    """Its `Authorization: Basic` comes along and is no token of ours; a token beside the header is what counts."""
    door = Door(tmp_path, **PROXY)
    async with door.client("127.0.0.1") as client:
        anna, basic = {"X-Remote-User": "anna"}, {"Authorization": "Basic YW5uYTpzZWNyZXQ="}
        assert (await client.get("/read", headers=anna | basic)).text == '"anna"'
        assert (await client.get("/read", headers=anna | bearer(door.ben))).text == '"ben"'
        assert (await client.get("/read", headers=anna | bearer("qs_wrong"))).status_code == 401


def _proxied(user: str) -> Request:
    request = _request({"x-remote-user": user})
    request.scope["client"] = ("127.0.0.1", 1)
    return request


@pytest.mark.parametrize("values", [["anna", "ben"], [""], ["a\x7fb"], ["x" * 65]])
async def test_a_strange_header_is_nobody(tmp_path: Path, values: list[str]) -> None:
    """Of two values one may be the client's own; and what is no name is none."""
    async with Door(tmp_path, **PROXY).client("127.0.0.1") as client:
        response = await client.get("/read", headers=[("X-Remote-User", value) for value in values])
        assert response.status_code == 401


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [("192.0.2.7", "10.9.9.9", "192.0.2.7"), ("127.0.0.1", "10.9.9.9", "10.9.9.9"), ("127.0.0.1", None, "127.0.0.1"),
     ("127.0.0.1", "10.9.9.9, 192.0.2.1", "192.0.2.1"), ("127.0.0.1", "192.0.2.1, 127.0.0.3", "192.0.2.1"),
     ("127.0.0.1", "harm", "127.0.0.1"), ("::ffff:192.0.2.7", None, "192.0.2.7"),
     ("::ffff:127.0.0.1", "::ffff:10.9.9.9", "10.9.9.9"), ("127.0.0.1", "", "127.0.0.1")],
)  # fmt: skip
async def test_limits_go_by_whom_the_proxy_saw(
    tmp_path: Path, peer: str, forwarded: str | None, client: str, lines: list[MutableMapping[str, Any]]
) -> None:
    """What a client writes into the header itself makes it nobody else."""
    async with Door(tmp_path, proxies=PROXY["proxies"]).client(peer) as browser:
        headers = bearer("qs_wrong") | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
        await browser.get("/read", headers=headers)
    assert lines[-1]["client"] == client


async def test_many_ask_at_once(door: Door) -> None:
    """Nothing here waits for anything, so that nobody is taken for another."""
    async with door.client() as client:
        answers = await asyncio.gather(
            *(client.get("/read", headers=bearer((door.anna, door.ben)[n % 2])) for n in range(50))
        )
    assert [answer.text for answer in answers] == ['"anna"', '"ben"'] * 25
