"""The webhook over real HTTP and the command as a real process: what they get, and what they are taken to say."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stream.adapters.clock import SystemClock
from stream.adapters.command import Command
from stream.adapters.webhook import SIGNATURE, Webhook
from stream.core.errors import Refused, Unavailable
from stream.core.notices import Notice
from stream.wire import encode_notice
from tests.notices.world import World, live
from tests.web.hostile import HOSTILE

EVENT = b'{"specversion":"1.0","id":"vm1/1/7/2"}'


@dataclass
class Server:
    """Answers as it is told, and keeps what it got."""

    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    headers: bytes = b""
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
                if self.status == 0:
                    return
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n%s\r\n" % (self.status, self.headers))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    async with listening:
        yield server


def webhook(url: str, secret: Callable[[], str] = lambda: "s3cret") -> Webhook:
    return Webhook(url, secret, clock=SystemClock(), timeout_s=2.0)


async def test_an_event_is_signed() -> None:
    """Content type of CloudEvents, and a signature over time and body that only who knows the secret can make."""
    async with serving() as server:
        hook = webhook(server.url)
        await hook.deliver(EVENT)
        await hook.close()
        ((headers, body),) = server.got
        assert (headers["content-type"], body) == ("application/cloudevents+json; charset=utf-8", EVENT)
        at, mac = (part.split("=", 1)[1] for part in headers[SIGNATURE.lower()].split(","))
        assert mac == hmac.new(b"s3cret", f"{at}.".encode() + EVENT, hashlib.sha256).hexdigest()
        assert abs(int(at) * 1000 - SystemClock().now()) < 60_000


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (204, None), (400, Refused), (404, Refused), (410, Refused), (302, Refused),
     (408, Unavailable), (429, Unavailable), (500, Unavailable), (503, Unavailable), (0, Unavailable)],
)  # fmt: skip
async def test_what_an_answer_means(status: int, error: type[Exception] | None) -> None:
    """2xx: it has it.  What passes by itself: later.  Anything else, a redirect too: it does not want this one."""
    async with serving() as server:
        server.status, server.headers = status, b"location: http://127.0.0.1:9/\r\n"
        hook = webhook(server.url)
        if error is None:
            await hook.deliver(EVENT)
        else:
            with pytest.raises(error):
                await hook.deliver(EVENT)
        await hook.close()
        assert len(server.got) == 1


async def test_nobody_listens() -> None:
    """A refused connection is a receiver that is down; its error names neither secret nor event."""
    async with serving() as server:
        url = server.url
    hook = webhook(url)
    with pytest.raises(Unavailable) as caught:
        await hook.deliver(EVENT)
    await hook.close()
    assert "s3cret" not in str(caught.value)


def test_hostile_words_travel_as_data() -> None:
    """Whatever is in names and reasons, an event is one line of JSON from which exactly that is read again."""
    for words in HOSTILE.values():
        body = encode_notice(Notice("change", "quota-stream/tracker/0", "1", 0, f"vm1/{words}", {"why": words}))
        assert b"\n" not in body
        told = json.loads(body)
        assert (told["subject"], told["data"]) == (f"vm1/{words}", {"why": words})


def test_from_the_log_to_a_webhook_that_comes_back() -> None:
    """Real HTTP: 503 for a while, then all of it, in order, each with the id that it keeps."""

    async def scenario(world: World) -> None:
        async with serving() as server:
            server.status = 503
            hook = webhook(server.url)
            world.start(hook)
            await world.until(lambda: 0 in world.observed.waiting)
            ids = [await world.decided("vm1/1") for _ in range(5)]
            await world.until(lambda: len(server.got) > 3)
            server.got.clear()
            server.status = 200
            await world.until(lambda: len(server.got) == 5, within_s=600)
            assert [json.loads(body)["id"] for _, body in server.got] == ids
            await world.stop()
            await hook.close()

    live(scenario)


# ---------------------------------------------------------------- the command


def program(folder: Path, text: str) -> list[str]:
    file = folder / "program.py"
    file.write_text(text)
    return [sys.executable, str(file)]


async def test_a_command_gets_the_event_on_its_standard_input(tmp_path: Path) -> None:
    """The whole of it, and status 0 says that it has it."""
    await Command(
        program(tmp_path, f"import sys; open({str(tmp_path / 'got')!r}, 'wb').write(sys.stdin.buffer.read())")
    ).deliver(EVENT)
    assert (tmp_path / "got").read_bytes() == EVENT


async def test_a_command_that_ends_badly_refuses(tmp_path: Path) -> None:
    """Also one that does not even read."""
    with pytest.raises(Refused, match="status 3"):
        await Command(program(tmp_path, "raise SystemExit(3)")).deliver(EVENT * 100_000)


async def test_a_command_that_is_not_there() -> None:
    """It may come: try again later."""
    with pytest.raises(Unavailable, match="cannot be started"):
        await Command(["/nonexistent/program"]).deliver(EVENT)


async def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    """Nothing of it is left running."""
    child = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(Unavailable, match="not done within"):
        await Command(program(tmp_path, child), timeout_s=3.0).deliver(EVENT)
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(20):
        while _lives(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
