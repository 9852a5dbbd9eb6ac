"""`status` and `backup`."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from stream import wire
from stream.adapters.clock import SystemClock
from stream.cli.reading import instant_text
from stream.core.enforced import Enforcement, Intent, Receipt, Standing, Switch, Switches
from stream.core.speed import Speed
from stream.ports import DEAD_LETTERS, DELTAS, ENFORCEMENTS, Message
from tests.cli.calling import CONFIG, MINUTE, T0, StoppedClock, append, call, delta, lines, registration
from tests.cli.test_platform import PLATFORM

SLOW, FAST = Speed(10_000_000, 10_000_000), Speed(100_000_000, None)


@pytest.fixture(autouse=True)
def configured(folder: Path) -> None:
    (folder / "quota-stream.yaml").write_text(CONFIG)


def problems(status: int = 1) -> list[str]:
    (document,) = lines(call("status", "--json", status=status))
    found: list[str] = document["problems"]
    return found


def test_all_is_well() -> None:
    """Sources with their age, services by profile, no problems; exit status 0."""
    feed = (
        registration("vm1/1")
        + registration("vm1/2")
        + registration("r/1")
        + delta("vm1/1", 0, 1100)
        + delta("vm1/2", 4, 1)
    )
    call("publish", stdin=feed)
    call("run", "--drain")
    rows = [re.split(r"  +", line) for line in call("status").stdout.splitlines()]
    age = rows[2].pop()
    assert re.fullmatch(r"\d+d", age)
    assert rows == [
        ["SOURCE", "SERVICES", "COUNTED TO", "AGE"],
        ["r", "1", "never"],
        ["vm1", "2", instant_text(T0 + MINUTE)],
        [""],
        ["PLAN", "PROFILE", "SERVICES"],
        ["vpn", "full", "2"],
        ["vpn", "slow", "1"],
        [""],
        ["no problems"],
    ]
    (document,) = lines(call("status", "--json"))
    assert document["sources"]["vm1"] == {"counted_to": T0 + MINUTE, "services": 2}
    assert {"plan": "vpn", "profile": "slow", "services": 1} in document["population"]
    assert (document["plans_versions"], document["problems"]) == ([1, 1, 1, 1], [])


def test_rejected_records() -> None:
    """Dead letters of the last day, by reason."""
    call("publish", stdin=delta("vm1/1", 0, 1) + delta("vm1/2", 0, 1))
    call("run", "--drain")
    append(DEAD_LETTERS, 0, [Message(b"x", b'{"reason":"not JSON: line 1","value":"x"}')])
    assert problems() == [
        "2 records were rejected within a day: not registered; see `quota-stream tail quota.dead-letters`",
        "1 record was rejected within a day: not JSON; see `quota-stream tail quota.dead-letters`",
    ]
    assert call("status", status=1).stdout.splitlines()[-2].startswith("problem: 2 records were rejected")


@pytest.mark.parametrize("value", [b"no JSON", b"[]", b"{}", b'{"reason":7}'])
def test_what_is_no_dead_letter(value: bytes) -> None:
    """It is counted all the same."""
    call("publish")
    append(DEAD_LETTERS, 0, [Message(b"x", value)])
    assert (
        "1 record was rejected within a day: why, cannot be read; see `quota-stream tail quota.dead-letters`"
        in problems()
    )


def test_plans_that_differ() -> None:
    """Another plan in the file, or another version in a partition, is a problem with its cure."""
    call("plans", "apply")
    assert problems(0) == []
    Path("quota-stream.yaml").write_text(CONFIG.replace("10 Mbit/s", "5 Mbit/s"))
    assert problems() == ["the plans in force are not those of the configuration; see `quota-stream plans diff`"]
    append(DELTAS, 1, [wire.encode_plans(2, {})])
    assert problems() == [
        "partitions have different versions of the plans, [1, 2, 1, 1]; run `quota-stream plans apply`"
    ]


def test_nothing_counts() -> None:
    """Records that nobody reads are a problem once they have waited for a minute."""
    now = SystemClock().now()
    append(DELTAS, 1, [wire.encode_watermark("vm1", T0)], clock=StoppedClock(now - 30_000))
    append(DELTAS, 2, [wire.encode_watermark("vm1", T0)] * 2, clock=StoppedClock(now - 90_000))
    Path("quota-stream.yaml").write_text("log: sqlite:q.db\n")
    assert problems() == [
        f"no tracker is running: records since {instant_text(now - 90_000)} are not counted; start `quota-stream run`"
    ]


def test_a_platform_that_was_never_reached() -> None:
    """Nothing of it is counted, whether or not its services are registered: that is no peace."""
    Path("quota-stream.yaml").write_text(CONFIG + PLATFORM)
    call("plans", "apply")
    silent = "vm1: nothing is counted yet; see the log of `run`, and try `quota-stream check --live`"
    assert problems() == [silent]
    call("publish", stdin=registration("vm1/1"))
    call("run", "--drain")
    assert problems() == [silent]


def noted(service: str, **more: Any) -> None:
    enforcement = Enforcement(service=service, incarnation=1, original=FAST, **more)
    message = Message(service.encode(), json.dumps(enforcement.to_json()).encode())
    append(ENFORCEMENTS, wire.partition_of(service, 4), [message])


def test_a_platform_in_trouble() -> None:
    """A source that lags, the brake, a release, a limit that is not shown, services that wait for somebody."""
    Path("quota-stream.yaml").write_text(CONFIG + PLATFORM)
    call("publish", stdin=registration("vm1/1") + delta("vm1/1", 0, 1))
    call("run", "--drain")
    now = SystemClock().now()
    asked = Intent(2, SLOW, FAST, now - 3_600_000)
    noted("vm1/1", intent=asked, receipts=(Receipt(2, SLOW, "failed", None, now - 3_000_000),))
    noted("vm1/2", intent=asked, settled=True)
    noted("vm1/3", intent=Intent(2, SLOW, FAST, now - 60_000))
    noted("vm9/1", intent=asked)
    standing = {"vm1": {"suspect": Standing(2, ("vm1/5", "vm1/6")), "drifted": Standing(1, ("vm1/7",))}}
    standing["vm1"]["braked"] = Standing(31, ("vm1/8", "vm1/9"))
    switches = Switches(platforms={"vm1": Switch(braked=True)}, standing=standing)
    append(ENFORCEMENTS, 0, [Message(b"@enforcer", json.dumps(switches.to_json()).encode())])
    assert problems() == [
        f"vm1: there is a service that is counted to {instant_text(T0 + MINUTE)} only; see the log of `run`",
        "vm1: too many would be slowed at once, 31 wait: vm1/8, vm1/9; look at them, then "
        "`quota-stream platform allow vm1`",
        "vm1: 2 services have a slow speed that we did not set, and are left alone; settle them with `adopt` in the "
        "configuration or `quota-stream platform originals import`: vm1/5, vm1/6",
        f"vm1/1: asked for 10 Mbit/s at {instant_text(asked.at)}, not shown (failed)",
    ]
    Path("quota-stream.yaml").write_text(f"shadow: true\n{CONFIG}{PLATFORM}")
    assert "shadow: decisions are made and nothing is changed on a platform" in call("status", status=1).stdout


def test_a_release_comes_to_its_end() -> None:
    """A problem while anything is left to be given back, then a note with exit status 0."""

    def release(*unreturned: str) -> None:
        standing = {"vm1": {"unreturned": Standing(len(unreturned), unreturned)}}
        released = Switches(platforms={"vm1": Switch(released=True, braked=True)}, standing=standing)
        append(ENFORCEMENTS, 1, [Message(b"@enforcer", json.dumps(released.to_json()).encode())])

    call("plans", "apply")
    release("vm1/1", "vm1/2")
    assert problems() == ["vm1: released; 2 not yet returned: vm1/1, vm1/2"]
    release()
    assert problems(0) == []
    returned = "vm1: released, all is returned and nothing is enforced; `quota-stream platform allow vm1` begins again"
    assert call("status").stdout.splitlines()[-2:] == [returned, "no problems"]


def test_hostile_names(folder: Path) -> None:
    """Names that would control a terminal are shown as escapes."""
    append(DEAD_LETTERS, 0, [Message(b"x", json.dumps({"reason": "\x1b[31mred\u202e", "value": ""}).encode())])
    shown = call("status", status=1).stdout
    assert "\\x1b[31mred\\u202e" in shown
    assert all(line.isprintable() for line in shown.splitlines())


# ---------------------------------------------------------------- backup


def test_backup() -> None:
    """A copy that opens, holds the same, and never overwrites."""
    call("publish", stdin=registration("vm1/1") + delta("vm1/1", 0, 5))
    call("run", "--drain")
    result = call("backup", "copy.db")
    assert result.stdout == "wrote copy.db\n"
    with sqlite3.connect("copy.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    Path("copy.yaml").write_text(CONFIG.replace("q.db", "copy.db"))
    for words in (("tail", "quota.profile-changes"), ("service", "show", "vm1/1", "--json"), ("tail", DELTAS)):
        assert call(*words, "--config", "copy.yaml").stdout == call(*words).stdout
    assert call("backup", "copy.db", status=2).stderr == "copy.db: exists already; name another file or remove it\n"


def test_backup_of_nothing() -> None:
    """No log, no copy."""
    assert "q.db: there is no such file" in call("backup", "copy.db", status=2).stderr
    Path("quota-stream.yaml").write_text("log: 'memory:'\n")
    assert "a log in memory cannot be copied" in call("backup", "copy.db", status=2).stderr
    assert not Path("copy.db").exists()


@pytest.mark.parametrize("token", ["", "two\nlines"])
def test_a_secret_that_is_none_ends_run_at_its_start(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2 with the place of the secret and without its text."""
    Path("quota-stream.yaml").write_text(CONFIG + PLATFORM)
    monkeypatch.setenv("VM1_TOKEN", token)
    result = call("run", status=2)
    assert "environment variable VM1_TOKEN" in result.output
    assert "lines" not in result.output
