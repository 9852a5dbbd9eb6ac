"""Tokens: made at need, renewed once when they are no longer taken, given back, and never shown to anybody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import httpx
import pytest

from stream.adapters.clock import WarpClock
from stream.adapters.vmmanager import Credentials, LongLivedToken, Vmmanager, VmmanagerSettings
from stream.adapters.vmmanager.client import Client, Request
from stream.core.errors import Misconfigured, Refused, Unavailable
from stream.simulator import Knobs
from tests.vmmanager.rig import Parrot, Rig, warped

LOGIN = "/auth/v4/public/token"


def test_many_requests_share_one_login() -> None:
    """Ten lists at once log in once; the token goes back at the end."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        await asyncio.gather(*(rig.platform.list() for _ in range(10)))
        assert len(rig.called(LOGIN)) == 1
        assert len(rig.app.access.tokens) == 1
        await rig.platform.close()
        assert rig.app.access.tokens == {}

    warped(main)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_a_lost_token_is_renewed_once(status: int) -> None:
    """Whatever status comes with code 1000; and however many requests find out, there is one login."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(expired_status=status))
        await rig.platform.list()
        rig.app.access.lose_tokens()
        await asyncio.gather(*(rig.platform.list() for _ in range(5)))
        assert len(rig.called(LOGIN)) == 2
        assert rig.passwords_read == 2, "the password is read when it is needed, and not kept"
        assert rig.seen.outcomes["list", "unauthorized"] == 5

    warped(main)


def test_who_learns_late_that_a_token_is_dead_takes_the_new_one() -> None:
    """Its refusal arrives when another request has already logged in: no second login."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        await rig.platform.list()
        rig.app.access.lose_tokens()
        rig.app.faults.inject("slow", times=1, delay_s=5)
        late = asyncio.create_task(rig.platform.list())
        await asyncio.sleep(1)
        await rig.platform.list()
        await late
        assert len(rig.called(LOGIN)) == 2
        assert len(rig.app.access.tokens) == 1

    warped(main)


def test_an_idle_token_is_renewed() -> None:
    """After two hours without a request the token is dead; the next request does not notice."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        await rig.platform.list()
        await asyncio.sleep(7200)
        await rig.platform.list()
        assert len(rig.called(LOGIN)) == 2

    warped(main)


def test_a_token_that_is_never_taken_is_refused_without_a_loop() -> None:
    """Two logins and two tries, then Refused; and however many requests meet the same, one login a minute."""

    async def main(clock: WarpClock) -> None:
        parrot = Parrot(b'{"error":{"code":1000,"msg":"sesame expired"}}', 401)
        platform = parrot.platform(clock)
        with pytest.raises(Refused, match=r"vm1: GET /vm/v3/host: HTTP 401, code 1000: \*\*\* expired"):
            await platform.list()
        assert [request.url.path for request in parrot.requests] == [LOGIN, "/vm/v3/host"] * 2
        for _ in range(50):
            with pytest.raises(Refused, match="not tried again for"):
                await platform.list()
        assert [request.url.path for request in parrot.requests].count(LOGIN) == 2
        await asyncio.sleep(61)
        with pytest.raises(Refused):
            await platform.list()
        assert [request.url.path for request in parrot.requests].count(LOGIN) == 3

    warped(main)


def test_a_wrong_password_is_not_tried_again_at_once() -> None:
    """One login a minute at first, then ever fewer, so that no account is locked out; a mended file is read anew."""

    async def main(clock: WarpClock) -> None:
        password = "wrong"
        rig = Rig(clock)
        secret = Credentials(email=rig.app.access.email, password=lambda: password)
        rig = Rig(clock, secret=secret)
        for _ in range(360):
            with pytest.raises(Refused, match="login: HTTP 401"):
                await rig.platform.list()
            await asyncio.sleep(10)
        assert len(rig.called(LOGIN)) == 7, "after 1, 2, 4, 8, 15 and 15 minutes, within an hour"
        password = rig.app.access.password
        await asyncio.sleep(900)
        await rig.platform.list()

    warped(main)


@pytest.mark.parametrize("code", [3001, 1106, 3080])
def test_a_closed_function_is_refused_at_once(code: int) -> None:
    """No second try, no second login."""

    async def main(clock: WarpClock) -> None:
        parrot = Parrot(b'{"error":{"code":%d,"msg":"no"}}' % code, 403)
        with pytest.raises(Refused, match=f"HTTP 403, code {code}: no"):
            await parrot.platform(clock).list()
        assert len(parrot.requests) == 2

    warped(main)


def test_a_long_lived_token_is_used_as_it_is() -> None:
    """No login, no logout; a new token in the file is found when the old one is no longer taken."""

    async def main(clock: WarpClock) -> None:
        tokens = ["dead"]
        rig = Rig(clock, secret=LongLivedToken(lambda: tokens[0] + "\n"))
        with pytest.raises(Refused, match="does not take our token"):
            await rig.platform.list()
        with pytest.raises(Refused, match="not tried again for"):
            await rig.platform.list()
        tokens[0] = rig.app.access.lasting()
        await asyncio.sleep(61)
        await rig.platform.list()
        await rig.platform.close()
        assert rig.called(LOGIN) == []
        assert rig.app.access.lasting() in rig.app.access.tokens
        assert "dead" not in repr(rig.platform.__dict__)

    warped(main)


def test_a_secret_that_cannot_be_read_is_waited_for() -> None:
    """A missing file is Unavailable, with its name."""

    def missing() -> str:
        raise FileNotFoundError(2, "No such file", "/run/vm1.token")

    async def main(clock: WarpClock) -> None:
        with pytest.raises(Unavailable, match=r"/run/vm1\.token"):
            await Rig(clock, secret=LongLivedToken(missing)).platform.list()

    warped(main)


@pytest.mark.parametrize("text", ["", "\n", "hunter2\nhunter2", "hunter2\u00e9", "hunter2 hunter2", "hunter2\0"])
def test_what_is_no_token_is_waited_for_and_not_told(text: str) -> None:
    """Unavailable with the place and without the text; the next request reads the file again."""

    async def main(clock: WarpClock) -> None:
        tokens = [text]
        rig = Rig(clock, secret=LongLivedToken(lambda: tokens[0], place="/run/vm1.token"))
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"vm1: .*/run/vm1\.token: no token") as unavailable:
                await rig.platform.list()
            assert "hunter2" not in str(unavailable.value)
        tokens[0] = rig.app.access.lasting()
        await rig.platform.list()

    warped(main)


@pytest.mark.parametrize("text", ["", "hunter2\nhunter2", "hunter2\udce9"])
def test_what_is_no_password_is_waited_for_and_not_told(text: str) -> None:
    """As with a token; nothing is sent."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, secret=Credentials(email="a@example.com", password=lambda: text, place="/run/vm1.password"))
        with pytest.raises(Unavailable, match=r"vm1: .*/run/vm1\.password: no password") as unavailable:
            await rig.platform.list()
        assert "hunter2" not in str(unavailable.value)
        assert rig.called(LOGIN) == []

    warped(main)


def test_a_secret_that_its_reader_rejects_is_waited_for() -> None:
    """What is an error of the configuration at the start passes while everything runs."""

    def empty() -> str:
        raise Misconfigured("/run/vm1.token: the secret is empty")

    async def main(clock: WarpClock) -> None:
        with pytest.raises(Unavailable, match=r"vm1: .*/run/vm1\.token: the secret is empty"):
            await Rig(clock, secret=LongLivedToken(empty)).platform.list()

    warped(main)


def illegal(request: httpx.Request) -> httpx.Response:
    raise httpx.LocalProtocolError(f"Illegal header value {request.headers['cookie']!r}")


@pytest.mark.parametrize("token", ["hunter2", "hunter2\u00e9"])
def test_headers_that_cannot_be_sent_are_not_told(token: str) -> None:
    """However such a token came there: each request with it fails alike, and its text is in no message."""

    async def main(clock: WarpClock) -> None:
        settings = VmmanagerSettings(url="http://vm1", timezone="UTC")
        client = Client("vm1", settings, lambda *_: None, httpx.MockTransport(illegal))
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot be sent") as unavailable:
                await client.call(Request("list", "GET", "/vm/v3/host"), token)
            assert "hunter2" not in str(unavailable.value)

    warped(main)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"token":7}', b'{"token":""}', b'{"token":"a\\nb"}', b'{"token":"a b"}']
)
def test_a_login_without_a_token_is_unavailable(body: bytes) -> None:
    """Whatever a login answers instead of a token."""

    async def main(clock: WarpClock) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        secret = Credentials(email="a@example.com", password=lambda: "hunter2")
        settings = VmmanagerSettings(url="http://vm1", timezone="UTC")
        platform = Vmmanager("vm1", settings, secret, clock=clock, transport=transport)
        with pytest.raises(Unavailable, match="vm1: login: "):
            await platform.list()

    warped(main)


def test_both_headers_carry_the_token() -> None:
    """`x-xsrf-token` and the cookie `ses6`."""

    async def main(clock: WarpClock) -> None:
        parrot = Parrot(b'{"list":[]}')
        await parrot.platform(clock).list()
        headers = parrot.requests[-1].headers
        assert (headers["x-xsrf-token"], headers["cookie"]) == ("sesame", "ses6=sesame")

    warped(main)


def test_no_secret_reaches_a_log_or_a_message(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even at the finest level of the libraries, nor when the platform itself repeats it."""
    caplog.set_level(logging.DEBUG)
    said = []

    async def main(clock: WarpClock) -> None:
        echo = Parrot(b'{"error":{"code":5,"msg":"sesame and hunter2"}}', 500)
        platform = echo.platform(clock)
        calls: list[Callable[[], Awaitable[object]]] = [platform.list, platform.close]
        for call in calls:
            try:
                await call()
            except Unavailable as error:
                said.append(str(error))
        wrong = httpx.MockTransport(lambda request: httpx.Response(401, content=request.content))
        secret = Credentials(email="a@example.com", password=lambda: "hunter2")
        settings = VmmanagerSettings(url="http://vm1", timezone="UTC")
        with pytest.raises(Refused) as refused:
            await Vmmanager("vm1", settings, secret, clock=clock, transport=wrong).list()
        said.append(str(refused.value))
        said.append(repr(platform.__dict__))

    warped(main)
    everything = [*said, caplog.text, *capsys.readouterr()]
    assert not any("sesame" in text for text in everything), everything
    assert not any("hunter2" in text for text in said[1:]), said
