"""The replica beside the roles: what goes wrong with it is said and gets over, and ends nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from structlog.testing import capture_logs

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.bootstrap import Parts, work_together
from stream.bootstrap.roles import bring_plans
from stream.bootstrap.web import Shown, shown
from stream.core.errors import Misconfigured
from stream.metrics import Metrics
from stream.ports import DEAD_LETTERS, DELTAS, Fetch, Message
from stream.web.access.tokens import TokensFile
from tests.replica.stage import until
from tests.web.installation import DEADLINE_S, HOUR_MS, configured


class Breaking(MemoryLog):
    """What only the replica asks of it, about dead letters, ends with an error."""

    call: Literal["read", "bounds"] | None = None
    error: Exception = RuntimeError("broken")

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async for fetch in super().read(topic, partition, offset, wait_s=wait_s):
            self._break(topic, "read")
            yield fetch

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._break(topic, "bounds")
        return await super().bounds(topic, partition)

    def _break(self, topic: str, call: str) -> None:
        if topic == DEAD_LETTERS and call == self.call:
            raise self.error


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[Parts, Breaking]]:
    """A tracker at work on a log that can be broken for the replica beside it."""
    clock = SystemClock()
    log = Breaking(clock, partitions=1)
    parts = Parts(config=configured(folder), log=log, clock=clock, metrics=Metrics(clock))
    await bring_plans(parts)
    stop = asyncio.Event()
    tracking = asyncio.create_task(work_together(parts, stop, ["tracker"]))
    try:
        yield parts, log
    finally:
        stop.set()
        await tracking


async def registered(parts: Parts, service: str) -> None:
    at = parts.clock.now() - HOUR_MS
    await parts.log.append(DELTAS, 0, [wire.encode_registration(service, ["vpn"], at=at)])


async def problems(parts: Parts, served: Shown) -> list[Any]:
    """As the API tells them."""
    assert parts.config.web is not None
    token = TokensFile(parts.config.web.tokens_file).create(str(uuid.uuid4()), "read", 0)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=DEADLINE_S) as client:
        answer = await client.get(f"{served.url}/api/v1/problems")
        assert answer.status_code == 200
        found = answer.json()["problems"]
        assert isinstance(found, list)
        return found


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("call", ["read", "bounds"])
async def test_a_defect_is_got_over(tmp_path: Path, call: Literal["read", "bounds"], beside: bool) -> None:
    """Whatever it is that fails unexpectedly: the pages stay, say it, and go on when it is gone."""
    async with process(tmp_path) as (parts, log), shown(parts, beside=beside) as served:
        assert served is not None
        await registered(parts, "vm1/1")
        await until(lambda: served.replica.service("vm1/1") is not None, "the first one is shown")
        await served.replica.caught_up()
        with capture_logs() as said:
            log.call = call
            await log.append(DEAD_LETTERS, 0, [Message(b"x", b"{}")])
            await until(lambda: any("please report it" in one.text for one in served.replica.problems()), "it is told")
        assert {one["event"] for one in said if one["log_level"] == "error"} == {"replica.defect"}
        assert "a defect of quota-stream, please report it: RuntimeError('broken')" in str(
            await problems(parts, served)
        )
        await registered(parts, "vm1/2")
        log.call = None
        await until(lambda: served.replica.service("vm1/2") is not None, "the second one is shown")
        await served.replica.caught_up()
        assert "please report it" not in str(await problems(parts, served))


@pytest.mark.parametrize("call", ["read", "bounds"])
async def test_what_somebody_must_mend_ends_serve_and_not_run(tmp_path: Path, call: Literal["read", "bounds"]) -> None:
    """A right that is missing, for example: `serve` ends with it, `run` says it and goes on."""
    async with process(tmp_path) as (parts, log):
        log.error = Misconfigured("the ACL Read is missing")

        async def serve() -> None:
            async with shown(parts, beside=False):
                log.call = call
                await asyncio.Event().wait()

        with pytest.raises(Misconfigured, match="the ACL Read is missing"):
            await asyncio.wait_for(serve(), DEADLINE_S)
        log.call = None
        with capture_logs() as said:
            async with shown(parts, beside=True) as served:
                assert served is not None
                await served.replica.caught_up()
                log.call = call
                await log.append(DEAD_LETTERS, 0, [Message(b"x", b"{}")])
                await until(lambda: any(one["event"] == "replica.failed" for one in said), "it is said")
                await problems(parts, served)
        (failed,) = (one for one in said if one["event"] == "replica.failed")
        assert failed["cause"] == "the ACL Read is missing"
