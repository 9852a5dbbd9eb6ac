"""The server: over a real socket, with a real client, and as a process that is killed and asked for the truth."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner

from stream.core.errors import Corrupt, Misconfigured
from stream.simulator import Faults, Simulator, World, create_app
from stream.simulator.command import simulator
from stream.simulator.journal import load
from stream.simulator.server import serve
from tests.simulator.platform import T0, Now, until

DEADLINE_S = 20


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    app = create_app(World(Now()), faults=Faults())
    async with serve(app) as address, httpx.AsyncClient(base_url=address.url) as client:
        client.headers["x-xsrf-token"] = address.token
        yield app, client


async def test_a_client_over_a_socket() -> None:
    """The address that it gives is enough to log in, list and throttle."""
    app = create_app(World(Now()), password="secret")
    id = app.world.create()
    async with serve(app) as address, httpx.AsyncClient(base_url=address.url) as client:
        body = {"email": address.email, "password": "secret"}
        assert address.password == "secret"
        token = (await client.post("/auth/v4/public/token", json=body)).json()["token"]
        for text in (token, address.token):
            rows = (await client.get("/vm/v3/host", headers={"x-xsrf-token": text})).json()["list"]
            assert [row["id"] for row in rows] == [id]
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as client:
            await client.get(address.url)


@pytest.mark.parametrize("effect", ["refused", "reset"])
async def test_a_broken_connection(effect: str) -> None:
    """The connection is closed without an answer, and the next one works."""
    async with served() as (app, client):
        app.faults.inject("refused" if effect == "refused" else "reset", times=1)
        with pytest.raises(httpx.TransportError):
            await client.get("/vm/v3/host")
        assert (await client.get("/vm/v3/host")).status_code == 200


async def test_no_answer_ends_with_the_client_or_the_server() -> None:
    """A call that is never answered ends when the client gives up; another does not hold up the end of the server."""
    async with served() as (app, client):
        app.faults.inject("unanswered")
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/vm/v3/host", timeout=0.05)
        await until(lambda: app.calls)
        waiting = asyncio.create_task(client.get("/vm/v3/host", timeout=None))
        await until(lambda: app.faults.struck["unanswered"] == 2)
    with pytest.raises(httpx.TransportError):
        await waiting


async def test_an_address_that_cannot_be_had() -> None:
    """A port in use, and a host that is none: our own error names them."""
    async with served() as (_, client):
        for host, port in (("127.0.0.1", client.base_url.port or 0), ("host.invalid", 80)):
            with pytest.raises(Misconfigured, match=f"{host}:{port}"):
                async with serve(create_app(World(Now())), host, port):
                    raise AssertionError("it listens")


# ---------------------------------------------------------------- as a process


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    code = "from stream.simulator.command import simulator; simulator()"
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "--json", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await running.stdout.readline()
        yield running, orjson.loads(line)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_the_process_outlives_kills_and_tells_the_truth(tmp_path: Path) -> None:
    """SIGKILL loses nothing of the world; SIGUSR1 and SIGTERM write what really happened; the end is clean."""
    state, truth = tmp_path / "world.jsonl", tmp_path / "truth.json"
    arguments = ("--vms", "3", "--seed", "5", "--speed", "600", "--state", str(state), "--truth", str(truth))
    async with process(*arguments, "--knob", "immediate=true") as (running, address):
        await _throttle(address, 101, 7)
        running.kill()
        await running.wait()
    assert load(state).limits(101) == (7, 7)
    async with process(*arguments, "--knob", "immediate=true") as (running, address):
        await _throttle(address, 102, 9)
        running.send_signal(signal.SIGUSR1)
        await until(truth.exists)
        written = orjson.loads(truth.read_bytes())
        running.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await running.wait() == 0
    last = orjson.loads(truth.read_bytes())
    assert last["at"] >= written["at"] > T0
    world = load(state)
    assert (world.limits(101), world.limits(102)) == ((7, 7), (9, 9))
    for machine in last["machines"]:
        found = world.bytes_between(machine["id"], machine["created"], last["until"])
        assert found == (machine["bytes_in"], machine["bytes_out"])


async def test_a_password_in_a_file_is_told_to_nobody(tmp_path: Path) -> None:
    """It opens the door, and neither it nor the token is printed."""
    file = tmp_path / "password"
    file.write_text("from the file\n")
    async with process("--vms", "1", "--password-file", str(file)) as (_, address):
        assert set(address) == {"url", "email"}
        await _throttle(address | {"password": "from the file"}, 101, 7)


async def _throttle(address: dict[str, Any], id: int, mbitps: int) -> None:
    async with httpx.AsyncClient(base_url=address["url"]) as client:
        body = {"email": address["email"], "password": address["password"]}
        token = (await client.post("/auth/v4/public/token", json=body)).json()["token"]
        limits = {"net_in_mbitps": mbitps, "net_out_mbitps": mbitps}
        path = f"/vm/v3/host/{id}/resource"
        assert (await client.post(path, json=limits, headers={"x-xsrf-token": token})).is_success


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("--listen nowhere", "HOST:PORT"),
        ("--listen 127.0.0.1:" + "9" * 5000, "HOST:PORT"),
        ("--timezone Mars/Base", "Mars/Base"),
        ("--timezone Europe", "Is a directory"),
        ("--knob stamp", "NAME=VALUE"),
        ("--knob stmap=end", "there are"),
        ("--knob stamp=middle", "stamp"),
        ("--knob late_percent=101", "out of range"),
        ("--fault explode", "effect"),
        ("--fault html:call=(", "subpattern"),
        ("--fault html:much=1", "no such name: much"),
        ("--start tomorrow", "2026-03-01T00:00"),
        ("--speed 0", "--speed"),
        ("--password one --password-file two", "either this or --password"),
    ],
)
def test_wrong_arguments(arguments: str, word: str) -> None:
    """Exit status 2, with the option and what is wrong with it."""
    result = CliRunner().invoke(simulator, arguments.split())
    assert result.exit_code == 2
    assert word in result.output


@pytest.mark.parametrize(("name", "error"), [("world.txt", Corrupt), ("none/world.jsonl", Misconfigured)])
def test_a_state_file_that_is_none(tmp_path: Path, name: str, error: type[Exception]) -> None:
    """A wrong or impossible file: our own error, for the command line to show."""
    (tmp_path / "world.txt").write_text("a letter to a friend\n")
    result = CliRunner().invoke(simulator, ["--state", str(tmp_path / name)])
    assert isinstance(result.exception, error)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_password_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or no text: our own error, which names it."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(simulator, ["--password-file", str(file)])
    assert isinstance(result.exception, Misconfigured)
    assert str(file) in str(result.exception)


def test_help_has_examples() -> None:
    """With all options and a few lines to begin with."""
    result = CliRunner().invoke(simulator, ["--help"])
    assert result.exit_code == 0
    for text in ("--listen", "--speed", "--timezone", "Examples:", "quota-stream simulator"):
        assert text in result.output
