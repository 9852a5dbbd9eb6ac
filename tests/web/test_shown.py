"""Who has done something and is answered that it counts sees it, in the answer and in what he asks for next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.bootstrap import Parts, work_together
from stream.bootstrap.roles import bring_plans
from stream.bootstrap.web import replica_settings
from stream.config.load import load
from stream.metrics import Metrics
from stream.ports import CHANGES, DELTAS, STATE, Fetch, Log
from stream.replica import Replica
from stream.runtime.operating import Operating
from stream.web.access import Access
from stream.web.access.tokens import TokensFile
from stream.web.app import web_app
from stream.web.settings import AccessSettings, WebSettings
from tests.replica.stage import until
from tests.web.house import URL
from tests.web.installation import CONFIG, HOUR_MS

SERVICE = "vm1/1"
LATE_S = 0.3


class Slow:
    """A log that gives what is in one of its topics so much later than there is something."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log, self._topic = log, topic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(self._log.read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for fetch in fetches:
                if topic == self._topic and fetch.records:
                    await asyncio.sleep(LATE_S)
                yield fetch


@dataclass(frozen=True)
class Place:
    """An operator before a replica that is slower than the trackers."""

    program: httpx.AsyncClient
    person: httpx.AsyncClient
    csrf: str


@asynccontextmanager
async def place(folder: Path, late: str) -> AsyncIterator[Place]:
    """`late`: the topic that the replica hears of later than whoever waits for the trackers."""
    (folder / "vm1.token").touch(mode=0o600)
    (folder / "q.yaml").write_text(CONFIG.partition("web:")[0])
    config, clock = load(folder / "q.yaml"), SystemClock()
    log, metrics = MemoryLog(clock, partitions=1), Metrics(clock)
    parts = Parts(config=config, log=log, clock=clock, metrics=metrics)
    await bring_plans(parts)
    at = clock.now() - HOUR_MS
    await log.append(DELTAS, 0, [wire.encode_registration(SERVICE, ["vpn"], at=at)])
    replica = Replica(cast(Log, Slow(log, late)), index=None, clock=clock, settings=replica_settings(config))
    operating = Operating(log, clock=clock, max_ahead_ms=config.max_ahead)
    tokens = TokensFile(folder / "tokens.json")
    settings = WebSettings(access=AccessSettings(tokens_file=tokens.path), public_url=URL)
    access = Access(settings.access, secure=False, clock=clock)
    app = web_app(replica, operating, access, settings, clock=clock, metrics=metrics.web)
    token = tokens.create("anna", "operate", clock.now())
    stop = asyncio.Event()
    tasks = [asyncio.create_task(work_together(parts, stop, ["tracker"])), asyncio.create_task(replica.follow(stop))]
    try:
        await until(lambda: replica.service(SERVICE) is not None, "the service is shown")
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url=URL, headers={"Authorization": f"Bearer {token}"}) as it,
            httpx.AsyncClient(transport=transport, base_url=URL) as person,
        ):
            await person.post("/login", data={"token": token})
            page = (await person.get(f"/services/{SERVICE}")).text
            csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
            yield Place(it, person, csrf)
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_by_api(tmp_path: Path) -> None:
    """200 comes when the replica has it, however slow that is: the answer, the service and its page show it."""
    async with place(tmp_path, STATE) as here:
        for number in (1, 2, 3):
            wanted = {"kind": "credit", "service": SERVICE, "bytes": number, "why": f"ticket {number}"}
            answer = await here.program.post("/api/v1/adjustments", json=wanted)
            assert (answer.status_code, answer.json()["counted"]) == (200, True)
            asked = (await here.program.get(f"/api/v1/services/{SERVICE}")).json()
            for document in (answer.json()["service"], asked):
                assert [credit["bytes"] for credit in document["plans"][0]["credits"]] == list(range(1, number + 1))
            assert f"<dd>{number} B until" in (await here.person.get(f"/services/{SERVICE}")).text


@pytest.mark.parametrize("late", [STATE, CHANGES])
async def test_by_a_form(tmp_path: Path, late: str) -> None:
    """The page to which one is led has it, and its history names it, whichever comes later."""
    async with place(tmp_path, late) as here:
        for number in (1, 2, 3):
            form = {"csrf": here.csrf, "kind": "credit", "size": f"{number} B", "why": f"ticket {number}"}
            done = await here.person.post(f"/services/{SERVICE}", data=form, headers={"Origin": URL})
            assert (done.status_code, done.headers["Location"]) == (
                303,
                f"/services/{SERVICE}?done=credit&came=counted",
            )
            page = (await here.person.get(done.headers["Location"])).text
            assert f"<dd>{number} B until" in page
            assert f"ticket {number}" in page
