"""The API on a real log, over loopback: what it tells, and that what operators do is counted."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stream import wire
from stream.adapters.clock import SystemClock
from stream.core.speed import Speed
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Message
from stream.runtime.records import records_of
from tests.web.hostile import HOSTILE, as_ids, as_labels
from tests.web.installation import DEADLINE_S, HOUR_MS, Installation, data_of, installation, until

in_one = pytest.mark.asyncio(loop_scope="module")
"""For tests that share an installation, and leave it as it was."""

SLOW = {"in": 10_000_000, "out": 10_000_000}
ORIGINAL = {"in": None, "out": None}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """An installation in which nothing happens."""
    async with installation(tmp_path_factory.mktemp("one"), ["vm1/1"]) as made:
        yield made


async def told(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


async def told_when(client: httpx.AsyncClient, path: str, holds: Callable[[Any], object]) -> Any:
    """What is told there, as soon as it is so."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            document = await told(client, path)
            if holds(document):
                return document
            await asyncio.sleep(0.05)


async def done(client: httpx.AsyncClient, status: int = 200, path: str = "/adjustments", **wanted: Any) -> Any:
    answer = await client.post(path, json=wanted)
    assert answer.status_code == status, answer.text
    return answer.json()


async def slowed(made: Installation, service: str = "vm1/1") -> None:
    """It uses too much and is due less, as the replica shows it and the platform has it."""
    await made.used(service, 5000)

    def is_so() -> bool:
        status = made.replica.service(service)
        return status is not None and status.enforcement is not None and status.enforcement.settled

    await until(is_so)


# ---------------------------------------------------------------- what is told


async def test_services(tmp_path: Path) -> None:
    """They are found by id, name, account and address, filtered, sorted and paged; each tells all about itself."""
    labels = {"vm1/1": {"name": "alpha", "account": "7", "ip": "192.0.2.1"}, "vm1/2": {"name": "beta", "account": "8"}}
    async with installation(tmp_path, ["vm1/1", "vm1/2", "vm1/3"], labels) as made, made.client(made.ben) as client:
        await slowed(made)
        for query, expected in (
            ({}, ["vm1/1", "vm1/2", "vm1/3"]),
            ({"descending": "true"}, ["vm1/3", "vm1/2", "vm1/1"]),
            ({"text": "alp"}, ["vm1/1"]),
            ({"text": "alp", "exact": "true"}, []),
            ({"text": "8", "exact": "true"}, ["vm1/2"]),
            ({"text": "192.0.2.1"}, ["vm1/1"]),
            ({"slowed": "true"}, ["vm1/1"]),
            ({"slowed": "false"}, ["vm1/2", "vm1/3"]),
            ({"plan": "vpn", "profile": "full"}, ["vm1/2", "vm1/3"]),
            ({"platform": "vm2"}, []),
            ({"sort": "usage", "descending": "true", "limit": 1}, None),
        ):
            found = await told(client, "/services", **query)
            names = [row["service"] for row in found["services"]]
            assert names == expected if expected is not None else len(names) == 1
        page = await told(client, "/services", limit=2)
        assert (page["total"], page["next_offset"]) == (3, 2)
        rest = await told(client, "/services", limit=2, offset=2)
        assert ([row["service"] for row in rest["services"]], rest["next_offset"]) == (["vm1/3"], None)

        one = await told(client, "/services/vm1/1")
        assert one == await told(client, "/services/vm1%2F1")
        assert (one["speed"], one["labels"], one["accepted"]) == (SLOW, labels["vm1/1"], {"in": 5000, "out": 0})
        (plan,) = one["plans"]
        assert (plan["plan"], plan["profile"], plan["profile_speed"]) == ("vpn", "slow", SLOW)
        assert len(plan["window"]) == 6
        assert plan["stay_until"] == plan["entered_at"] + HOUR_MS
        enforcement = one["enforcement"]
        assert (enforcement["original"], enforcement["wanted"]) == ({"in": 10**9, "out": 10**9}, SLOW)
        assert enforcement["receipts"][-1]["result"] == "applied"
        assert made.platform.limits["vm1/1"] == Speed(10_000_000, 10_000_000)


async def test_what_comes(tmp_path: Path) -> None:
    """A forecast says when the speed comes back, and that this is exact."""
    async with installation(tmp_path) as made, made.client(made.ben) as client:
        await slowed(made)
        coming = await told(client, "/forecast/vm1/1")
        service = await told(client, "/services/vm1/1")
        ups = [one for one in coming["plans"][0]["exact"] if one["kind"] == "up"]
        assert [(one["at"], one["due"], one["exact"]) for one in ups[:1]] == [
            (service["plans"][0]["stay_until"], ORIGINAL, True)
        ]
        assert coming["as_of"] == service["counted_to"]


async def test_history(tmp_path: Path) -> None:
    """The newest first, page by page, of one service and of all; what the platform did is in it."""
    async with installation(tmp_path) as made, made.client(made.ben) as client:
        await slowed(made)
        entries = (await told(client, "/history/vm1/1"))["entries"]
        kinds = [(one["kind"], one["document"].get("reason") or one["document"].get("result")) for one in entries]
        assert sorted(kinds) == [
            ("decision", "exceeded"), ("decision", "registered"), ("enforcement", "applied"),
        ]  # fmt: skip
        assert [one["appended"] for one in entries] == sorted((one["appended"] for one in entries), reverse=True)
        collected, before = [], None
        while True:
            page = await told(client, "/history/vm1/1", limit=1, **({} if before is None else {"before": before}))
            collected += page["entries"]
            before = page["next"]
            if before is None:
                break
        assert collected == entries
        every = (await told(client, "/changes", limit=1000))["entries"]
        assert {one["service"] for one in every} == {"vm1/1", "vm1/2"}
        since = entries[0]["appended"] + 1
        assert (await told(client, "/history/vm1/1", since=since))["entries"] == []
        assert (await told(client, "/history/vm1/9")) == {"entries": [], "next": None}


async def test_the_installation(tmp_path: Path) -> None:
    """Who is in which profile, plans, platforms, sources, problems, dead letters, and how fresh all that is."""
    async with installation(tmp_path) as made, made.client(made.ben) as client:
        await slowed(made)
        await made.log.append(DELTAS, 0, [Message(None, b'{"service":"vm1/99","start":1,"end":2,"in":1,"out":1}')])
        letters = (await told_when(client, "/dead-letters", lambda it: it["letters"]))["letters"]
        assert [(one["reason"].split(":")[0], one["partition"]) for one in letters] in (
            [("not registered", 0)], [("of another partition", 0)], [("wrong partition", 0)],
        )  # fmt: skip
        counts = (await told(client, "/population"))["now"]
        assert [(one["profile"], one["services"]) for one in counts] == [("full", 1), ("slow", 1)]
        plans = await told(client, "/plans")
        assert (list(plans["plans"]), len(plans["versions"])) == (["vpn"], 2)
        (platform,) = (await told(client, "/platforms"))["platforms"]
        assert (platform["name"], platform["configured"], platform["released"]) == ("vm1", True, False)
        (source,) = (await told(client, "/sources"))["sources"]
        assert (source["name"], source["services"]) == ("vm1", 2)
        assert (await told(client, "/problems"))["shadow"] is False
        fresh = await told(client, "/freshness")
        assert (fresh["restored"], fresh["partitions"]) == (2, 2)
        answer = await client.get("/problems")
        assert 0 <= int(answer.headers["X-Age-Ms"]) < 60_000
        assert abs(int(answer.headers["X-As-Of-Ms"]) - SystemClock().now()) < 60_000
        then = await told(client, "/population", since=SystemClock().now() - HOUR_MS)
        assert then["now"] == counts


async def test_nothing_is_said_twice(tmp_path: Path) -> None:
    """An answer is sent again only when something has changed."""
    async with installation(tmp_path) as made, made.client(made.ben) as client:
        async with asyncio.timeout(DEADLINE_S):
            while True:  # what came of the registrations is still on its way
                tag = (await client.get("/services/vm1/1")).headers["ETag"]
                again = await client.get("/services/vm1/1", headers={"If-None-Match": f'"other", {tag}'})
                if again.status_code == 304:
                    break
        assert (again.content, again.headers["ETag"]) == (b"", tag)
        assert "X-Age-Ms" in again.headers
        await made.used("vm1/1", 10)
        await told_when(client, "/services/vm1/1", lambda it: it["accepted"]["in"] == 10)
        changed = await client.get("/services/vm1/1", headers={"If-None-Match": tag})
        assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)
        async with made.client(None) as nobody:
            answer = await nobody.get("/services/vm1/1", headers={"If-None-Match": tag})
            assert answer.status_code == 401


async def test_a_table(tmp_path: Path) -> None:
    """The whole history as CSV, in which no cell is a formula."""
    async with installation(tmp_path) as made, made.client(made.anna) as client:
        await slowed(made)
        await done(client, kind="reset", service="vm1/1", plan="vpn", why="=cmd|' /C calc'!A0")
        await told_when(
            client, "/history/vm1/1", lambda it: {("decision", 3, None), ("enforcement", 3, "applied")} <= {
                (one["kind"], one["revision"], one["document"].get("result")) for one in it["entries"]
            }
        )  # fmt: skip
        answer = await client.get("/history.csv/vm1/1")
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="history-vm1-1.csv"'
        assert "ETag" in answer.headers
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["id"] for row in rows] == [one["id"] for one in (await told(client, "/history/vm1/1"))["entries"]]
        reset = next(row for row in rows if row["reason"] == "reset")
        assert (reset["by"], reset["why"]) == ("anna", "'=cmd|' /C calc'!A0")
        assert reset["time"].endswith("Z")
        exceeded = next(row for row in rows if row["reason"] == "exceeded")
        assert (exceeded["from"], exceeded["to"], exceeded["speed_in_bits"]) == ("full", "slow", "10000000")


async def test_hostile_names(tmp_path: Path) -> None:
    """They are told as they are, in JSON and in CSV, and are found again by their own path."""
    services, labels = list(as_ids("odd").values()), list(as_labels().values())
    named = {service: {"name": labels[place % len(labels)]} for place, service in enumerate(services)}
    async with installation(tmp_path, services, named) as made, made.client(made.ben) as client:
        for service in services:
            for kind in ("services", "history", "forecast"):
                answer = await client.get(f"/{kind}/{quoted(service)}")
                assert answer.status_code == 200, service
                assert answer.headers["Content-Type"] == "application/json"
            assert (await told(client, f"/services/{quoted(service)}"))["labels"] == named[service]
            table = await client.get(f"/history.csv/{quoted(service)}")
            assert table.headers["Content-Disposition"].isascii()
            for row in csv.reader(io.StringIO(table.text)):
                assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
        for text in HOSTILE.values():
            answer = await client.get("/services", params={"text": text[:200]})
            assert answer.status_code == 200, text
        metrics = made.metrics.registry.collect()
        routes = {sample.labels.get("route", "") for family in metrics for sample in family.samples}
        assert not [route for route in routes if "odd" in route]


def quoted(service: str) -> str:
    """In a path; dots too, which clients would resolve."""
    platform, _, name = service.partition("/")
    return f"{platform}/" + "".join(f"%{byte:02X}" for byte in name.encode())


# ---------------------------------------------------------------- what is done


async def test_every_verb(tmp_path: Path) -> None:
    """Each is counted before it is answered, shown in the answer, and in the history with who and why."""
    async with installation(tmp_path) as made, made.client(made.anna) as client:
        await slowed(made)
        until_ms = SystemClock().now() + HOUR_MS
        for wanted, speed in (
            ({"kind": "credit", "bytes": 10_000}, SLOW),
            ({"kind": "pin", "plan": "vpn", "profile": "full"}, ORIGINAL),
            ({"kind": "unpin", "plan": "vpn"}, SLOW),
            ({"kind": "pin", "plan": "vpn", "profile": "full", "until": until_ms}, ORIGINAL),
            ({"kind": "reset"}, ORIGINAL),
            ({"kind": "exempt", "until": until_ms}, ORIGINAL),
        ):
            answer = await done(client, service="vm1/1", why="ticket 12", **wanted)
            assert (answer["counted"], answer["repeated"], answer["service"]["speed"]) == (True, False, speed), wanted
        plan = answer["service"]["plans"][0]
        assert plan["exempt_until"] == until_ms

        def adjustments(found: Any) -> list[Any]:
            return [made for entry in found["entries"] if (made := entry["document"].get("adjustment"))]

        kinds = {"credit", "pin", "unpin", "reset", "exempt"}
        found = await told_when(client, "/history/vm1/1", lambda it: {one["kind"] for one in adjustments(it)} == kinds)
        made_by = adjustments(found)
        assert {(one["by"], one["why"]) for one in made_by} == {("anna", "ticket 12")}


async def test_once_by_its_id(tmp_path: Path) -> None:
    """The same id is done once, and the second answer says so."""
    async with installation(tmp_path) as made, made.client(made.anna) as client:
        for repeated in (False, True, True):
            answer = await done(client, kind="credit", service="vm1/2", bytes=500, id="invoice 7")
            assert (answer["id"], answer["repeated"]) == ("invoice 7", repeated)
            assert [one["bytes"] for one in answer["service"]["plans"][0]["credits"]] == [500]


async def test_an_id_of_another_adjustment(tmp_path: Path) -> None:
    """It is refused at once and always, whatever differs but who and why, and does nothing; in no partition."""
    services = ["vm1/1", "vm1/2", "vm1/3", "vm1/4"]
    async with installation(tmp_path, services) as made, made.client(made.anna) as client:
        assert len({wire.partition_of(one, made.log.partitions) for one in services}) == 2
        named = {"service": "vm1/1", "plan": "vpn", "id": "invoice 7"}
        first: dict[str, Any] = named | {"kind": "credit", "bytes": 500}
        await done(client, **first, why="ticket 12")
        others: list[dict[str, Any]] = [
            *(first | {"service": one} for one in services[1:]), first | {"bytes": 501}, first | {"plan": None},
            named | {"kind": "reset"}, named | {"kind": "exempt", "until": SystemClock().now() + HOUR_MS},
        ]  # fmt: skip
        for other in others * 2:
            detail = (await done(client, 409, **other))["detail"]
            assert detail.startswith("the id belongs to another adjustment: credit of vm1/1 by anna; "), other
        operator = made.tokens.create("otto", "operate", 0)
        async with made.client(operator) as otto:
            answer = await done(otto, **first, why="again")
        assert (answer["repeated"], answer["counted"]) == (True, True)
        for service in services:
            (plan,) = (await told(client, f"/services/{service}"))["plans"]
            credits = [500] if service == "vm1/1" else []
            assert ([one["bytes"] for one in plan["credits"]], plan["exempt_until"]) == (credits, None)


@in_one
@pytest.mark.parametrize(
    ("status", "wanted", "detail"),
    [
        (409, {"kind": "unpin", "plan": "vpn"}, "not pinned"),
        (409, {"kind": "pin", "plan": "vpn", "profile": "warp"}, "unknown profile: warp"),
        (409, {"kind": "exempt", "until": 5}, "until is over"),
        (409, {"kind": "credit", "bytes": 5, "plan": "month"}, "not a plan of the service"),
        (404, {"kind": "reset", "service": "vm1/9"}, "there is no such service"),
        (422, {"kind": "reset", "by": "ben"}, "who does it is the name of the token"),
        (422, {"kind": "reset", "at": 5}, "no field that is known"),
        (422, {"kind": "raise"}, "kind"),
        (422, {"kind": "credit"}, "'bytes' in the body is missing"),
        (422, {"kind": "credit", "bytes": "5"}, "digits alone, without quotes"),
        (422, {"kind": "credit", "bytes": 0}, "must be at least 1"),
        (422, {"kind": "pin", "profile": "slow"}, "'plan' in the body is missing"),
        (422, {"kind": "reset", "id": "a\nb"}, "control characters"),
        (422, {"kind": "reset", "why": "x" * 1001}, "it may have 1000 characters"),
    ],
)
async def test_what_is_refused(one: Installation, status: int, wanted: dict[str, Any], detail: str) -> None:
    """It is said why, and what to do, as a problem document; nothing of it stays."""
    async with one.client(one.anna) as client:
        answer = await client.post("/adjustments", json={"service": "vm1/1"} | wanted)
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["type"]) == (status, status, "about:blank")
        assert detail in problem["detail"]
        plan = (await told(client, "/services/vm1/1"))["plans"][0]
        assert (plan["pinned"], plan["credits"], plan["exempt_until"]) == (None, [], None)


@in_one
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"{", 422), (b"[]", 422), (b'"x"', 422), (b"\xff\xfe", 422),
        (b'{"kind":"reset","service":"\\ud800"}', 422),
        (b"[" * 100_000, 413), (b"9" * 60_000, 400),
    ],
)  # fmt: skip
async def test_bodies_that_are_none(one: Installation, body: bytes, status: int) -> None:
    """They are refused in words."""
    async with one.client(one.anna) as client:
        answer = await client.post("/adjustments", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]


async def test_platforms_are_released_and_allowed(tmp_path: Path) -> None:
    """A release gives the originals back; `allow` ends it, and what is due is set again."""
    async with installation(tmp_path) as made, made.client(made.anna) as client:
        await slowed(made)
        answer = await done(client, path="/platforms/vm1/release", why="switching off")
        assert (answer["counted"], answer["platform"]["released"]) == (True, True)
        await until(lambda: made.platform.limits["vm1/1"] == Speed(10**9, 10**9))
        answer = await done(client, path="/platforms/vm1/allow", for_ms=60_000)
        assert (answer["counted"], answer["platform"]["released"]) == (True, False)
        assert answer["platform"]["allowed_until"] > SystemClock().now()
        await until(lambda: made.platform.limits["vm1/1"] == Speed(10_000_000, 10_000_000))
        for path in ("/platforms/vm2/allow", "/platforms/vm2/release"):
            await done(client, 404, path)


async def test_a_service_is_forgotten(tmp_path: Path) -> None:
    """Nothing is shown of it any more, registered or not, and its speed is given back; who did it is in the log."""
    async with installation(tmp_path) as made, made.client(made.anna) as client:
        await slowed(made)
        for _ in range(2):  # it is gone then, and forgotten all the same
            assert await done(client, path="/forget/vm1/1", why="by mail") == {"counted": True}
            assert (await client.get("/services/vm1/1")).status_code == 404
        assert await done(client, path="/forget/meter%2F7") == {"counted": True}
        await told_when(client, "/history/vm1/1", lambda it: not it["entries"])
        await until(lambda: made.platform.limits["vm1/1"] == Speed(10**9, 10**9))
        assert [row["service"] for row in (await told(client, "/services"))["services"]] == ["vm1/2"]
        controls = [
            (control["service"], control["by"], control["why"])
            for partition in range(made.log.partitions)
            async for record in records_of(made.log, CHANGES, partition)
            if (control := json.loads(record.value or b"{}")).get("verb") == "forget"
        ]
        assert sorted(controls) == [("meter/7", "anna", ""), ("vm1/1", "anna", "by mail"), ("vm1/1", "anna", "by mail")]
        for path in ("/forget/vm1", "/forget/@x/1", "/forget//1", "/forget/vm1/%00"):
            assert "'service' in the path is no id of a service: " in (await done(client, 422, path))["detail"]
        for wrong in ({"why": 5}, {"by": "ben"}, {"why": "x" * 1001}):
            await done(client, 422, "/forget/vm1/2", **wrong)
        assert (await client.get("/services/vm1/2")).status_code == 200


@in_one
async def test_a_link(one: Installation) -> None:
    """It opens the customer's page of that service."""
    async with one.client(one.anna) as client:
        answer = await done(client, path="/link/vm1/1", days=3)
        assert answer["url"].startswith("https://quota.test/c/")
        assert 0 < answer["expires"] - SystemClock().now() <= 3 * 24 * HOUR_MS
        page = await client.get(f"{one.url}/c/{answer['url'].rpartition('/')[2]}")
        assert page.status_code == 200
        await done(client, 404, "/link/vm1/9")
        await done(client, 422, "/link/vm1/1", days=0)


@in_one
async def test_who_may_what(one: Installation) -> None:
    """Readers read, operators operate, nobody else does anything; each is told why."""
    async with one.client(None) as nobody, one.client(one.ben) as ben, one.client("qs_wrong") as stranger:
        for client in (nobody, stranger):
            answer = await client.get("/services")
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert answer.json()["detail"]
        answer = await ben.post("/adjustments", json={"kind": "reset", "service": "vm1/1"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
        assert (await nobody.get("/openapi.json")).status_code == 200


@in_one
@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "sort=speeed", "text=" + "x" * 201])
async def test_queries_that_cannot_be(one: Installation, query: str) -> None:
    """They are refused in words, which do not repeat them."""
    async with one.client(one.ben) as client:
        answer = await client.get(f"/services?{query}")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"'{query.partition('=')[0]}' in the query is ")
        for path, status in (("/nothing", 404), ("/services/vm1/nothing", 404)):
            assert (await client.get(path)).status_code == status
        assert (await client.delete("/services")).status_code == 405


@in_one
async def test_heads(one: Installation) -> None:
    """HEAD is answered with the head of GET's answer, and counted with its route; only what never ends refuses it."""

    def counted() -> float:
        labels = {"route": "/api/v1/services", "status": "200"}
        return one.metrics.registry.get_sample_value("quota_stream_web_requests_total", labels) or 0

    before = counted()
    async with one.client(one.ben) as client:
        for path in ("/services?limit=1", "/services/vm1/nothing", "/openapi.json"):
            head, whole = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (whole.status_code, b"")
            assert head.headers["Content-Length"] == str(len(whole.content))
        assert (await client.head("/events")).status_code == 405
    assert counted() - before == 2


# ---------------------------------------------------------------- what is told as it happens


@asynccontextmanager
async def listening(client: httpx.AsyncClient, **query: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """Events with their data, once somebody listens."""
    async with client.stream("GET", "/events", params=query) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        async def events() -> AsyncIterator[tuple[str, Any]]:
            kind = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, data_of(line)

        found = events()
        assert (await anext(found))[0] == "hello"
        yield found


async def test_events(tmp_path: Path) -> None:
    """What changes is told, with the services; of one service, if that is asked for; a revoked token hears no more."""
    async with installation(tmp_path) as made, made.client(made.ben) as client, asyncio.timeout(2 * DEADLINE_S):
        async with listening(client) as every, listening(client, service="vm1/2") as second:
            assert made.metrics.registry.get_sample_value("quota_stream_web_live_connections") == 2
            await made.used("vm1/1", 5000)
            kinds = set()
            async for kind, data in every:
                if data["services"] == ["vm1/1"] or data["services"] is None:
                    kinds.add(kind)
                if {"state", "entry"} <= kinds:
                    break
            await made.used("vm1/2", 1)
            async for _, data in second:
                assert data["services"] is None or "vm1/2" in data["services"]
                break
            made.tokens.revoke("ben")
            await made.used("vm1/2", 2)
            async for _ in second:
                pass
        await until(lambda: made.metrics.registry.get_sample_value("quota_stream_web_live_connections") == 0)


async def test_dead_letters_are_those_of_the_log(tmp_path: Path) -> None:
    """None is left out, and pages of them follow each other."""
    async with installation(tmp_path, ["vm1/1"]) as one, one.client(one.ben) as client:
        for number in range(5):
            value = b'{"service":"vm1/1","start":5,"end":%d,"in":1,"out":1}' % number
            await one.log.append(DELTAS, 0, [Message(None, value)])
        await told_when(client, "/dead-letters", lambda it: len(it["letters"]) == 5)
        _, end = await one.log.bounds(DEAD_LETTERS, 0)
        assert end == 5
        page = await told(client, "/dead-letters", limit=3)
        rest = await told(client, "/dead-letters", limit=3, before=page["next"])
        assert [letter["offset"] for letter in page["letters"] + rest["letters"]] == sorted(
            (letter["offset"] for letter in page["letters"] + rest["letters"]), reverse=True
        )
        assert (len(page["letters"]), len(rest["letters"]), rest["next"]) == (3, 2, None)
