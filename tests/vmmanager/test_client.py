"""Patience with a suspended platform, a pace that is kept, deadlines, and causes in words."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.adapters.clock import SystemClock, WarpClock
from stream.adapters.vmmanager import LongLivedToken, Vmmanager, VmmanagerSettings
from stream.adapters.vmmanager.client import BODY_LIMIT_BYTES, trust
from stream.core.errors import Busy, Misconfigured, Refused, Unavailable
from stream.core.speed import Speed
from stream.simulator import Knobs
from tests.vmmanager.rig import MINUTE, SETTINGS, T0, Parrot, Rig, warped

MIB = 1 << 20
CERTIFICATE = Path(__file__).parent / "localhost.pem"
"""Self-signed, with its key, for 127.0.0.1, until 2126."""


def test_a_suspended_platform_is_woken() -> None:
    """Three 503 to the login and none after: the list comes, after a second or less."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(asleep=True, waking_requests=3))
        await rig.platform.list()
        assert clock.now() - T0 == 100 + 200 + 300
        assert rig.seen.outcomes["login", "suspended"] == 3

    warped(main)


def test_the_ramp_ends_after_a_minute() -> None:
    """A tenth of a second more each time for ten tries, then slower; after about 60 s Unavailable."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        rig.app.sleep()
        with pytest.raises(Unavailable, match="still answers 503 after"):
            await rig.platform.list()
        at = [at - T0 for at in rig.called("/auth/v4/public/token")]
        assert at[:11] == [0, 100, 300, 600, 1000, 1500, 2100, 2800, 3600, 4500, 5500]
        assert all(later - earlier <= 10_000 for earlier, later in pairwise(at))
        assert 50_000 < clock.now() - T0 < 61_000

    warped(main)


def test_a_function_that_alone_answers_503_is_given_up_sooner() -> None:
    """If the platform answers others meanwhile it is not asleep: after ten tries it is enough."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        machine = rig.world.create(since=T0)
        await rig.platform.list()
        rig.app.faults.inject("unavailable", call=f"/{machine}/metrics")

        async def others() -> None:
            while True:
                await asyncio.sleep(1)
                await rig.platform.list()

        asking = asyncio.create_task(others())
        with pytest.raises(Unavailable, match="still answers 503"):
            await rig.platform.traffic(f"vm1/{machine}", T0, [T0 + 10 * MINUTE])
        asking.cancel()
        assert 5_000 < clock.now() - T0 < 7_000

    warped(main)


def test_a_platform_that_never_answers_is_given_up() -> None:
    """After the time-out, with its length in the cause; and the next request works."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, timeout_s=7)
        rig.app.faults.inject("unanswered", call="GET /vm/v3/host", times=1)
        with pytest.raises(Unavailable, match="vm1: GET /vm/v3/host: no answer within 7 s"):
            await rig.platform.list()
        assert clock.now() - T0 == 7000
        await rig.platform.list()

    warped(main)


async def test_whoever_is_given_up_spoils_nothing() -> None:
    """At whatever step a request is cancelled, the next one over the same connection, or another, is answered."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"list":[]}')
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = VmmanagerSettings(url=url, timezone="UTC", concurrency=1, max_requests_per_second=1e6)
    async with server:
        for is_warm in (False, True):
            for steps in count():
                platform = Vmmanager("vm1", settings, LongLivedToken(lambda: "t"), clock=SystemClock())
                if is_warm:
                    await platform.list()
                given_up = asyncio.create_task(platform.list())
                for _ in range(steps):
                    await asyncio.sleep(0)
                is_over = given_up.done()
                given_up.cancel()
                async with asyncio.timeout(10):
                    await platform.list()
                await platform.close()
                if is_over:
                    break


def test_the_pace_is_kept() -> None:
    """Fifty requests at five a second take ten seconds, and no second has more than its share and a burst."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, max_requests_per_second=5)
        await rig.platform.list()
        rig.app.calls.clear()
        await asyncio.gather(*(rig.platform.list() for _ in range(50)))
        at = rig.called("/vm/v3/host")
        assert at[-1] - at[0] >= 9_500
        assert max(sum(first <= one < first + 1000 for one in at) for first in at) <= 6

    warped(main)


def test_no_more_requests_at_once_than_allowed() -> None:
    """However many wait, so many are under way."""

    async def main(clock: WarpClock) -> None:
        under_way = [0]
        most = [0]

        async def answer(request: httpx.Request) -> httpx.Response:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            await asyncio.sleep(1)
            under_way[0] -= 1
            return httpx.Response(200, content=b'{"list":[]}')

        settings = VmmanagerSettings(url="http://vm1", timezone="UTC", concurrency=3, max_requests_per_second=1000)
        transport = httpx.MockTransport(answer)
        platform = Vmmanager("vm1", settings, LongLivedToken(lambda: "t"), clock=clock, transport=transport)
        await asyncio.gather(*(platform.list() for _ in range(20)))
        assert most == [3]

    warped(main)


@pytest.mark.parametrize(
    ("status", "body", "error", "cause"),
    [
        (200, b"<!doctype html><p>Sign in", Unavailable, "HTML where JSON was expected"),
        (200, b'{"list":[{"id":1', Unavailable, "broken JSON where JSON was expected"),
        (200, b"", Unavailable, "the reply holds no list"),
        (200, b"[]", Unavailable, "the reply holds no list"),
        (200, b'{"list":{}}', Unavailable, "the reply holds no list"),
        (200, b'{"list":null}', Unavailable, "the reply holds no list"),
        (200, b'{"list":[],"error":{"code":42,"msg":"odd"}}', Unavailable, "HTTP 200, code 42: odd"),
        (200, b'{"error":"text"}', Unavailable, "HTTP 200: text"),
        (200, b'{"error":["a",1]}', Unavailable, r"HTTP 200: \['a', 1\]"),
        (200, b'{"error":7}', Unavailable, "HTTP 200, code 7"),
        (200, b'{"error":{"code":"3001"}}', Refused, "code 3001"),
        (200, b'{"error":{"code":3080,"msg":{"a":"b"}}}', Refused, "code 3080: "),
        (200, b"NaN", Unavailable, "broken JSON"),
        (302, b"", Unavailable, "a redirection, which is not followed; check the url"),
        (400, b"oops", Refused, "HTTP 400"),
        (404, b"{}", Refused, "HTTP 404"),
        (404, b"<html>", Refused, "HTTP 404"),
        (408, b"", Unavailable, "HTTP 408"),
        (409, b"", Busy, "HTTP 409"),
        (409, b'{"error":{"code":3001}}', Refused, "HTTP 409, code 3001"),
        (429, b"", Unavailable, "HTTP 429"),
        (500, b"{}", Unavailable, "HTTP 500"),
        (500, b'{"error":null}', Unavailable, "HTTP 500"),
        (502, b"<html>", Unavailable, "HTTP 502"),
        (500, b'{"error":{"code":1,"msg":"' + b"\\u001b[31m\\n" * 99 + b'"}}', Unavailable, r"code 1: \?\[31m\?"),
    ],
)
def test_odd_replies_have_a_cause_in_words(status: int, body: bytes, error: type[Exception], cause: str) -> None:
    """Platform, function and cause; on one line of bounded length; whatever the Content-Type says."""

    async def main(clock: WarpClock) -> None:
        for content_type in ("application/json", "text/html; charset=latin1", ""):
            with pytest.raises(error, match=cause) as raised:
                await Parrot(body, status, content_type).platform(clock).list()
            assert str(raised.value).startswith("vm1: GET /vm/v3/host: ")
            assert str(raised.value).isprintable()
            assert len(str(raised.value)) < 400

    warped(main)


def test_json_is_read_whatever_its_content_type() -> None:
    """A good list with the wrong label is a good list."""

    async def main(clock: WarpClock) -> None:
        listing = await Parrot(b'{"list":[]}', 200, "text/html").platform(clock).list()
        assert listing.machines == {}

    warped(main)


class Swollen(httpx.AsyncByteStream):
    """Two megabytes of which gzip makes half a gigabyte, in pieces as they come from a socket."""

    def __init__(self) -> None:
        packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._packed = b"".join(packer.compress(bytes(MIB)) for _ in range(512)) + packer.flush()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._packed), 65_536):
            yield self._packed[start : start + 65_536]


def test_a_packed_answer_takes_no_more_memory_than_it_may() -> None:
    """It is given up when what is unpacked is too long: a few times that much is held at most."""
    swollen = Swollen()

    async def main(clock: WarpClock) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=swollen)

        platform = Vmmanager(
            "vm1", SETTINGS, LongLivedToken(lambda: "t"), clock=clock, transport=httpx.MockTransport(answer)
        )
        with pytest.raises(Unavailable, match="the answer is longer than"):
            await platform.list()
        await platform.close()

    tracemalloc.start()
    warped(main)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 3 * BODY_LIMIT_BYTES


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over the limit is Unavailable before it fills the memory."""
    monkeypatch.setattr("stream.adapters.vmmanager.client.BODY_LIMIT_BYTES", 1000)

    async def main(clock: WarpClock) -> None:
        with pytest.raises(Unavailable, match="longer than 1000 bytes"):
            await Parrot(b" " * 1001).platform(clock).list()

    warped(main)


def test_a_broken_connection_is_unavailable() -> None:
    """Refused or reset; and a change of speed that was done all the same is reported as unknown, not repeated."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        machine = rig.world.create(since=T0)
        rig.app.faults.inject("refused", times=1)
        with pytest.raises(Unavailable, match="connection refused"):
            await rig.platform.list()
        rig.app.faults.inject("reset", call="POST .*/resource", times=1)
        with pytest.raises(Unavailable, match="connection reset"):
            await rig.platform.set_speed(f"vm1/{machine}", Speed(10_000_000, 10_000_000))
        assert len(rig.called(f"/vm/v3/host/{machine}/resource")) == 1

    warped(main)


async def test_a_connection_is_usable_after_a_time_out() -> None:
    """A real socket: one answer never comes, one breaks off; the next request has a connection all the same."""
    moods = ["never", "half", "well", "well"]
    served = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                mood = moods.pop(0)
                if mood != "never":
                    body = b"[1," if mood == "half" else b'{"list":[]}'
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + body)
                if mood == "half":
                    break
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = VmmanagerSettings(url=url, timezone="UTC", concurrency=1, timeout_s=0.2)
    platform = Vmmanager("vm1", settings, LongLivedToken(lambda: "t"), clock=SystemClock())
    async with server:
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            await platform.list()
        with pytest.raises(Unavailable, match="GET /vm/v3/host: "):
            await platform.list()
        for _ in range(2):
            assert (await platform.list()).machines == {}
        await platform.close()
        await asyncio.gather(*filter(None, served))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "vm.example.com"}, "url"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"sampling_ms": 7000}, "sampling"),
        ({"sampling_ms": 0}, "sampling"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_s": -1}, "timeout_s"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], problem: str) -> None:
    """With the name of the setting."""
    with pytest.raises(Misconfigured, match=problem):
        replace(SETTINGS, **settings)


def test_a_broken_ca_file_is_misconfigured(tmp_path: Path) -> None:
    """Both a missing and an empty one, with their path."""
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        settings = VmmanagerSettings(url="https://vm1", timezone="UTC", ca_file=tmp_path / name)
        with pytest.raises(Misconfigured, match=name):
            Vmmanager("vm1", settings, LongLivedToken(lambda: "t"), clock=SystemClock())


def test_platforms_share_what_certificates_are_verified_with() -> None:
    """It is dear to make; only those that verify nothing have another one."""
    usual, lax = trust("vm1", SETTINGS), trust("vm1", replace(SETTINGS, verify=False))
    assert trust("vm2", SETTINGS) is usual
    assert (usual.verify_mode, lax.verify_mode) == (ssl.CERT_REQUIRED, ssl.CERT_NONE)


async def test_certificates_are_verified_by_default() -> None:
    """A real socket with a self-signed certificate: refused, accepted with its file, accepted unverified."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"list":[]}')
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def ask(ca_file: Path | None, verify: bool) -> None:
        settings = VmmanagerSettings(url=url, timezone="UTC", ca_file=ca_file, verify=verify)
        platform = Vmmanager("vm1", settings, LongLivedToken(lambda: "t"), clock=SystemClock())
        try:
            assert (await platform.list()).machines == {}
        finally:
            await platform.close()

    async with server:
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await ask(None, verify=True)
        await ask(CERTIFICATE, verify=True)
        await ask(None, verify=False)
