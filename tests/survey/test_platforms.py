"""The survey of whole platforms: read-only, whatever goes wrong, and whom the plans would slow."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from stream.adapters.clock import SystemClock, WarpClock, run_warped
from stream.config.load import loads
from stream.simulator import Knobs, World, create_app
from stream.survey import Survey, lines_of, survey
from stream.survey.findings import PlatformReport
from stream.survey.questions import ReadOnly
from tests.survey.rig import DAY, HOUR, MINUTE, NOW, PASSWORD, Broken, Dated, Rig, config, finding, some, surveyed

GIB = 1 << 30
LADDER = """\
plans:
  hour:
    window: {slide: 1h, slices: 6}
    profiles:
      full: {speed: original, quota: 1 GiB, down: slow}
      slow: {speed: 20 Mbit/s, stay: 1h, up: full}
"""


def report_of(found: Survey) -> PlatformReport:
    (report,) = found.platforms
    return report


# ---------------------------------------------------------------- read-only


@pytest.mark.parametrize(
    "knobs", [Knobs(), Knobs(closed=("metrics",)), Knobs(requests_per_second=3), Knobs(lag_ms=DAY)]
)
def test_changes_nothing(knobs: Knobs) -> None:
    """The one POST is the login, the one DELETE gives its token back; and the requests are bounded."""
    found, rig = surveyed(knobs, config("max_requests_per_second: 50"), most_judged=3)
    calls = [call for _, call, _ in rig.app.calls]
    assert [(call.method, call.path) for call in calls if call.method == "POST"] == [("POST", "/auth/v4/public/token")]
    assert [call.path.rpartition("/")[0] for call in calls if call.method == "DELETE"] == ["/auth/v4/token"]
    assert report_of(found).requests == len(calls) < 150


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/vm/v3/host/101/resource"), ("POST", "/auth/v4/token"), ("DELETE", "/vm/v3/host/101"),
     ("PUT", "/auth/v4/public/token")],
)  # fmt: skip
async def test_nothing_else_could_leave(method: str, path: str) -> None:
    """Whatever might change something is stopped before it is sent."""
    guard = ReadOnly(Broken("sent"), SystemClock())
    with pytest.raises(AssertionError, match="not read-only"):
        await guard.handle_async_request(httpx.Request(method, f"http://vm1{path}"))


def test_reads_at_the_configured_pace() -> None:
    """No more requests a second than are allowed."""
    _, rig = surveyed(settled=config("max_requests_per_second: 5"), watch=False)
    times = [at for at, _, _ in rig.app.calls]
    assert all(later - earlier >= 900 for earlier, later in zip(times, times[6:], strict=False))


# ---------------------------------------------------------------- what goes wrong


def wrong_password(rig: Rig) -> None:
    rig.app.access.password = "another"


def html(rig: Rig) -> None:
    rig.app.faults.inject("html")


def html_list(rig: Rig) -> None:
    rig.app.faults.inject("html", call="/host$")


def other_types(rig: Rig) -> None:
    rig.app.faults.inject("wrong_types", call="/host$")


def other_points(rig: Rig) -> None:
    some(rig)
    rig.app.faults.inject("wrong_types", call="/metrics$")


def down(rig: Rig) -> None:
    rig.app.faults.inject("refused")


def silent(rig: Rig) -> None:
    rig.app.faults.inject("unanswered")


def asleep(rig: Rig) -> None:
    rig.app.sleep(None)


def broken_machine(rig: Rig) -> None:
    some(rig)
    rig.app.faults.inject("server_error", call="/host/101/metrics")


FAILURES: list[tuple[Callable[[Rig], None], Knobs, str, str]] = [
    (wrong_password, Knobs(), "answer", "HTTP 401, code 99003; check e-mail and password"),
    (some, Knobs(closed=("POST",)), "answer", "code 3001; the function is closed to this account: use an administr"),
    (some, Knobs(closed=("/host$",)), "answer", "code 3001: Unauthorized; the function is closed to this account"),
    (some, Knobs(closed=("metrics",)), "metrics", "code 3001: Unauthorized; the function is closed to this account"),
    (html, Knobs(), "answer", "HTML where JSON was expected (58 bytes); is the url that of the VMmanager itself"),
    (html_list, Knobs(), "answer", "HTML where JSON was expected (58 bytes); is the url that of the VMmanager itself"),
    (other_types, Knobs(), "answer", "list: the reply holds no list"),
    (other_points, Knobs(), "odd", "metrics of 101: "),
    (down, Knobs(), "answer", "vm1: login: simulated: connection refused (ConnectError)"),
    (silent, Knobs(), "answer", "vm1: login: no answer within 30 s"),
    (asleep, Knobs(), "answer", "vm1: login: still answers 503 after "),
    (broken_machine, Knobs(), "odd", "GET /vm/v3/host/101/metrics: HTTP 500, code 99004: Internal error (invented)"),
]


@pytest.mark.parametrize(("populate", "knobs", "topic", "words"), FAILURES)
def test_what_goes_wrong_is_said(populate: Callable[[Rig], None], knobs: Knobs, topic: str, words: str) -> None:
    """In words that name the function and the cause, and never as a traceback; it is something to change."""
    found, _ = surveyed(knobs, populate=populate, watch=False)
    assert any(words in one.text for one in report_of(found).findings if one.topic == topic), report_of(found).findings
    assert not found.is_well


def test_a_wrong_password_locks_nobody_out() -> None:
    """It is tried once."""
    _, rig = surveyed(populate=wrong_password)
    assert [call.path for _, call, _ in rig.app.calls] == ["/auth/v4/public/token"]


def test_one_broken_machine_hides_nothing() -> None:
    """The others are measured and judged."""
    found, _ = surveyed(populate=broken_machine, watch=False, most_judged=4)
    report = report_of(found)
    assert [finding(report, topic).level for topic in ("timezone", "sampling", "stamp")] == ["ok"] * 3
    assert report.judged == 3


def test_too_many_requests() -> None:
    """A platform that answers 429 is asked again more slowly: everything is measured, and that is said."""
    found, _ = surveyed(Knobs(requests_per_second=5), watch=False)
    report = report_of(found)
    assert finding(report, "rate").level == "change"
    assert finding(report, "timezone").level == finding(report, "stamp").level == "ok"
    assert report.judged == 3
    assert "odd" not in {one.topic for one in report.findings}


CERTIFICATES = [
    ("self-signed certificate", "that no authority has signed; give it (or its authority's) with `ca_file: FILE`"),
    ("unable to get local issuer certificate", "of an authority that is not known here; give the authority's with"),
    ("Hostname mismatch, certificate is not valid for 'vm1'.", "for another name; write the name that it is for"),
    ("certificate has expired", "that has expired; renew it on the platform"),
    ("something new", "that is no good ([SSL: CERTIFICATE_VERIFY_FAILED]"),
]


@pytest.mark.parametrize(("said", "words"), CERTIFICATES)
def test_trouble_with_certificates_in_words(said: str, words: str) -> None:
    """What OpenSSL says becomes what to do about it."""
    reason = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {said} (_ssl.c:1006)"
    found, _ = surveyed(wrap=lambda _: Broken(reason))
    assert f"the platform shows a certificate {words}" in finding(report_of(found), "answer").text


def test_a_real_certificate_that_nobody_signed(tmp_path: Path) -> None:
    """Over a real socket, as the operating system's library words it."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=vm1 -keyout key.pem -out certificate.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    async def main() -> Survey:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await survey(config(f"url: https://127.0.0.1:{port}"))

    assert "a certificate that no authority has signed" in finding(report_of(asyncio.run(main())), "answer").text


def test_a_ca_file_that_is_none() -> None:
    """It is named, and the survey goes on with the others."""
    found, _ = surveyed(settled=config("ca_file: /nowhere/ca.pem"), wrap=lambda inner: inner)
    report = report_of(found)
    assert "ca_file /nowhere/ca.pem" in finding(report, "answer").text


def test_a_token_that_is_not_taken(tmp_path: Path) -> None:
    """A long-lived token is seen to be wrong by the first question."""
    (tmp_path / "token").write_text("nonsense")
    text = '{log: "memory:", platforms: {vm1: {type: vmmanager, url: "http://vm1", timezone: UTC, token_file: token}}}'
    found, rig = surveyed(settled=loads(text, tmp_path / "q.yaml"), watch=False)
    assert "code 1000" in finding(report_of(found), "answer").text
    (tmp_path / "token").write_text(rig.app.access.lasting())
    found, rig = surveyed(settled=loads(text, tmp_path / "q.yaml"), watch=False, populate=lasting)
    assert finding(report_of(found), "login").text == "the token is taken"
    assert {call.method for _, call, _ in rig.app.calls} == {"GET"}


def lasting(rig: Rig) -> None:
    rig.app.access.lasting()
    some(rig)


@pytest.mark.parametrize(("ahead_s", "level"), [(0, "ok"), (-90, "change"), (3600, "change")])
def test_clocks_are_compared(ahead_s: int, level: str) -> None:
    """By the dates of the replies, to about a second."""

    async def main(clock: WarpClock) -> Survey:
        app = create_app(World(clock.now, seed=3), Knobs(), password=PASSWORD)
        dated = Dated(httpx.ASGITransport(app=app), clock.now, ahead_s * 1000)
        return await survey(config(), clock=clock, transports={"vm1": dated})

    told = finding(report_of(run_warped(main, start_ms=NOW, grace_s=0.0)), "clock")
    assert told.level == level
    assert abs(told.value - ahead_s * 1000) <= 1000


# ---------------------------------------------------------------- several platforms, rules


TWO = """\
log: "memory:"
platforms:
  vm1: {type: vmmanager, url: "http://vm1", timezone: Europe/Berlin, email: admin@example.com,
        password_env: VM1_PASSWORD, max_requests_per_second: 1000}
  vm2: {type: vmmanager, url: "http://vm2", timezone: Europe/Berlin, email: admin@example.com,
        password_env: VM1_PASSWORD}
""" + LADDER + """\
services:
  - {match: {platform: vm1, id: [101, 102]}, plans: [hour]}
  - {match: {platform: vm1, id: 103}, plans: []}
  - {match: {platform: vm1, id: 500-599}, plans: [hour]}
  - {match: {platform: vm2, id: 7}, plans: [hour]}
"""  # fmt: skip


def test_one_platform_that_is_down_hides_no_other() -> None:
    """What can be asked is told; rules of the silent platform are unknown, those that take nothing are named."""

    async def main(clock: WarpClock) -> Survey:
        world = World(clock.now, seed=3)
        app = create_app(world, Knobs(), password=PASSWORD)
        some(Rig(world, app, httpx.ASGITransport(app=app), NOW))
        transports = {"vm1": httpx.ASGITransport(app=app), "vm2": Broken("no route to host")}
        return await survey(loads(TWO, Path("/etc/q.yaml")), clock=clock, transports=transports, watch=False)

    found = run_warped(main, start_ms=NOW, grace_s=0.0)
    one, two = found.platforms
    assert finding(one, "timezone").level == "ok"
    assert (one.machines, one.matched, one.unmatched) == (4, 2, [("vm1/104", "vm104.example.com")])
    assert [one.topic for one in two.findings] == ["answer"]
    assert "no route to host" in finding(two, "answer").text
    assert [(rule.value, rule.level) for rule in found.rules] == [(2, "note"), (3, "unknown")]
    assert "id: 500-599} takes no machine" in found.rules[0].text


# ---------------------------------------------------------------- whom the plans would slow


def users(rig: Rig) -> None:
    """One over its month, one just below, one over but slow already, one silent.

    What makes the difference lies in the very first step of the month, and in the very last one before it.
    """
    first = 1_772_319_600_000  # 2026-03-01 00:00 in Berlin
    for number, (used, limit) in enumerate([(1025, None), (1023, None), (1025, 10), (0, 100)]):
        id = rig.world.create(habit="silent", limits=(1000, 1000), since=first - 20 * DAY, name=f"n{number}")
        rig.world.script(id, first - 5 * MINUTE, first, 3 * GIB, 0)
        if used:
            rig.world.script(id, first, first + 5 * MINUTE, 0, 3 * GIB)
            rig.world.script(id, first + 5 * MINUTE, first + 10 * DAY, (used - 10) * GIB, 5 * GIB)
            rig.world.script(id, first + 12 * DAY, first + 12 * DAY + HOUR, 0, 2 * GIB)
        rig.world.set_limits(id, limit, limit)


@pytest.mark.parametrize(
    "knobs",
    [Knobs(), Knobs(timezone="Asia/Tokyo"), Knobs(stamp="end"), Knobs(stamp="end", timezone="America/Chicago"),
     Knobs(from_included=False), Knobs(until_included=True), Knobs(late_percent=5)],
)  # fmt: skip
def test_whom_the_month_would_slow(knobs: Knobs) -> None:
    """Those over the quota by the platform's own numbers, as they are really to be read; not who is slow already."""
    found, _ = surveyed(knobs, populate=users, watch=False, most_judged=10)
    report = report_of(found)
    assert [(one.service, one.name, one.limits, one.due) for one in report.slowed] == [
        ("vm1/101", "n0", (None, None), (10_000_000, 10_000_000))
    ]
    assert report.slowed[0].why == ("month: slow, 1 TiB of 1 TiB used",)
    assert report.judged == 4


def hourly(rig: Rig) -> None:
    """More and less than a GiB within the last hour; the second had it the hour before."""
    step = rig.now // (5 * MINUTE) * 5 * MINUTE
    for start, bytes_ in ((step - 30 * MINUTE, 1100), (step - 2 * HOUR, 5000)):
        id = rig.world.create(habit="silent", limits=(1000, 10), since=rig.now - 40 * DAY)
        rig.world.script(id, start, start + 20 * MINUTE, bytes_ << 20, 0)


def test_whom_a_ladder_would_slow() -> None:
    """By the last hour alone; the direction that is slower already stays as it is."""
    found, _ = surveyed(settled=config(plans=LADDER, rules="services: [{match: {}, plans: [hour]}]"),
                        populate=hourly, watch=False)  # fmt: skip
    (slowed,) = report_of(found).slowed
    assert (slowed.service, slowed.limits, slowed.due) == (
        "vm1/101", (1_000_000_000, 10_000_000), (20_000_000, 10_000_000),
    )  # fmt: skip
    assert slowed.why == ("hour: slow, 1.07 GiB of 1 GiB used",)


def test_a_stopped_machine_is_unchanged() -> None:
    """It has no numbers of the last hour, and is judged all the same; one that runs without numbers is not."""
    rules = config(plans=LADDER, rules="services: [{match: {}, plans: [hour]}]")
    found, _ = surveyed(settled=rules, populate=with_a_stopped_one, watch=False, most_judged=10)
    assert report_of(found).judged == 5
    assert "vm1/105" not in {one.service for one in report_of(found).slowed}
    assert "1 have no numbers" in finding(report_of(found), "forecast").text


def with_a_stopped_one(rig: Rig) -> None:
    some(rig)
    id = rig.world.create(since=rig.now - 50 * DAY)
    rig.world.replay([{"do": "change", "at": rig.now - DAY, "id": id, "values": {"state": "stopped"}, "by": "owner"}])
    rig.world.create(since=rig.now)


def unreadable(rig: Rig) -> None:
    some(rig)
    rig.world.create(limits=(-5, 100), since=rig.now - 50 * DAY)


def test_a_row_that_cannot_be_read() -> None:
    """It is named with its cause, and is not taken for a machine that the list lacks."""
    report = report_of(surveyed(populate=unreadable, watch=False)[0])
    assert finding(report, "row").text.startswith("vm1/105 cannot be read and will be left alone: net_in_mbitps is no")
    assert finding(report, "list").level == "ok"


def test_single_machines_may_not_be_asked() -> None:
    """Then nothing is claimed of the list."""
    report = report_of(surveyed(Knobs(closed=(r"/host/\d+$",)), watch=False)[0])
    assert "code 3001" in finding(report, "list").text


def test_not_all_are_judged() -> None:
    """How many are left out is said."""
    found, _ = surveyed(most_judged=1, watch=False)
    assert "3 more were not looked at, see --vms" in finding(report_of(found), "forecast").text


def test_pace() -> None:
    """Where the round of all machines takes longer than a round may, more requests are advised."""
    slow = config("max_requests_per_second: 0.02", "concurrency: 1", "settle: 2h")
    found, _ = surveyed(Knobs(latency_s=2.0), slow, watch=False, most_judged=0)
    report = report_of(found)
    assert finding(report, "pace").level == "change"
    assert report.settings["max_requests_per_second"] == "5"


# ---------------------------------------------------------------- how it is said


def test_text_ends_with_settings_to_paste() -> None:
    """The snippet is YAML, and the configuration with it is right: the second survey has nothing to change."""
    knobs = Knobs(timezone="Asia/Tokyo", stamp="end", unlimited=None, retention_ms=35 * DAY, lag_ms=200_000)
    found, _ = surveyed(knobs)
    text = "\n".join(lines_of(found, Path("q.yaml")))
    pasted = yaml.safe_load(text[text.index("platforms:\n") :])["platforms"]["vm1"]
    assert pasted == {"unlimited": None, "timezone": "Asia/Tokyo", "stamp": "end", "settle": "4m", "keeps": "35d"}
    lines = re.findall(r"^    (\w+: .*)$", text[text.index("platforms:\n") :], flags=re.MULTILINE)
    again, _ = surveyed(knobs, config(*lines))
    assert again.is_well, report_of(again).findings
    assert [*lines_of(again, Path("q.yaml"))][-1] == "all is well"


def test_text_names_the_machines() -> None:
    """Those that would be slowed, and those that no rule matches."""
    only = "services: [{match: {id: 101}, plans: [month]}]"
    found, _ = surveyed(settled=config(rules=only), populate=users, watch=False)
    lines = [*lines_of(found, Path("q.yaml"))]
    assert "    vm1/101  n0  no limit -> 10 Mbit/s  (month: slow, 1 TiB of 1 TiB used)" in lines
    assert lines.index("    vm1/102  n1") == lines.index("  matched by no rule, and left alone (3):") + 1


def test_json_holds_all_of_it() -> None:
    """Everything in one object that JSON can say."""
    found, _ = surveyed(Knobs(stamp="end"), populate=users, watch=False)
    told = json.loads(json.dumps(found.to_json()))
    (platform,) = told["platforms"]
    assert (told["well"], platform["settings"]["stamp"]) == (False, "end")
    assert platform["slowed"][0]["service"] == "vm1/101"
    assert {one["topic"] for one in platform["findings"]} >= {"timezone", "sampling", "stamp", "lag", "keeps"}
