"""A whole installation on a SQLite file: tracker and enforcer at work, replica and web beside them, over loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap import Parts, work_together
from stream.bootstrap.roles import bring_plans
from stream.bootstrap.web import shown
from stream.config.fields import Address
from stream.config.load import load
from stream.config.model import Config
from stream.core.speed import Speed
from stream.metrics import Metrics
from stream.ports import DELTAS, Message
from stream.replica import Replica
from stream.web.access.tokens import TokensFile
from tests.enforcement.platform import MemoryPlatform

CONFIG = """\
log: sqlite:q.db
partitions: 2
checkpoint: 200ms
platforms:
  vm1: {type: vmmanager, url: "http://vm.test", timezone: UTC, token_file: vm1.token}
plans:
  vpn:
    window: {slide: 1h}
    warn: 80%
    profiles:
      full: {speed: original, quota: 1000, down: slow}
      slow: {speed: 10 Mbit/s, quota: 1000, stay: 1h, up: full}
web:
  listen: 127.0.0.1:8480
  public_url: https://quota.test
  link_key_files: [link.key]
"""
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
FAST = Speed(10**9, 10**9)
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Installation:
    url: str
    replica: Replica
    log: SqliteLog
    platform: MemoryPlatform
    metrics: Metrics
    anna: str
    """Token of anna, who operates."""
    ben: str
    """Token of ben, who reads."""
    tokens: TokensFile

    @asynccontextmanager
    async def client(self, token: str | None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=DEADLINE_S, **settings
        ) as client:
            yield client

    async def publish(self, *messages: Message) -> None:
        for message in messages:
            service = (message.key or b"").decode()
            await self.log.append(DELTAS, wire.partition_of(service, self.log.partitions), [message])

    async def used(self, service: str, bytes_: int, now: int | None = None) -> None:
        """So much traffic within the last minute."""
        end = SystemClock().now() if now is None else now
        await self.publish(wire.encode_delta(service, end - MINUTE_MS, end, bytes_, 0))


def configured(folder: Path, text: str = CONFIG) -> Config:
    """With its secrets, and a port that is free."""
    for name in ("vm1.token", "link.key"):
        (folder / name).write_text("k" * 64)
        (folder / name).chmod(0o600)
    (folder / "q.yaml").write_text(text)
    config = load(folder / "q.yaml")
    assert config.web is not None
    web = config.web.model_copy(update={"listen": Address("127.0.0.1", 0)})
    return config.model_copy(update={"web": web})


@asynccontextmanager
async def installation(
    folder: Path,
    services: Sequence[str] = ("vm1/1", "vm1/2"),
    labels: Mapping[str, Mapping[str, str]] | None = None,
    *,
    config_text: str = CONFIG,
) -> AsyncIterator[Installation]:
    """Each of the services is registered with the plan vpn and known to the platform; `labels` by service's id."""
    config = configured(folder, config_text)
    assert config.web is not None
    clock = SystemClock()
    metrics = Metrics(clock)
    platform = MemoryPlatform(clock)
    platform.limits = dict.fromkeys(services, FAST)
    log = await SqliteLog.open(folder / "q.db", clock=clock, exclusive=True, partitions=config.partitions, poll_s=0.05)
    parts = Parts(config=config, log=log, clock=clock, metrics=metrics, platforms={"vm1": platform})
    tokens = TokensFile(config.web.tokens_file)
    anna, ben = tokens.create("anna", "operate", clock.now()), tokens.create("ben", "read", clock.now())
    stop = asyncio.Event()
    await bring_plans(parts)
    roles = asyncio.create_task(work_together(parts, stop, ("tracker", "enforcer")))
    try:
        async with shown(parts, beside=False) as served:
            assert served is not None
            made = Installation(served.url, served.replica, log, platform, metrics, anna, ben, tokens)
            at = clock.now() - 2 * HOUR_MS
            await made.publish(
                *(wire.encode_registration(one, ["vpn"], labels=(labels or {}).get(one, {}), at=at) for one in services)
            )
            await served.replica.caught_up()
            await until(lambda: all(made.replica.service(one) for one in services))
            yield made
    finally:
        stop.set()
        await roles
        await log.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def data_of(line: str) -> Any:
    """Of a line of server-sent events."""
    return json.loads(line.removeprefix("data: "))
