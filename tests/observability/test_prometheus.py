"""A real Prometheus that scrapes a real `run` with pages and a receiver of notices: every metric, rule and query of the
dashboard on real data."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.processes.running import called, running, telling
from tests.processes.test_platform import CONFIGURATION, zone_after_midnight

COMPOSE = Path(__file__).parent.parent.parent / "compose"
DEADLINE_S = 90.0
CALM = {
    "Alarms",
    "Circuit breakers that are not closed",
    "Services in trouble",
    "Month: the platform's total less ours",
}
"""Panels that show nothing when nothing is wrong, or before a day is over."""
RARE = {
    "sum by (platform) (rate(quota_stream_collector_append_failures_total[10s]))",
    'sum by (platform, result) (rate(quota_stream_enforcements_total{result!="applied"}[10s]))',
    'sum by (platform, outcome) (rate(quota_stream_platform_request_duration_seconds_count{outcome!="ok"}[10s]))',
    "60 * sum by (plan) (rate(quota_stream_warnings_total[10s]))",
    "sum by (platform, finding) (increase(quota_stream_enforcement_findings_total[1h]))",
    'sum by (platform) (rate(quota_stream_collector_reads_total{outcome="failed"}[10s]))',
}
"""Queries for what did not happen in this run: there is no series until it happens for the first time."""
SHOWN_AND_TOLD = """\
web: {listen: "WEB"}
notify:
  command: [grep, --quiet, --invert-match, '"subject":"vm1/998"']
"""
"""The receiver takes everything, but for what is about one service."""
REGISTERED = '{"type":"registration","service":"vm1/%d","plans":["vpn"]}\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)
        return port


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[httpx.AsyncClient]:
    """One that scrapes the target each second and has our rules; a client of its API."""
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(COMPOSE / "rules.yaml")],
        "scrape_configs": [{"job_name": "quota-stream", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        "prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data", f"--web.listen-address={address}",
        "--log.level=error", cwd=folder,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}/api/v1/", timeout=DEADLINE_S) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def asked(client: httpx.AsyncClient, query: str) -> Sequence[Mapping[str, Any]]:
    """What an instant query gives.  Raises where Prometheus says no."""
    reply = await client.get("query", params={"query": query})
    assert reply.status_code == 200, f"{query}: {reply.text}"
    found: Sequence[Mapping[str, Any]] = reply.json()["data"]["result"]
    return found


async def until_some(client: httpx.AsyncClient, query: str) -> Sequence[Mapping[str, Any]]:
    """The first answer with something in it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                if found := await asked(client, query):
                    return found
            except httpx.TransportError:  # not up yet
                pass
            await asyncio.sleep(0.2)  # between two looks


def queries() -> list[tuple[str, str]]:
    """Panel and expression, as Grafana would send it."""
    panels = json.loads((COMPOSE / "grafana" / "quota-stream.json").read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "10s"))
        for panel in panels
        for target in panel.get("targets", [])
    ]


async def test_a_real_run_seen_by_a_real_prometheus(tmp_path: Path) -> None:
    """Scraped without complaint, rules without an error, and each query answers with data where there is some."""
    zone = zone_after_midnight()
    world = ("--timezone", zone, "--vms", "3", "--step", "1", "--history", "1", "--speed", "2")
    quick = ("--knob", "task_ms=1000", "--knob", "task_absent_ms=0")
    target, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    async with telling(tmp_path, "simulator", "--json", *world, *quick) as simulator:
        address = await simulator.object()
        (tmp_path / "vm1.token").touch(mode=0o600)
        (tmp_path / "vm1.token").write_text(address["token"])
        configuration = CONFIGURATION.replace("URL", address["url"]).replace("ZONE", zone)
        configuration = configuration.replace("listen: off", f"listen: {target}") + SHOWN_AND_TOLD.replace("WEB", web)
        (tmp_path / "quota-stream.yaml").write_text(configuration)
        token = (await called(tmp_path, "token", "create", "anna")).strip()
        async with running(tmp_path, "run") as run, prometheus(tmp_path, target) as client:
            await run.line("event=notices.begin")
            await called(tmp_path, "publish", stdin=REGISTERED % 997 + REGISTERED % 998)
            await run.line("event=enforcement.applied")
            await called(tmp_path, "publish", stdin='{"service":"vm1/999","start":1,"end":2,"in":1,"out":1}\n')
            async with looked_at(f"http://{web}", token):
                await until_some(client, 'rate(quota_stream_enforcements_total{result="applied"}[10s])')
                await until_some(client, "increase(quota_stream_dead_letters_total[1h])")
                for result in ("delivered", "refused"):
                    await until_some(client, f'rate(quota_stream_notices_total{{result="{result}"}}[10s])')
                await until_some(client, 'rate(quota_stream_web_requests_total{status="401"}[10s])')
                await look_at_everything(client, target)
            assert await run.stop() == 0


@asynccontextmanager
async def looked_at(url: str, token: str) -> AsyncIterator[None]:
    """A live page, after a page and a log-in that was refused."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE_S) as person:
        assert (await person.get("/")).status_code == 200
        assert (await person.post("/login", data={"token": "qs_wrong"})).status_code == 401
        async with person.stream("GET", "/api/v1/events") as live:
            assert live.status_code == 200
            yield


async def look_at_everything(client: httpx.AsyncClient, target: str) -> None:
    async with httpx.AsyncClient() as plain:
        exposed = (await plain.get(f"http://{target}/metrics")).text
    check = await asyncio.create_subprocess_exec("promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    said, _ = await check.communicate(exposed.encode())
    assert (check.returncode, said.decode()) == (0, "")
    assert [sample["value"][1] for sample in await until_some(client, "up")] == ["1"]
    for family in re.findall(r"^# TYPE (quota_stream_\w+) gauge$", exposed, flags=re.MULTILINE):
        if re.search(rf"^{family}[ {{]", exposed, flags=re.MULTILINE):
            assert await until_some(client, family), family
    rules = (await client.get("rules")).json()["data"]["groups"]
    told = [rule for group in rules for rule in group["rules"]]
    assert len(told) > 20
    assert [rule["name"] for rule in told if rule["health"] == "err"] == []
    silent = [(title, query) for title, query in queries() if not await asked(client, query)]
    assert [(title, query) for title, query in silent if title not in CALM and query not in RARE] == []
