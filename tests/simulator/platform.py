"""A platform for tests: a world whose time stands still until the test moves it, and a client that may call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from stream.simulator import Knobs, Simulator, World, create_app

MINUTE = 60_000
STEP = 5 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_773_532_800_000
"""2026-03-15 00:00 UTC."""


def local(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    """ISO local time -> ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


async def until(condition: Callable[[], object]) -> None:
    """Waits for it, in real time; TimeoutError after 20 s."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


class Now:
    """The world's clock."""

    def __init__(self, ms: int = T0) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


@dataclass
class Platform:
    now: Now
    world: World
    app: Simulator
    client: httpx.AsyncClient

    async def log_in(self) -> httpx.Response:
        access = self.app.access
        body = {"email": access.email, "password": access.password}
        reply = await self.client.post("/auth/v4/public/token", json=body)
        if reply.is_success:
            self.client.headers["x-xsrf-token"] = reply.json()["token"]
        return reply

    async def points(self, id: int, start: str | int, end: str | int, **query: str) -> list[Any]:
        """The datapoints of net_rx_summary; [] if the reply is []."""
        asked = {"target": "net_rx_summary", "output": "single", "from": str(start), "until": str(end)} | query
        reply = await self.client.get(f"/vm/v3/host/{id}/metrics", params=asked)
        assert reply.status_code == 200, reply.text
        content = reply.json()
        assert content == [] or list(content[0]) == ["datapoints"]
        return list(content[0]["datapoints"]) if content else []

    async def order(self, id: int, **limits: int | None) -> httpx.Response:
        return await self.client.post(f"/vm/v3/host/{id}/resource", json=limits)

    async def task_rows(self, consul_id: int) -> list[Any]:
        where = f"((consul_id+EQ+'{consul_id}')+AND+(name+EQ+'host_change_params'))"
        reply = await self.client.get(f"/vm/v3/task?where={where}")
        return list(reply.json()["list"])

    async def row(self, id: int) -> dict[str, Any]:
        rows = (await self.client.get("/vm/v3/host")).json()["list"]
        return dict(next(row for row in rows if row["id"] == id))


@asynccontextmanager
async def platform(knobs: Knobs | None = None, *, at: int = T0, seed: int = 1) -> AsyncIterator[Platform]:
    """An empty world at `at`, over a transport in process, with a lasting token."""
    now = Now(at)
    world = World(now, seed=seed)
    app = create_app(world, knobs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://vm1") as client:
        client.headers["x-xsrf-token"] = app.access.lasting()
        yield Platform(now, world, app, client)
