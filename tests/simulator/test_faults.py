"""Faults: each effect as a client sees it, whom it strikes, and that a seed repeats them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from stream.core.errors import Rejected
from stream.simulator import Fault, Faults, Knobs
from stream.simulator.faults import AFTER, BEFORE, ON_TASK
from tests.simulator.platform import HOUR, STEP, T0, platform


@pytest.mark.parametrize(
    ("effect", "status"), [("unavailable", 503), ("server_error", 500), ("rate_limit", 429), ("lose_tokens", 401)]
)
async def test_refusals_before_the_work(effect: str, status: int) -> None:
    """The call is answered with an error and has done nothing; the next one is served again."""
    async with platform() as one:
        id = one.world.create()
        await one.log_in()
        one.app.faults.active.append(Fault(next(known for known in BEFORE if known == effect), times=1))
        assert (await one.order(id, net_in_mbitps=1)).status_code == status
        assert not one.world.tasks
        await one.log_in()
        assert (await one.order(id, net_in_mbitps=1)).status_code == 200


@pytest.mark.parametrize(
    ("effect", "done"), [("refused", False), ("unread", False), ("reset", True), ("unanswered", True)]
)
async def test_no_answer(effect: str, done: bool) -> None:
    """No connection or no answer; the work is done or not, as the effect says."""
    async with platform() as one:
        id = one.world.create()
        one.app.faults.active.append(Fault(next(known for known in (*BEFORE, *AFTER) if known == effect), times=1))
        with pytest.raises((httpx.TransportError, TimeoutError)):
            async with asyncio.timeout(0.05):
                await one.order(id, net_in_mbitps=1)
        assert bool(one.world.tasks) == done
        assert one.app.calls[-1][2] == 0
        assert (await one.order(id, net_in_mbitps=1)).status_code == 200


@pytest.mark.parametrize("effect", ["html", "truncated", "wrong_types", "bare_error"])
async def test_odd_replies(effect: str) -> None:
    """HTML, half of the JSON, other types, an error without `error`: never what a client hopes for."""
    async with platform() as one:
        one.world.create()
        one.app.faults.active.append(Fault(next(known for known in AFTER if known == effect), times=1))
        reply = await one.client.get("/vm/v3/host")
        match effect:
            case "html":
                assert (reply.status_code, reply.text[:9]) == (200, "<!doctype")
            case "truncated":
                with pytest.raises(ValueError):
                    reply.json()
            case "wrong_types":
                assert reply.json()["list"]["0"]["id"] == "101"
            case _:
                assert (reply.status_code, reply.json()) == (500, {})
        assert isinstance((await one.client.get("/vm/v3/host")).json()["list"], list)


async def test_half_of_the_list() -> None:
    """Always the same half is missing; other replies stay whole."""
    async with platform() as one:
        one.world.populate(40)
        one.app.faults.inject("half_list")
        first, second = [(await one.client.get("/vm/v3/host")).json()["list"] for _ in range(2)]
        assert 0 < len(first) < 40
        assert first == second
        assert (await one.client.get("/vm/v3/host/101")).status_code == 200


async def test_slow_replies() -> None:
    """A slow reply arrives after its delay, and so does each one under the knob for latency."""
    async with platform(Knobs(latency_s=0.02, latency_jitter_s=0.01)) as one:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        assert loop.time() - began >= 0.02
        one.app.faults.inject("slow", delay_s=0.05)
        began = loop.time()
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        assert loop.time() - began >= 0.07


async def test_one_vms_metrics_fail() -> None:
    """A fault strikes the calls that its pattern finds, in its time only."""
    async with platform() as one:
        ill, well = one.world.create(), one.world.create()
        one.app.faults.inject("server_error", call=rf"/host/{ill}/metrics", since=T0 + STEP, until=T0 + HOUR)
        query = {"target": "net_rx_summary"}
        seen = []
        for at in (T0, T0 + STEP, T0 + HOUR - 1, T0 + HOUR):
            one.now.ms = at
            replies = [await one.client.get(f"/vm/v3/host/{id}/metrics", params=query) for id in (ill, well)]
            seen.append([reply.status_code for reply in replies])
            assert (await one.client.get(f"/vm/v3/host/{ill}")).status_code == 200
        assert seen == [[200, 200], [500, 200], [500, 200], [200, 200]]


async def test_faults_can_be_taken_back() -> None:
    """One by one, or all at once; the count of what happened stays."""
    async with platform() as one:
        fault = one.app.faults.inject("unavailable")
        assert (await one.client.get("/vm/v3/host")).status_code == 503
        one.app.faults.remove(fault)
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        one.app.faults.inject("unavailable")
        one.app.faults.hide(start=0, end=T0)
        one.app.faults.clear()
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        assert one.app.faults.struck == {"unavailable": 1}


def test_a_seed_repeats_the_faults() -> None:
    """The same seed strikes the same calls; so many percent are so many percent."""

    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.inject("unavailable", percent=20)
        return [faults.strike("GET /", T0, BEFORE) is not None for _ in range(1000)]

    assert struck(1) == struck(1) != struck(2)
    assert 150 < sum(struck(1)) < 250


def test_an_unknown_effect_is_refused() -> None:
    """With its name; each known one is in exactly one group."""
    unknown: dict[str, Any] = {"effect": "explode"}
    with pytest.raises(Rejected, match="explode"):
        Fault(**unknown)
    assert len({*BEFORE, *AFTER, *ON_TASK}) == len(BEFORE) + len(AFTER) + len(ON_TASK)


async def test_the_latest_calls_are_remembered() -> None:
    """A test can see what was asked, with its body, and what came of it."""
    async with platform() as one:
        id = one.world.create()
        await one.order(id, net_in_mbitps=7)
        await one.client.get("/vm/v3/nothing")
        (at, order, status), (_, other, missing) = list(one.app.calls)[-2:]
        assert (at, str(order), order.body, status) == (
            T0,
            f"POST /vm/v3/host/{id}/resource",
            {"net_in_mbitps": 7},
            200,
        )
        assert (str(other), missing) == ("GET /vm/v3/nothing", 404)
