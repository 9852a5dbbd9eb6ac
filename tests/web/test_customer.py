"""The customer's page: what it shows of one service, in three languages, and that its link opens nothing else."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from fastapi import FastAPI
from structlog.testing import capture_logs

from stream.adapters.memory import MemoryLog
from stream.cli.logs import configure_logs
from stream.core.enforced import Enforcement, Intent
from stream.core.errors import Misconfigured
from stream.core.forecast import forecast
from stream.core.plan import CalendarWindow, SlidingWindow
from stream.core.speed import Speed
from stream.replica.model import PlatformStatus
from stream.replica.replica import Replica
from stream.web.customer import customer_router, make_link
from stream.web.customer.language import CATALOGUES, LANGUAGES, Calendar, chosen, languages
from stream.web.customer.links import service_of, sign
from stream.web.customer.page import page_of
from stream.web.customer.words import window_text
from stream.web.headers import Headers
from stream.web.pages.foretold import foretold
from stream.web.pictures import shade
from stream.web.serving import serving
from stream.web.settings import AccessSettings, WebSettings
from tests.replica.stage import NOW, Counting, Fixed, following

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
KEY, OLD_KEY = b"k" * 64, b"o" * 64
HOUR, DAY = 3_600_000, 86_400_000
GIB = 1 << 30
ZONE = ZoneInfo("Europe/Berlin")

VPN = {
    "window": {"kind": "sliding", "slice_ms": 600_000, "slices": 6},
    "profiles": [
        {"name": "fast-7", "speed": {"in": 100_000_000, "out": 100_000_000}, "quota": 1000 << 20, "down": "slow-7"},
        {"name": "slow-7", "speed": {"in": 10_000_000, "out": 10_000_000}, "quota": 1000 << 20, "stay": HOUR,
         "up": {"below": [], "else": "fast-7"}},
    ],
}  # fmt: skip
MONTH = {
    "window": {"kind": "calendar", "unit": "month", "slices": 1, "timezone": "Europe/Moscow"},
    "count": {"in": 100, "out": 0},
    "on_change": "keep",
    "warn": 80,
    "profiles": [
        {"name": "all-9", "speed": {"in": None, "out": None}, "quota": 500 * GIB, "down": "rest-9"},
        {"name": "rest-9", "speed": {"in": 10_000_000, "out": None}, "stay": "period",
         "up": {"below": [], "else": "all-9"}},
    ],
}  # fmt: skip
PLANS = {"type": "plans", "version": 1, "plans": {"vpn": VPN, "month": MONTH}}


def registered(service: str, plans: Sequence[str] = ("vpn",), **labels: str) -> dict[str, Any]:
    return {"type": "registration", "service": service, "plans": list(plans), "labels": labels, "at": NOW - DAY}


def used(service: str, minutes_ago: int, size: int) -> dict[str, Any]:
    end = NOW - minutes_ago * 60_000
    return {"service": service, "start": end - 60_000, "end": end, "in": size, "out": 0}


def adjusted(service: str, kind: str, **more: Any) -> dict[str, Any]:
    who = {"by": "anna-the-operator", "why": "ticket 4711: abuse"}
    return {"type": "adjustment", "id": f"{service}-{kind}", "service": service, "kind": kind, "at": NOW} | who | more


class Shop:
    """A replica over what was counted, and the customers' pages."""

    def __init__(self, replica: Replica, **settings: Any) -> None:
        self.clock, self.replica = Fixed(), replica
        given: dict[str, Any] = {
            "public_url": "https://quota.test",
            "timezone": ZONE,
            "link_keys": lambda: (KEY, OLD_KEY),
        }
        self.settings = WebSettings(access=AccessSettings(tokens_file=Path("none")), **given | settings)
        self.app = FastAPI()
        self.app.include_router(customer_router(replica, self.settings, clock=self.clock))
        self.app.add_middleware(Headers)

    async def get(self, link: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://quota.test") as client:
            return await client.get(link, headers=headers)

    async def page(self, service: str, language: str = "en") -> str:
        response = await self.get(make_link(self.settings, service, expires=NOW + DAY) + f"?lang={language}")
        assert response.status_code == 200, response.text
        return text_of(response.text)


@asynccontextmanager
async def shop(*records: dict[str, Any], **settings: Any) -> AsyncIterator[Shop]:
    log = MemoryLog(Fixed(), partitions=1)
    counting = Counting(log)
    counting.count([PLANS, *records])
    await counting.checkpoint()
    async with following(log) as replica:
        yield Shop(replica, **settings)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(html: str) -> str:
    """What one reads, on one line."""
    parser = _Text()
    parser.feed(html)
    return re.sub(r"[\s\u00a0]+", " ", "".join(parser.words))


# ---------------------------------------------------------------- links


def test_a_link_opens_one_service_until_it_expires() -> None:
    """With either key, and not a millisecond longer; nothing that was changed in it opens anything."""
    for key in (KEY, OLD_KEY):
        token = sign("vm1/101", NOW + 1, key)
        end = -(-(NOW + 1) // 1000) * 1000
        assert service_of(token, (KEY, OLD_KEY), end - 1) == "vm1/101"
        assert service_of(token, (KEY, OLD_KEY), end) is None
        assert service_of(token, (b"x" * 64,), NOW) is None
        assert service_of(token, (), NOW) is None
    token = sign("vm1/101", NOW + DAY, KEY)
    for place in range(len(token)):
        for other in "A.9":
            changed = token[:place] + other + token[place + 1 :]
            assert changed == token or service_of(changed, (KEY,), NOW) is None
        assert service_of(token[:place], (KEY,), NOW) is None
    name, expires, signature = token.split(".")
    longer = f"{name}.{int(expires) + 1}.{signature}"
    for wrong in (longer, f"{token}A", f" {token}", f"{token}=", token.upper(), "", "..", "a.1.b", "x" * 5000):
        assert service_of(wrong, (KEY,), NOW) is None


def test_any_service_has_a_link() -> None:
    """Whatever characters its id has."""
    for service in ("vm1/1", "vm1/a/b/c", "vm1/ü", "vm1/" + "\U0001f469" * 196, "vm1/.", "vm1/a b?c#d&e"):
        assert service_of(sign(service, NOW + 1, KEY), (KEY,), NOW) == service


def test_a_signature_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each key, whichever fits."""
    compared: list[str] = []

    def comparing(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    token = sign("vm1/1", NOW + 1, KEY)
    monkeypatch.setattr(hmac, "compare_digest", comparing)
    for given in (token, token[:-2] + "AA"):
        compared.clear()
        service_of(given, (KEY, OLD_KEY), NOW)
        assert len(compared) == 2


def test_no_link_without_key_or_address() -> None:
    """What is missing is named, and a key that could be guessed is refused."""
    access = AccessSettings(tokens_file=Path("none"))
    for settings, word in (
        (WebSettings(access=access, public_url="https://q.test"), "link_key_files"),
        (WebSettings(access=access, link_keys=lambda: (KEY,)), "public_url"),
        (WebSettings(access=access, public_url="https://q.test", link_keys=lambda: (b"short",)), "openssl"),
    ):
        with pytest.raises(Misconfigured, match=word):
            make_link(settings, "vm1/1", expires=NOW)


# ---------------------------------------------------------------- refusals


async def test_whatever_is_wrong_looks_the_same() -> None:
    """Expired, forged, of nobody: one page with whom to ask, and nothing by which one can tell."""
    async with shop(registered("vm1/101")) as here:
        bodies = {
            (response.status_code, response.text, tuple(response.headers.items()))
            for token in (
                sign("vm1/101", NOW, KEY), sign("vm1/999", NOW + DAY, KEY), sign("vm1/101", NOW + DAY, b"x" * 64),
                "x", "a.b.c", sign("vm1/101", NOW + DAY, KEY) + "x", "%00", "%2e%2e",
            )
            for response in [await here.get(f"https://quota.test/c/{token}")]
        }  # fmt: skip
        ((status, body, _),) = bodies
        assert status == 404
        assert "ask your provider for a new one" in text_of(body)
        assert "101" not in body


@pytest.mark.parametrize("verb", ["forget", "deregistration"])
async def test_a_service_that_is_gone_has_no_page(verb: str) -> None:
    """Its link is as good as any wrong one."""
    async with shop(registered("vm1/101"), {"type": verb, "service": "vm1/101", "at": NOW}) as here:
        assert (await here.get("https://quota.test/c/" + sign("vm1/101", NOW + DAY, KEY))).status_code == 404


async def test_an_unreadable_key_opens_nothing() -> None:
    """It is the operator's trouble, and logged; a customer is told what is told of any wrong link."""

    def unreadable() -> Sequence[bytes]:
        raise Misconfigured("link.key cannot be read")

    async with shop(registered("vm1/101"), link_keys=unreadable) as here:
        with capture_logs() as lines:
            response = await here.get("https://quota.test/c/" + sign("vm1/101", NOW + DAY, KEY))
    assert response.status_code == 404
    assert "web.link_keys_unreadable" in [line["event"] for line in lines]


async def test_before_all_is_read_nobody_is_refused() -> None:
    """A replica that does not know yet says so, whatever the link."""
    from stream.replica.settings import ReplicaSettings

    replica = Replica(MemoryLog(Fixed(), partitions=1), index=None, clock=Fixed(), settings=ReplicaSettings())
    here = Shop(replica)
    for token in (sign("vm1/101", NOW + DAY, KEY), "wrong"):
        assert (await here.get(f"https://quota.test/c/{token}")).status_code == 503


async def test_the_token_stays_where_it_is() -> None:
    """Neither logs nor a Referer have it, no cache keeps the page, and no other site is asked for anything."""
    async with shop(registered("vm1/101")) as here:
        link = make_link(here.settings, "vm1/101", expires=NOW + DAY)
        lines: list[MutableMapping[str, Any]]
        with capture_logs() as lines:
            response = await here.get(link)
            refused = await here.get(link + "x")
            beside = [await here.get(f"{link}{more}") for more in ("/", "/x", "%2f")]
    answers = (response, refused, *beside)
    assert {answer.headers["Referrer-Policy"] for answer in answers} == {"no-referrer"}
    assert response.headers["Cache-Control"] == "no-store"
    token = link.rpartition("/")[2]
    assert token not in repr(lines)
    assert token not in response.text
    assert [(line["event"], line["reason"]) for line in lines] == [("web.refused", "link")]
    assert not re.findall(r"""(?:href|src)=["'](?!/static/|\?lang=)""", response.text)
    assert "<script" not in response.text


async def test_no_log_of_a_server_has_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    """At its most talkative it has no line with it, whatever is sent: a good request, a bad one, a broken one."""
    token = sign("vm1/101", NOW + DAY, KEY)
    configure_logs("debug")
    async with shop(registered("vm1/101")) as here, serving(here.app, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        for line in ("GET /c/{} HTTP/1.1", "GET /c/{}x HTTP/1.1", "POST /c/{} HTTP/1.1", "GET /c/{} HTTP/9", "/c/{}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"{line.format(token)}\r\nHost: quota.test\r\nReferer: /c/{token}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
            writer.close()
            await writer.wait_closed()
    told = capsys.readouterr()
    assert "web.refused" in told.err
    assert token not in told.err + told.out
    assert token.rpartition(".")[2] not in told.err + told.out


async def test_who_may_embed_it_is_a_setting() -> None:
    """Nobody by default."""
    for origins, expected in (
        ((), "'none'"),
        (("https://billing.test", "https://a.test"), "https://billing.test https://a.test"),
    ):
        async with shop(registered("vm1/101"), frame_ancestors=origins) as here:
            response = await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY))
            assert response.headers["Content-Security-Policy"].endswith(f"frame-ancestors {expected}")
            assert "X-Frame-Options" not in response.headers


# ---------------------------------------------------------------- what it shows


async def test_within_the_allowance() -> None:
    """Full speed or its number, what is used of how much, and until when it was counted."""
    async with shop(registered("vm1/101", name="web-01"), used("vm1/101", 5, 250 << 20)) as here:
        page = await here.page("vm1/101")
    for words in (
        "web-01",
        "100 Mbit/s",
        "You are within your allowance.",
        "250 MiB of 1,000 MiB used in the last hour",
        "750 MiB left",
        "Incoming and outgoing traffic count.",
        "Times are in Europe/Berlin",
    ):
        assert words in page, (words, page)


async def test_slowed_down() -> None:
    """The speed, since when and why, and when it comes back upon what condition."""
    async with shop(registered("vm1/101"), used("vm1/101", 30, 1001 << 20), used("vm1/101", 1, 10 << 20)) as here:
        page = await here.page("vm1/101")
    assert "10 Mbit/s The speed was lowered at " in page
    assert "because you used more than your allowance" in page
    assert re.search(r"Back to 100 Mbit/s at \d\d:\d\d, if you use less than 990 MiB until then", page), page
    assert "If you go on as now" not in page  # the same again
    assert "vm1" not in page
    assert "1,001 MiB used in the last hour, 1,000 MiB allowed 10 Mbit/s" in page


async def test_operators_are_not_promised_more_than_is_so() -> None:
    """A bound is never rounded up: on their page as on the customer's."""
    records = registered("vm1/101"), used("vm1/101", 30, 1001 << 20), used("vm1/101", 1, 10_700_000)
    async with shop(*records) as here:
        status = here.replica.service("vm1/101")
    assert status is not None
    (bound,) = {coming.below_bytes for coming in forecast(status.view, status.plans).exact if coming.kind == "up"}
    assert bound == 1000 * (1 << 20) - 10_700_000
    assert "if less than 989.79 MiB is used until then." in [line.after.strip() for line in foretold(status)]


async def test_a_speed_has_the_colour_of_its_step() -> None:
    """As on the operators' pages: the second of four steps is not the last, though no slower speed was seen."""
    speeds = {name: {"in": bits, "out": bits} for name, bits in (("a", 100), ("b", 50), ("c", 25), ("d", 10))}
    up = {"stay": HOUR, "up": {"below": [], "else": "a"}}
    profiles = [
        {"name": name, "speed": speed, "quota": 1000, "down": down} | (up if name > "a" else {})
        for (name, speed), down in zip(speeds.items(), ("b", "c", "d", None), strict=True)
    ]
    plans = {"type": "plans", "version": 2, "plans": {"steps": VPN | {"profiles": profiles}}}
    async with shop(plans, registered("vm1/101", ["steps"]), used("vm1/101", 30, 1001)) as here:
        page = (await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY))).text
    shades = re.findall(r'class="(s\d)" width="100%" height="100%"', page)
    assert shades[-1] == f"s{shade(1, 4)}"


async def test_two_plans_and_two_ways() -> None:
    """Each plan has its own line; speeds that differ by direction say so; months are told in their own zone."""
    big = used("vm1/101", 30, 501 * GIB)
    async with shop(registered("vm1/101", ["vpn", "month"]), big) as here:
        page = await here.page("vm1/101")
    assert "501 GiB used this month; no limit at this speed" in page
    assert "Incoming traffic alone counts." in page
    assert "Times are in Europe/Moscow" in page
    assert "10 Mbit/s" in page
    assert "80% of the allowance used" not in page  # stepped down at once
    async with shop(registered("vm1/101", ["month"]), big) as here:
        assert "10 Mbit/s in, full speed out" in await here.page("vm1/101")


async def test_a_warning_is_told() -> None:
    """Without a speed of its own."""
    async with shop(registered("vm1/101", ["month"]), used("vm1/101", 30, 401 * GIB)) as here:
        page = await here.page("vm1/101")
    assert "80% of the allowance used" in page
    assert "Full speed" in page


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("credit", {"bytes": GIB}, ["Your provider added 1 GiB to your allowance", "of 1.98 GiB used",
                                    "The extra allowance from your provider ends"]),
        ("exempt", {"until": NOW + HOUR}, ["Your provider has lifted the limit; that ends", "Full speed",
                                           "The limit applies again"]),
        ("pin", {"plan": "vpn", "profile": "slow-7"}, ["Your provider has set this speed.",
                                                       "Your provider set the speed"]),
        ("pin", {"plan": "vpn", "profile": "slow-7", "until": NOW + HOUR}, ["The speed set by your provider ends"]),
        ("reset", {}, ["Your provider set the usage to zero"]),
    ],
)  # fmt: skip
async def test_of_operators_it_is_said_that_it_was_the_provider(
    kind: str, more: dict[str, Any], words: list[str]
) -> None:
    """What they did is told; who and why is not."""
    records = registered("vm1/101"), used("vm1/101", 5, 5 << 20), adjusted("vm1/101", kind, **more)
    async with shop(*records) as here:
        page = await here.page("vm1/101")
        html = (await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY))).text
    for each in words:
        assert each in page, (each, page)
    assert "anna" not in html
    assert "4711" not in html


async def test_nothing_else_of_anybody() -> None:
    """No other service, label, platform, plan, profile or number of ours is in the page."""
    records = [
        registered("vm1/101", ["vpn", "month"], name="web-01", account="acc-77", ip="198.51.100.7", tag="bad-payer"),
        registered("vm1/102", ["vpn"], name="other-name"),
        used("vm1/101", 30, 1001 << 20), used("vm1/102", 30, 333 << 20),
        adjusted("vm1/102", "exempt", until=NOW + HOUR),
    ]  # fmt: skip
    async with shop(*records) as here:
        for language in LANGUAGES:
            response = await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY) + f"?lang={language}")
            assert "web-01" in response.text
            for other in ("vm1", "102", "other-name", "acc-77", "198.51", "bad-payer", "vpn", "fast-7", "slow-7",
                          "all-9", "333", "revision", "incarnation"):  # fmt: skip
                assert other not in response.text, other


async def test_a_former_service_of_the_id_is_somebody_else() -> None:
    """What happened before the present registration is not shown."""
    gone = {"type": "deregistration", "service": "vm1/101", "at": NOW - HOUR}
    later = registered("vm1/101") | {"at": NOW - HOUR}
    async with shop(registered("vm1/101"), used("vm1/101", 90, 1001 << 20), gone, later) as here:
        page = await here.page("vm1/101")
    assert "1,001 MiB" not in page
    assert page.count("Start") == 1


async def test_time_runs_one_way() -> None:
    """Also where numbers of the past were counted after the service had been registered."""
    begun = registered("vm1/101") | {"at": NOW}
    async with shop(begun, used("vm1/101", 30, 1001 << 20), adjusted("vm1/101", "reset")) as here:
        html = (await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY))).text
    instants = re.findall(r'class="at"><time datetime="([^"]+)"', html)
    assert len(instants) == 3
    assert instants == sorted(instants, reverse=True)


async def test_without_plans_or_numbers() -> None:
    """A service that nothing is known of has a page too."""
    async with shop(registered("vm1/101", [])) as here:
        page = await here.page("vm1/101")
    assert "No limit applies to this service." in page
    assert "Nothing was counted yet." in page


FAST, SLOW, FREE = Speed(100_000_000, 100_000_000), Speed(10_000_000, 10_000_000), Speed(None, None)


def noted(before: Speed, wanted: Speed, *, settled: bool, original: Speed = FREE) -> Enforcement:
    intent = Intent(1, wanted, before, NOW)
    return Enforcement(service="vm1/101", incarnation=1, original=original, intent=intent, settled=settled)


@pytest.mark.parametrize(
    ("due", "enforcement", "platform", "says", "slowed"),
    [
        (SLOW, noted(FREE, SLOW, settled=True), {}, "10 Mbit/s", True),
        (SLOW, noted(FREE, SLOW, settled=False), {}, "Full speed It will be 10 Mbit/s; that is not set yet.", False),
        (SLOW, None, {"braked": True}, "Full speed It will be 10 Mbit/s; that is not set yet.", False),
        (SLOW, noted(FREE, FAST, settled=True), {"braked": True}, "100 Mbit/s It will be 10 Mbit/s", False),
        (FAST, noted(FAST, SLOW, settled=True), {}, "10 Mbit/s It will be 100 Mbit/s; that is not set yet.", True),
        (SLOW, noted(FREE, SLOW, settled=True), {"released": True},
         "Full speed Your provider does not limit speeds at present.", False),
        (SLOW, None, {"released": True}, "Full speed Your provider does not limit speeds at present.", False),
        (SLOW, noted(SLOW, FAST, settled=True, original=FAST), {"released": True}, "100 Mbit/s Your provider", False),
        (FAST, None, {}, "100 Mbit/s You are within your allowance.", False),
        (FREE, noted(FAST, FAST, settled=True, original=FAST), {}, "100 Mbit/s You are within", False),
        (Speed(1_500_000, 1_500_000), noted(FREE, Speed(1_000_000, 1_000_000), settled=True), {}, "1,500 kbit/s", True),
        (SLOW, None, {"configured": False}, "10 Mbit/s", True),
        (SLOW, None, None, "10 Mbit/s", True),
        (SLOW, None, {"shadow": True}, "10 Mbit/s", True),
    ],
)  # fmt: skip
async def test_the_speed_is_the_one_that_the_service_has(
    due: Speed, enforcement: Enforcement | None, platform: dict[str, bool] | None, says: str, slowed: bool
) -> None:
    """Where it is not the one that is due, because the brake holds it, nobody enforces or it is not set yet, that is
    said, and no reason is given for what is not so."""
    async with shop(registered("vm1/101")) as here:
        status = here.replica.service("vm1/101")
    assert status is not None
    (plan,) = status.view.plans
    moved = replace(plan, profile="fast-7" if due in (FAST, FREE) else "slow-7")
    view = replace(status.view, speed=due, plans=(moved,))
    switches: dict[str, Any] = {"released": False, "braked": False, "shadow": False, "configured": True}
    switch = None if platform is None else PlatformStatus(name="vm1", allowed_until=0, **switches | platform)
    status = replace(status, view=view, enforcement=enforcement)
    page = page_of(status, switch, [], None, Calendar(languages()["en"], ZONE, NOW), shadow=False)
    told = " ".join([page.speed, *page.notices, *page.why]).replace("\u00a0", " ")
    assert told.startswith(says), told
    assert page.slowed == slowed
    assert ("lowered" in told) == (page.slowed and not page.notices)


async def test_no_speeds_of_before_are_painted_up_to_now_where_none_is_set() -> None:
    """What was decided is not what was, once the platform is released."""
    async with shop(registered("vm1/101"), used("vm1/101", 30, 1001 << 20), used("vm1/101", 1, 10 << 20)) as here:
        status = here.replica.service("vm1/101")
        entries = (await here.replica.history("vm1/101")).entries
    assert status is not None
    platform = PlatformStatus(name="vm1", configured=True, shadow=False, released=False, braked=False, allowed_until=0)
    pages = [
        page_of(status, each, entries, None, Calendar(languages()["en"], ZONE, NOW), shadow=False)
        for each in (platform, replace(platform, released=True))
    ]
    assert [page.band is None for page in pages] == [False, True]


async def test_a_trial_says_that_it_is_one() -> None:
    """In shadow no speed is changed, so none is claimed to be."""
    async with shop(registered("vm1/101"), shadow=True) as here:
        assert "This is a trial: the speed is calculated, and not changed." in await here.page("vm1/101")


# ---------------------------------------------------------------- languages


def messages() -> dict[str | tuple[str, str], list[str]]:
    """Every text of the pages, with where it is used."""
    found: dict[str | tuple[str, str], list[str]] = {}
    keywords: Any = {"text": None, "marked": None, "plural": (1, 2)}
    places = [(path, "python") for path in sorted((ROOT / "stream/web/customer").glob("*.py"))]
    pages = sorted((ROOT / "stream/web/templates/customer").glob("*.html"))
    for path, method in [*places, *((path, "jinja2.ext:babel_extract") for path in pages)]:
        with path.open("rb") as file:
            for line, message, _, _ in extract(method, file, keywords, options={"silent": "false"}):
                found.setdefault(message, []).append(f"{path.name}:{line}")  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("code", ["de", "ru"])
def test_everything_is_translated(code: str) -> None:
    """Each text has its translation, with the same values in braces and every plural form; and no translation is of
    nothing."""
    with (CATALOGUES / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    translated = {message.id: message for message in catalogue if message.id}
    used = messages()
    assert set(translated) == set(used)
    for identity, message in translated.items():
        english = [identity] if isinstance(identity, str) else list(identity)
        forms = [message.string] if isinstance(message.string, str) else list(message.string or ())
        assert all(forms), identity
        assert len(forms) == (1 if isinstance(identity, str) else catalogue.num_plurals)
        assert not message.fuzzy
        for form in forms:
            assert set(re.findall(r"{\w+}", form)) == set(re.findall(r"{\w+}", english[-1])), identity
            assert not re.search(r"[<>&]", form)


def test_values_are_escaped() -> None:
    """Whatever is put into a text; the texts themselves are ours."""
    for language in languages().values():
        assert "&lt;b&gt;" in language.text("at {time}", time="<b>")


def test_plural_forms() -> None:
    """Russian has three."""
    plans = [SlidingWindow(HOUR, n) for n in (2, 5, 21)]
    russian = [window_text(languages()["ru"], window) for window in plans]
    assert russian == ["За последние 2 часа", "За последние 5 часов", "За последний 21 час"]
    german = [window_text(languages()["de"], CalendarWindow("day", n, "UTC")) for n in (1, 30)]
    assert german == ["Heute", "In den letzten 30 Tagen"]


@pytest.mark.parametrize(
    ("asked", "accept", "code"),
    [(None, "", "en"), (None, "de", "de"), (None, "fr-FR,ru;q=0.5,de;q=0.7", "de"), ("ru", "de", "ru"),
     ("xx", "de-AT", "de"), (None, "fr", "en"), (None, "de;q=0, ru;q=0.1", "ru"), (None, "de;q=x,ru", "ru"),
     (None, ",;,=;q", "en"), ("../de", "", "en"), (None, "en-US,de", "en")],
)  # fmt: skip
def test_which_language(asked: str | None, accept: str, code: str) -> None:
    """The one asked for, or else the first that the browser wants and we have."""
    assert chosen(asked, accept).code == code


def test_numbers_and_dates() -> None:
    """As each language writes them, in the zone; the day only where it is another one, the year likewise."""
    written = {
        code: (
            language.size(1_570_000_000), language.speed(Speed(1_500_000, 1_500_000)),
            calendar.at(NOW), calendar.at(NOW + DAY), calendar.instant(NOW - 60 * DAY, "minute"),
        )
        for code, language in languages().items()
        for calendar in [Calendar(language, ZONE, NOW)]
    }  # fmt: skip
    plain = {
        code: [re.sub(r"<[^>]+>", "", str(each)).replace("\u00a0", " ").replace("\u202f", " ") for each in row]
        for code, row in written.items()
    }
    assert plain == {
        "en": ["1.46 GiB", "1,500 kbit/s", "at 03:40", "on 3 Feb at 03:40", "4 Dec 2025, 03:40"],
        "de": ["1,46 GiB", "1.500 kbit/s", "um 03:40 Uhr", "am 3. Feb. um 03:40 Uhr", "04.12.2025, 03:40"],
        "ru": ["1,46 ГиБ", "1 500 кбит/с", "в 03:40", "3 февр. в 03:40", "4 дек. 2025 г., 03:40"],
    }
    assert languages()["de"].size_at_least(1_570_000_000) == "1,46\u00a0GiB"
    assert languages()["en"].size_at_least(1 << 30) == "1\u00a0GiB"
    assert languages()["en"].size_at_least((990 << 20) - 1) == "989.99\u00a0MiB"
    assert str(written["en"][2]) == '<time datetime="2026-02-02T02:40:00Z">at 03:40</time>'


@pytest.mark.parametrize("code", list(LANGUAGES))
async def test_a_page_is_all_in_its_language(code: str) -> None:
    """It says which, names the others in their own words, and has no English left."""
    records = registered("vm1/101", ["vpn", "month"]), used("vm1/101", 30, 1001 << 20), used("vm1/101", 1, 10 << 20)
    async with shop(*records) as here:
        response = await here.get(make_link(here.settings, "vm1/101", expires=NOW + DAY), **{"Accept-Language": code})
        wrong = await here.get("https://quota.test/c/x", **{"Accept-Language": code})
    assert response.headers["Content-Language"] == code
    assert f'<html lang="{code}">' in response.text
    for each in (response, wrong):
        page = text_of(each.text)
        assert all(name in page for name in LANGUAGES.values())
        english = [
            word
            for word in ("your", "the", "used", "Usage", "until", "link", "Start")
            if re.search(rf"\b{word}\b", page)
        ]
        assert bool(english) == (code == "en"), (english, page)
