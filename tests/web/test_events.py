"""Live connections: no more of them than there may be, signs of life, and nothing missed between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import httpx
from fastapi import FastAPI

from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.metrics import Metrics
from stream.ports import ENFORCEMENTS, Message
from stream.replica.model import News
from stream.web.api.events import Events, encoded, with_heartbeats
from stream.web.serving import serving
from tests.replica.stage import Fixed, following
from tests.web.house import house
from tests.web.installation import DEADLINE_S

PLAIN = {"plan", "profile", "name", "kind", "id", "services", "platforms", "sources", "problems", "now", "result"}
"""Fields that say it themselves."""


async def test_no_more_than_there_may_be(tmp_path: Path) -> None:
    """The next one is told to come again later; when one leaves there is room."""
    metrics = Metrics(SystemClock()).web
    async with house(tmp_path, []) as made:
        app = FastAPI()
        app.state.access = made.access
        app.include_router(Events(made.replica, made.access, metrics, most=1).router())
        headers = {"Authorization": f"Bearer {made.ben}"}
        async with (
            serving(app, "127.0.0.1", 0) as url,
            httpx.AsyncClient(base_url=url, headers=headers) as client,
            asyncio.timeout(DEADLINE_S),
        ):
            async with client.stream("GET", "/events") as first:
                await anext(first.aiter_lines())
                second = await client.get("/events")
                assert (second.status_code, second.headers["Retry-After"]) == (503, "30")
            while True:
                async with client.stream("GET", "/events") as third:
                    if third.status_code == 200:
                        break


async def test_nobody_has_them_all(tmp_path: Path) -> None:
    """Of many requests at once, no more of one token are answered than it may have; for another there is room."""
    async with house(tmp_path, []) as made, AsyncExitStack() as open_:
        app = FastAPI()
        app.state.access = made.access
        app.include_router(Events(made.replica, made.access, Metrics(SystemClock()).web, most=4, most_each=2).router())
        url = await open_.enter_async_context(serving(app, "127.0.0.1", 0))
        client = await open_.enter_async_context(httpx.AsyncClient(base_url=url))

        async def ask(token: str) -> httpx.Response:
            request = client.build_request("GET", "/events", headers={"Authorization": f"Bearer {token}"})
            answer = await client.send(request, stream=True)
            open_.push_async_callback(answer.aclose)
            return answer

        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(ask(made.ben) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200, 200, *[503] * 6]
            answers = await asyncio.gather(*(ask(made.anna) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200, 200, *[503] * 6]


async def test_each_is_written_once(tmp_path: Path) -> None:
    """Everybody who listens is told the same, and it was made up once."""
    log = MemoryLog(Fixed())
    async with house(tmp_path, []) as made, following(log) as replica, asyncio.timeout(DEADLINE_S):
        app = FastAPI()
        app.state.access = made.access
        app.include_router(Events(replica, made.access, Metrics(SystemClock()).web).router())
        async with (
            serving(app, "127.0.0.1", 0) as url,
            httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {made.ben}"}) as client,
            AsyncExitStack() as open_,
        ):
            told = []
            for _ in range(5):
                answer = await open_.enter_async_context(client.stream("GET", "/events"))
                told.append(answer.aiter_lines())
                await until_line(told[-1], "event: hello")
            before = encoded.cache_info().misses
            await log.append(ENFORCEMENTS, 0, [Message(b"vm1/1", b"{}")])
            lines = [await until_line(one, 'data: {"services":["vm1/1"]') for one in told]
            assert len(set(lines)) == 1
            assert encoded.cache_info().misses - before == 1


async def until_line(lines: AsyncIterator[str], beginning: str) -> str:
    """The next line that begins so."""
    return await anext(line async for line in lines if line.startswith(beginning))


async def test_signs_of_life() -> None:
    """There is one at once, when it is listened to, and one whenever nothing came for so long; news come in between."""
    told: asyncio.Queue[News] = asyncio.Queue()
    listening = asyncio.Event()

    async def news() -> AsyncGenerator[News, None]:
        listening.set()
        while True:
            yield await told.get()

    async with aclosing(with_heartbeats(news(), 0.01)) as found, asyncio.timeout(DEADLINE_S):
        assert await anext(found) is None
        assert listening.is_set()
        assert await anext(found) is None
        for number in range(3):
            told.put_nowait(News("state", frozenset({f"vm1/{number}"})))
        heard = [one for _ in range(3) if (one := await anext(found)) is not None]
        assert [one.services for one in heard] == [frozenset({f"vm1/{number}"}) for number in range(len(heard))]
        assert len(heard) == 3


async def test_each_field_is_explained(tmp_path: Path) -> None:
    """The API's description says of each field of each document, and of each parameter, what it means."""
    async with house(tmp_path, []) as made, made.client(made.ben) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, shape in schema.get("properties", {}).items()
        if not shape.get("description") and not shape.get("enum") and "const" not in shape
        and field not in PLAIN
    ]  # fmt: skip
    assert silent == []
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)
    assert [one["name"] for it in operations for one in it.get("parameters", []) if not one.get("description")] == []


async def test_nobody_counts_it(tmp_path: Path) -> None:
    """Without a tracker a wish is in the log, and the answer says that it is not counted."""
    records = [{"type": "registration", "service": "vm1/1", "plans": []}]
    async with house(tmp_path, records) as made, made.client(made.anna) as anna:
        answer = await anna.post("/api/v1/adjustments?wait_s=0", json={"kind": "reset", "service": "vm1/1", "id": "x"})
        assert (answer.status_code, answer.json()["id"], answer.json()["counted"]) == (202, "x", False)
        assert answer.json()["service"]["service"] == "vm1/1"
        answer = await anna.post("/api/v1/forget/vm1/9?wait_s=0", json={})
        assert (answer.status_code, answer.json()) == (202, {"counted": False})
