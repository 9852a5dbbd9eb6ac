"""`run` among other processes: the README's example, what others append, who may run, how it ends."""

from __future__ import annotations

import asyncio
import getpass
import re
import resource
import shlex
import socket
from pathlib import Path

import httpx
import pytest

from tests.cli.calling import CONFIG, delta, registration
from tests.processes.running import DEADLINE_S, Running, called, objects, running, telling

README = Path(__file__).parent.parent.parent / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration that listens nowhere."""
    (tmp_path / "quota-stream.yaml").write_text(f"listen: off\n{CONFIG}")
    return tmp_path


async def test_the_example_of_the_readme(tmp_path: Path) -> None:
    """Your own meters, word for word: registered, then exceeded -> slow, then stay_over -> fast."""
    chapter = README.read_text().split("## Your own meters")[1].split("\n## ")[0]
    configuration, commands = re.findall(r"```(?:yaml|sh)\n(.*?)```", chapter, re.DOTALL)
    (tmp_path / "quota-stream.yaml").write_text(configuration)
    publish, rest = commands.split("END\n", 1)[0], commands.split("END\n")[1]
    assert publish.startswith("quota-stream publish <<'END'\n")
    deltas = publish.split("\n", 1)[1]
    run, tail = (shlex.split(line, comments=True)[1:] for line in rest.splitlines())
    await called(tmp_path, "publish", stdin=deltas)
    await called(tmp_path, *run)
    told = await objects(tmp_path, *tail)
    assert [(one["reason"], one["from"], one["to"]) for one in told] == [
        ("registered", None, None),
        ("exceeded", "fast", "slow"),
        ("stay_over", "slow", "fast"),
    ]


async def test_what_others_append_is_acted_on(folder: Path) -> None:
    """`run` decides soon on what `publish` and `service credit` append beside it, with a line in its log for each
    decision and warning; SIGTERM makes all of it durable."""
    async with running(folder, "run") as run:
        await run.line("event=started")
        async with telling(folder, "tail", "quota.profile-changes", "--follow", "--from", "first") as changes:
            await called(folder, "publish", stdin=registration("vm1/1") + delta("vm1/1", 0, 900))
            assert (await changes.object())["reason"] == "registered"
            assert (await changes.object())["type"] == "warning"
            await called(folder, "publish", stdin=delta("vm1/1", 1, 200))
            assert (await changes.object())["to"] == "slow"
            await called(folder, "service", "credit", "vm1/1", "1000B", "--why", "ticket 12")
            credited = await changes.object()
            assert credited["service"] == "vm1/1"
            assert credited["reason"] == "credit"
        assert await run.stop() == 0
    told = [line for line in run.said if "event=quota." in line and "service=vm1/1 " in line]
    for words, line in zip(
        (
            ["reason=registered"],
            ["quota.warning", "percent="],
            ["reason=exceeded", "from=full to=slow", "usage_bytes=1100 quota_bytes=1000", "plan=vpn", "revision=2"],
            ["reason=credit", f"by={getpass.getuser()}", 'why="ticket 12"'],
        ),
        told,
        strict=True,
    ):
        assert [word for word in words if word not in line] == []
    (shown,) = await objects(folder, "service", "show", "vm1/1", "--json")
    assert shown["accepted_in"] == 1100


async def test_a_second_run_is_refused(folder: Path) -> None:
    """One file, one `run`: the second fails with 1 and names the first; the first goes on, and ends well."""
    async with running(folder, "run") as run:
        await run.line("event=started")
        assert f"process {run.pid} runs on it" in await called(folder, "run", status=1)
        assert await run.stop() == 0
        assert any("event=stopped" in line for line in run.said)


async def test_the_service_manager_is_told(folder: Path, tmp_path: Path) -> None:
    """READY=1 once it has started, the watchdog fed, and STOPPING=1 when it is asked to end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}

        async def told() -> str:
            async with asyncio.timeout(DEADLINE_S):
                return (await asyncio.get_running_loop().sock_recv(manager, 100)).decode()

        async with running(folder, "run", environ=environ) as run:
            assert {await told(), await told()} == {"READY=1", "WATCHDOG=1"}
            run.process.terminate()
            assert await told() == "STOPPING=1"
            assert await run.ended() == 0


async def test_health_and_metrics(folder: Path) -> None:
    """All three answer on the address that the log names, and nowhere else once it has ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (folder / "quota-stream.yaml").write_text(f"listen: 127.0.0.1:{port}\n{CONFIG}")
    async with running(folder, "run") as run, httpx.AsyncClient() as client:
        url = await _url(run)
        await run.line("event=started")
        async with telling(folder, "tail", "quota.profile-changes", "--follow", "--from", "first") as changes:
            await called(folder, "publish", stdin=registration("vm1/1"))
            await changes.line()
        live, ready, metrics = [await client.get(url + path) for path in ("/health/live", "/health/ready", "/metrics")]
        assert (live.status_code, live.json()) == (200, {"status": "ok"})
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "problems": {}})
        assert metrics.status_code == 200
        assert 'quota_stream_services{plan="vpn",profile="full"} 1.0' in metrics.text
        assert await run.stop() == 0
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/health/live")


async def _url(run: Running) -> str:
    found = re.search(r"url=(http://127\.0\.0\.1:\d+)", await run.line("event=listening"))
    assert found
    return found[1]


async def test_it_takes_the_files_that_it_may_have(folder: Path) -> None:
    """A low first limit is raised to the highest that is allowed; each partition on Kafka needs several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        async with running(folder, "run") as run:
            await run.line("event=started")
            assert resource.prlimit(run.pid, resource.RLIMIT_NOFILE) == (hard, hard)
            assert await run.stop() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
