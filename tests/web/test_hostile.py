"""Texts that are chosen to do harm, through everything that shows them: pages, JSON, CSV, terminals, logs."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import pytest
import structlog
from click.testing import CliRunner

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.command import Command
from stream.adapters.memory import MemoryLog
from stream.adapters.webhook import SIGNATURE, Webhook, signature
from stream.cli import cli
from stream.cli.logs import configure_logs
from stream.cli.reading import plain
from stream.core.model import Record
from stream.core.notices import Alarm, Notice, notice_of_alarm
from stream.ports import TOPICS
from stream.web.customer import make_link
from stream.web.customer.language import LANGUAGES
from stream.wire.notices import encode_notice, notice_of
from tests.cli.calling import CONFIG, call
from tests.replica.stage import NOW, Counting, Fixed
from tests.web.hostile import HOSTILE, as_ids, as_labels, as_reasons
from tests.web.house import House, house, routes_of

PLAN = "<b>plan</b>=1'\""
PROFILE = "</script>{{7*7}}"
PLANS = {
    PLAN: {
        "window": {"kind": "sliding", "slice_ms": 600_000, "slices": 6},
        "profiles": [
            {"name": PROFILE, "speed": {"in": None, "out": None}, "quota": 1000, "down": "slow"},
            {"name": "slow", "speed": {"in": 1000, "out": 1000}, "quota": 1000, "stay": 3_600_000,
             "up": {"below": [], "else": PROFILE}},
        ],
    }
}  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "main", "section", "article",
    "form", "label", "input", "select", "option", "textarea", "button", "div", "span", "p", "h1", "h2", "h3", "ul",
    "ol", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "details",
    "summary", "strong", "em", "code", "kbd", "pre", "br", "hr", "time", "bdi", "small", "footer", "noscript", "svg",
    "g", "rect", "line", "polygon", "polyline", "path", "text", "circle",
}  # fmt: skip
"""Of our pages; no other gets into one."""


def service_records(now: int) -> Iterator[dict[str, Any]]:
    """A service for each text: as its id, as a label and that one's name, as the reason and author of a correction."""
    labels, reasons, ids = as_labels(), as_reasons(), as_ids()
    for number, (kind, service) in enumerate(ids.items()):
        author = ids[kind].partition("/")[2][:60].strip() or "somebody"
        named = {"name": labels[kind], "account": str(number), author[:30]: labels[kind]}
        yield {"type": "registration", "service": service, "plans": [PLAN], "labels": named, "at": now - 7_200_000}
        yield {"service": service, "start": now - 1_800_000, "end": now - 1_740_000, "in": 1001, "out": 0}
        yield {"type": "adjustment", "id": f"credit-{number}", "service": service, "kind": "credit", "bytes": 5,
               "at": now, "by": author, "why": reasons[kind]}  # fmt: skip


def letters() -> list[bytes]:
    """Records that are rejected, and so dead letters."""
    return [text.encode(errors="replace") for text in HOSTILE.values()] + [
        json.dumps({"service": text, "start": text, text: text}).encode() for text in HOSTILE.values()
    ]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[House]:
    plans = {"type": "plans", "version": 1, "plans": PLANS}
    async with house(tmp_path, [plans, *service_records(NOW), *letters()]) as built:
        yield built


# ---------------------------------------------------------------- pages


class Page(HTMLParser):
    """What a browser makes of it: the elements, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def links(self) -> list[str]:
        return [value for _, attributes in self.elements for name, value in attributes.items()
                if name in ("href", "src", "action", "formaction", "xlink:href")]  # fmt: skip

    def shows(self, text: str) -> bool:
        return any(text.strip() in one for one in self.texts)


def assert_harmless(page: Page, where: str) -> None:
    """Nothing in it is of an attacker's making: no element, no handler, no link that runs or leads away."""
    for tag, attributes in page.elements:
        assert tag in TAGS, (where, tag)
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (where, tag, attributes)
        assert tag != "script" or attributes == {"src": "/static/page.js", "defer": ""}, (where, attributes)
    for link in page.links:
        assert link.startswith(("/", "#", "?")), (where, link)
        assert not link.startswith("//"), (where, link)


def as_browsers_go(page: str, link: str) -> str:
    """Where a browser asks for `link`: it takes `.`, `..` and their escapes for steps in the tree."""
    return urljoin(page, re.sub("%2e", ".", link, flags=re.IGNORECASE))


async def get(here: House, path: str) -> Page:
    async with here.browser(here.anna) as anna:
        response = await anna.get(path)
        assert response.status_code == 200, (path, response.text[-500:])
        assert response.headers["Content-Type"].startswith("text/html; charset=utf-8")
        assert "Set-Cookie" not in response.headers
        page = Page(response.text)
        assert_harmless(page, path)
        return page


async def all_links(here: House, path: str) -> list[str]:
    """Of services, from every page of a list."""
    found: list[str] = []
    seen = set()
    while path not in seen:
        seen.add(path)
        page = await get(here, path)
        found += [link for link in page.links if link.startswith("/services/")]
        path = next(
            (urljoin(path, link) for link in page.links if "offset=" in link and urljoin(path, link) not in seen), path
        )
    return found


async def test_every_page(here: House) -> None:
    """All pages without a service's id in their path, with every text on them."""
    pages = [path for method, path in routes_of(here.app)
             if method == "GET" and "{" not in path and not path.startswith(("/api/", "/login"))]  # fmt: skip
    assert len(pages) >= 5
    for path in pages:
        await get(here, path)
    dead = await get(here, "/dead-letters")
    assert dead.shows("<script>window.harmed=1</script>")


async def test_every_service(here: House) -> None:
    """Each is found by following links as browsers do, and its page shows id, label and reason as they are."""
    links = await all_links(here, "/services")
    ids = set(as_ids().values())
    found: dict[str, Page] = {}
    for link in dict.fromkeys(links):
        address = as_browsers_go("http://quota.test/services", link)
        parts = urlsplit(address)
        page = await get(here, parts.path + (f"?{parts.query}" if parts.query else ""))
        found |= {service: page for service in ids if unquote(urlsplit(link).path) == f"/services/{service}"}
    assert set(found) == ids
    for service in ids:
        page = found[service]
        assert page.shows(service), service
        assert page.shows(PLAN)
        (table,) = (link for link in page.links if link.startswith("/api/v1/history.csv/"))
        where = urlsplit(as_browsers_go("http://quota.test/services", table))
        assert unquote(where.path) == f"/api/v1/history.csv/{service}", service
    for kind in ("script", "image", "attribute, single quotes", "template", "entity", "right to left", "formula"):
        page = found[as_ids()[kind]]
        assert page.shows(as_labels()[kind]), kind
        assert page.shows(as_reasons()[kind][:200]), kind


async def test_every_search(here: House) -> None:
    """What is asked for is repeated by the page that finds it, or does not, or refuses."""
    some = ("script", "image", "newline", "null", "long")
    async with here.browser(here.ben) as ben:
        for kind, text in HOSTILE.items():
            for path in ("/services", "/changes", "/dead-letters", "/", "/platforms"):
                if path == "/services" or kind in some:
                    names = ("q", "platform", "plan", "profile", "sort", "before", "offset", "done", "exact")
                    for asked in ({"q": text[:500]}, dict.fromkeys(names, text[:500])):
                        response = await ben.get(path, params=asked)
                        assert response.status_code in (200, 400, 404, 422), (path, kind)
                        assert_harmless(Page(response.text), f"{path} {kind}")


async def test_the_page_to_log_in(here: House) -> None:
    """It repeats where one wanted to go, and never the token."""
    async with here.client() as client:
        for text in HOSTILE.values():
            here.clock.at += 60_000
            shown = await client.get("/login", params={"next": f"/{text[:500]}"})
            tried = await client.post("/login", data={"token": text, "next": f"/{text[:500]}"})
            for response in (shown, tried):
                assert_harmless(Page(response.text), "/login")
            assert tried.status_code == 401


async def test_pages_of_errors(here: House) -> None:
    """What is not there, or not allowed, is not repeated unescaped, whether one is known or not."""
    async with here.browser(here.ben) as ben, here.client() as nobody:
        for service in as_ids("nobody").values():
            for client in (ben, nobody):
                for path in (f"/services/{service}", f"/nothing/{service}", f"/c/{service}"):
                    escaped = "/" + "/".join(_escaped(part) for part in path.split("/")[1:])
                    response = await client.get(escaped)
                    assert response.status_code in (200, 303, 404), (escaped, response.status_code)
                    assert_harmless(Page(response.text), escaped)
                    assert "\n" not in response.headers.get("Location", "")


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@pytest.mark.parametrize("language", list(LANGUAGES))
async def test_the_customers_page(here: House, language: str) -> None:
    """The service's name is its own customer's doing at times, and the page is embedded in the provider's."""
    async with here.client() as client:
        for kind, service in as_ids().items():
            link = make_link(here.settings, service, expires=NOW + 1000)
            response = await client.get(f"{link}?lang={language}")
            assert response.status_code == 200, kind
            page = Page(response.text)
            assert_harmless(page, kind)
            assert page.shows(as_labels()[kind].strip() or service.partition("/")[2]), kind


# ---------------------------------------------------------------- JSON and CSV


async def test_json(here: House) -> None:
    """Programs get the texts as they are, marked as JSON and never to be guessed at."""
    async with here.client(here.ben) as ben:
        for kind, service in as_ids().items():
            response = await ben.get(f"/api/v1/services/{_escaped(service)}")
            assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json"), kind
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.json()["service"] == service
            assert response.json()["labels"]["name"] == as_labels()[kind]
        for text in HOSTILE.values():
            response = await ben.get("/api/v1/services", params={"q": text[:300], "sort": text[:300]})
            assert response.headers["Content-Type"] in ("application/json", "application/problem+json")


SIGNS = tuple("=+-@\t\r＝＋－＠")


async def test_csv(here: House) -> None:
    """No cell is a formula or moves a terminal, and each history is one table of its own columns, in a file of a
    harmless name."""
    async with here.client(here.ben) as ben:
        for kind, service in as_ids().items():
            response = await ben.get(f"/api/v1/history.csv/{_escaped(service)}")
            assert response.status_code == 200, kind
            assert response.headers["Content-Type"].startswith("text/csv")
            assert re.fullmatch(r'attachment; filename="[A-Za-z0-9_.-]+"', response.headers["Content-Disposition"])
            head, *rows = list(csv.reader(io.StringIO(response.text, newline=""), strict=True))
            assert len(rows) == 3, kind  # registered, exceeded, credit
            for row in rows:
                assert len(row) == len(head)
                assert not [cell for cell in row if cell.strip(" \N{REPLACEMENT CHARACTER}").startswith(SIGNS)], kind
                assert all(c.isprintable() or c in "\t\r\n" for cell in row for c in cell), kind
            told = "".join(
                c if c.isprintable() or c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" for c in as_reasons()[kind]
            )
            assert any(told in cell for row in rows for cell in row), kind


# ---------------------------------------------------------------- webhooks and commands


def notices() -> list[Notice]:
    """Of all that is decided about them, and an alarm with each text."""
    counting = Counting(MemoryLog(Fixed(), partitions=1))
    counting.count([{"type": "plans", "version": 1, "plans": PLANS}, *service_records(NOW)])
    records = [Record(place, NOW, *message) for place, message in enumerate(counting.outcomes)]
    decided = [notice_of(record, 0, ("change", "return", "warning")) for record in records]
    alarms = [notice_of_alarm(Alarm(f"stale-source/{text}", NOW, text)) for text in HOSTILE.values()]
    return [notice for notice in decided if notice is not None] + alarms


async def test_webhooks() -> None:
    """Each text arrives as it is in one line of JSON, and gets into no header and no address."""
    got: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        got.append(request)
        return httpx.Response(204)

    told = notices()
    assert len(told) == 4 * len(HOSTILE)
    clock = Fixed()
    webhook = Webhook("https://billing.test/x", lambda: "secret", clock=clock, transport=httpx.MockTransport(receive))
    for notice in told:
        await webhook.deliver(encode_notice(notice))
    await webhook.close()
    for notice, request in zip(told, got, strict=True):
        body = request.content
        assert str(request.url) == "https://billing.test/x"
        assert {name.lower() for name in request.headers} == {
            "host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length",
            SIGNATURE.lower(),
        }  # fmt: skip
        assert request.headers[SIGNATURE] == signature(b"secret", clock.at // 1000, body)
        assert min(body) >= 0x20
        document = json.loads(body)
        assert (document["subject"], document["data"]) == (notice.subject, json.loads(json.dumps(notice.data)))
    whys = [json.loads(request.content)["data"].get("adjustment") for request in got]
    assert [why["why"] for why in whys if why] == list(as_reasons().values())


async def test_a_command_gets_them_as_input(tmp_path: Path) -> None:
    """And never as an argument, nor through a shell."""
    told = notices()[::17]
    file = tmp_path / "told.jsonl"
    writing = "import sys; assert sys.argv[1:] == ['told']; open('FILE', 'ab').write(sys.stdin.buffer.read() + b'\\n')"
    command = Command([sys.executable, "-c", writing.replace("FILE", str(file)), "told"])
    for notice in told:
        await command.deliver(encode_notice(notice))
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [notice.id for notice in told]
    assert os.listdir(tmp_path) == ["told.jsonl"]


# ---------------------------------------------------------------- terminals and logs


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything counted, in a log in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUOTA_STREAM_CONFIG", raising=False)
    config = CONFIG.replace("vpn:", f"{json.dumps(PLAN)}:", 1)
    (tmp_path / "quota-stream.yaml").write_text(f"{config}listen: off\nweb: {{listen: 'off'}}\n")
    now = SystemClock().now()
    feed = "".join(json.dumps(record) + "\n" for record in service_records(now))
    call("publish", stdin=feed)
    return tmp_path


def assert_one_can_look_at(output: str, what: object) -> None:
    """Nothing in it moves the cursor, colours, turns the direction of writing or pretends to be another line."""
    bad = {c for c in output if not c.isprintable() and c != "\n"}
    assert not bad, (what, bad)
    assert not [line for line in output.splitlines() if line.startswith("level=error event=forged")], what


def test_terminals(installation: Path) -> None:
    """Every command that shows such texts, for people and as JSON, and what it logs meanwhile."""
    drained = call("run", "--drain", "--log-level", "debug")
    assert_one_can_look_at(drained.output, "run")
    for line in drained.stderr.splitlines():
        assert line.startswith("time="), line
    dead = as_reasons()["escape"]
    call("publish", stdin=json.dumps({"service": "vm1/x", "start": dead, dead: 1}) + "\n", status=1)
    commands: list[tuple[str, ...]] = [
        ("service", "list"), ("service", "list", "--json"), ("status",), ("status", "--json"), ("plans", "show"),
        ("plans", "diff"), ("check",), ("check", "--json"), ("token", "list"),
        *(("tail", topic, *more) for topic in TOPICS for more in ((), ("--places",))),
    ]  # fmt: skip
    for service in as_ids().values():
        commands += [("service", verb, service, *more) for verb in ("show", "history") for more in ((), ("--json",))]
    for command in commands:
        result = call_any(*command)
        assert_one_can_look_at(result, command)


def call_any(*arguments: str) -> str:
    """Both streams of a command that may find problems."""
    result = CliRunner().invoke(cli, list(arguments), prog_name="quota-stream")
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    return result.output


def test_commands_repeat_arguments_harmlessly(installation: Path) -> None:
    """What is refused is named, and may be anything."""
    for kind, text in HOSTILE.items():
        if "\x00" in text or text.startswith("-"):
            continue  # no argument, or an option
        for command in (
            *(("service", verb, text) for verb in ("show", "history", "list", "link")), ("token", "create", text),
            ("token", "revoke", text), ("service", "reset", text, "--no-wait"), ("tail", text),
            ("platform", "allow", text), (text,),
        ):  # fmt: skip
            assert_one_can_look_at(call_any(*command), (kind, command[:2]))


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_lines(form: Any, capsys: pytest.CaptureFixture[str], installation: Path) -> None:
    """Each event is one line, whatever stands in it, ours and the libraries'."""
    configure_logs("info", form)
    for text in HOSTILE.values():
        structlog.get_logger().warning("web.refused", reason=text, by=text)
        logging.getLogger("some.library").error("%s", text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len([line for line in lines if line.startswith(("time=", "{"))])
    for line in lines:
        assert_one_can_look_at(line, line[:80])


def test_everything_here_was_really_rejected_or_taken() -> None:
    """The set gets through: each id, label and reason is one that the log takes, as it is."""
    decoder = wire.Decoder()
    for record in service_records(NOW):
        (event,) = decoder.decode([wire_record(record)])
        assert type(event).__name__ in ("Registration", "Adjustment", "Deltas"), plain(event)


def wire_record(document: dict[str, Any]) -> Record:
    return Record(0, NOW, None, json.dumps(document).encode())
