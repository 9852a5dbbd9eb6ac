"""`serve`, and `run` with a section `web`, as processes: beside each other on one file, over TLS, and refused."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.adapters.clock import SystemClock
from tests.cli.calling import CONFIG, call
from tests.cli.conftest import folder
from tests.processes.running import Running, called, running
from tests.web.installation import DEADLINE_S

__all__ = ["folder"]
"""A fixture of the command line's tests."""

WEB = "checkpoint: 200ms\nlisten: 127.0.0.1:{metrics}\nweb:\n  listen: 127.0.0.1:{port}\n"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def certificate(into: Path) -> None:
    """For 127.0.0.1, signed by itself."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = f"-keyout {into}/web.key -out {into}/web.pem -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), *files.split()], check=True, capture_output=True)


async def token(here: Path) -> dict[str, str]:
    made = await called(here, "token", "create", "anna", "--role", "operate")
    return {"Authorization": f"Bearer {made.strip()}"}


@asynccontextmanager
async def at_work(here: Path, *words: str, says: str) -> AsyncIterator[Running]:
    """The command until the test is over; then it must end well."""
    async with running(here, *words) as process:
        await process.line(says)
        yield process
        assert await process.stop() == 0, "".join(process.said)


async def answered(client: httpx.AsyncClient, path: str) -> Any:
    """As soon as everything was read."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await client.get(path)
            if answer.status_code not in (404, 503):
                return answer.json()
            await asyncio.sleep(0.1)


async def test_serve_beside_run_over_tls(tmp_path: Path) -> None:
    """On one file: what one process counts the other shows, and what is done in the other is counted in the one."""
    certificate(tmp_path)
    port, metrics = free_port(), free_port()
    text = CONFIG + WEB.format(port=port, metrics=metrics) + "  tls: {cert_file: web.pem, key_file: web.key}\n"
    (tmp_path / "quota-stream.yaml").write_text(text)
    now = SystemClock().now()
    records = [
        {"type": "registration", "service": "vm1/1", "plans": ["vpn"], "at": now - 7_200_000},
        {"service": "vm1/1", "start": now - 60_000, "end": now, "in": 5000, "out": 0},
    ]
    await called(tmp_path, "publish", stdin="".join(json.dumps(one) + "\n" for one in records))
    headers = await token(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "web.pem"))
    async with (
        at_work(tmp_path, "run", "--web", "off", "--listen", "off", says="event=started"),
        at_work(tmp_path, "serve", says="event=started"),
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", headers=headers, verify=trusting, timeout=30) as client,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics}") as health,
    ):
        shown = await answered(client, "/api/v1/services/vm1/1")
        assert shown["plans"][0]["profile"] == "slow"
        done = await client.post("/api/v1/adjustments", json={"kind": "reset", "service": "vm1/1", "why": "ticket 7"})
        assert (done.status_code, done.json()["counted"]) == (200, True)
        assert done.json()["service"]["plans"][0]["profile"] == "full"
        assert (await health.get("/health/ready")).status_code == 200
        text = (await health.get("/metrics")).text
        assert 'quota_stream_web_requests_total{route="/api/v1/services/{service:path}",status="200"}' in text
        assert "vm1/1" not in text
    assert (tmp_path / "quota-stream-web.db").exists()


async def test_run_serves_by_itself(tmp_path: Path) -> None:
    """With a section `web`; and the log tells neither tokens nor paths."""
    port = free_port()
    (tmp_path / "quota-stream.yaml").write_text(CONFIG + WEB.format(port=port, metrics=free_port()))
    headers = await token(tmp_path)
    async with (
        at_work(tmp_path, "run", says="event=started") as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
    ):
        assert (await answered(client, "/api/v1/services"))["total"] == 0
        assert (await client.get("/")).status_code == 200
        stranger = await client.get("/api/v1/services/secret/path", headers={"Authorization": "Bearer qs_guessed"})
        assert stranger.status_code == 401
        await process.line("event=web.refused")
    said = "".join(process.said)
    assert "secret/path" not in said
    assert "qs_" not in said


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("", "there is no section `web`; write `web: {}` to have API and pages"),
        ("web: {listen: off}\n", "under web, listen is off; write `listen: 127.0.0.1:8480`, or use --web"),
        ("web: {listen: '127.0.0.1:{port}', link_key_files: [link.key]}\n", "link.key: the secret cannot be read"),
        ("web: {listen: '127.0.0.1:{port}', tls: {cert_file: web.pem, key_file: web.key}}\n", "they cannot be used"),
        ("web: {listen: '127.0.0.1:{taken}'}\n", "choose another one: `--web HOST:PORT` or off, or listen: under web"),
    ],
)
def test_what_cannot_be_served(folder: Path, section: str, told: str) -> None:
    """It is said in one line, with what to write instead, and ends the process with 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"{port}": str(free_port()), "{taken}": str(taken.getsockname()[1])}
        for name, port in ports.items():
            section = section.replace(name, port)
        (folder / "quota-stream.yaml").write_text(CONFIG)
        call("publish", stdin='{"type":"registration","service":"vm1/1","plans":["vpn"]}\n')
        (folder / "quota-stream.yaml").write_text(CONFIG + section)
        result = call("serve", "--listen", "off", status=2)
        assert told in result.stderr
        assert len([line for line in result.stderr.splitlines() if "level=" not in line]) == 1


def test_there_is_nothing_to_serve_yet(folder: Path) -> None:
    """Without a log `serve` says what makes one."""
    (folder / "quota-stream.yaml").write_text(CONFIG + "web: {}\n")
    assert "there is no log yet; `quota-stream run`" in call("serve", status=2).stderr
