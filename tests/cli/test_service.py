"""`service`: what it shows, and corrections that a running `run` counts."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream import wire
from stream.cli.reading import instant_text
from stream.core.enforced import Enforcement, Intent, Receipt
from stream.core.model import MAX_INSTANT
from stream.core.speed import Speed
from stream.ports import CHANGES, ENFORCEMENTS, STATE, Message
from tests.cli.calling import CONFIG, MINUTE, T0, append, call, delta, lines, registration

HOUR = 60 * MINUTE
PARTITION = wire.partition_of("vm1/1", 4)


@pytest.fixture(autouse=True)
def two_services(folder: Path) -> None:
    """Two services, one of which was slowed."""
    (folder / "quota-stream.yaml").write_text(f"{CONFIG}listen: off\ncheckpoint: 500ms\n")
    feed = registration("vm1/1") + registration("vm1/2") + delta("vm1/1", 0, 900) + delta("vm1/1", 1, 200)
    call("publish", stdin=feed + delta("vm1/2", 0, 5, 6))
    call("run", "--drain")


def test_list() -> None:
    """A table of all; a pattern, a plan, a profile and --slowed choose."""
    rows = [re.split(r"  +", line) for line in call("service", "list").stdout.splitlines()]
    assert rows == [
        ["SERVICE", "DUE", "PLANS", "COUNTED TO", "LABELS"],
        ["vm1/1", "10 Mbit/s", "vpn:slow 0 B of 1000 B", instant_text(T0 + 2 * MINUTE)],
        ["vm1/2", "original", "vpn:full 11 B of 1000 B", instant_text(T0 + MINUTE)],
    ]

    def listed(*arguments: str) -> list[str]:
        return [one["service"] for one in lines(call("service", "list", *arguments, "--json"))]

    assert listed() == ["vm1/1", "vm1/2"]
    assert listed("*/2") == ["vm1/2"]
    assert listed("--profile", "slow") == ["vm1/1"]
    assert listed("--plan", "vpn", "--profile", "full") == ["vm1/2"]
    assert listed("--plan", "month") == []
    assert listed("--slowed") == ["vm1/1"]


def test_who_begins_with_a_speed_is_not_slowed(folder: Path) -> None:
    """--slowed means less than where the plans begin, which need not be the original speed."""
    (folder / "quota-stream.yaml").write_text(f"{CONFIG.replace('original', '100 Mbit/s', 1)}listen: off\n")
    call("plans", "apply")
    call("run", "--drain")
    shown = {one["service"]: one["speed"]["in"] for one in lines(call("service", "list", "--json"))}
    assert shown == {"vm1/1": 10_000_000, "vm1/2": 100_000_000}
    assert [one["service"] for one in lines(call("service", "list", "--slowed", "--json"))] == ["vm1/1"]


def test_show() -> None:
    """Everything in words, and the same as JSON."""
    told = call("service", "show", "vm1/2").stdout.splitlines()
    assert told[:6] == [
        "vm1/2: original is due",
        "  source vm1, incarnation 2, revision 1",
        f"  counted to {instant_text(T0 + MINUTE)}",
        "  accepted: in 5 B, out 6 B",
        f"plan vpn: profile full (original) since {instant_text(T0)}",
        "  used 11 B of 1 kB (1 %)",
    ]
    assert told[-1] == f"  {instant_text(T0)}   10m      11 B  {'#' * 40}"
    slow = call("service", "show", "vm1/1").stdout.splitlines()
    back = f"  back to original (full) at {instant_text(T0 + 2 * MINUTE + HOUR)} if less than 1000 B is used until then"
    assert slow[-2:] == ["what comes, if nobody intervenes:", back]
    (document,) = lines(call("service", "show", "vm1/1", "--json"))
    (plan,) = document["plans"]
    assert (document["speed"], document["accepted_in"]) == ({"in": 10_000_000, "out": 10_000_000}, 1100)
    assert (plan["profile"], plan["usage_bytes"], plan["stay_until"]) == ("slow", 0, T0 + 2 * MINUTE + HOUR)
    assert plan["ledger"] == {"accepted": 110_000, "counted": 110_000, "late": 0, "clipped": 0}
    assert len(plan["window"]) == 6
    assert (document["month"], document["enforcement"]) == (None, None)


@pytest.mark.parametrize("until", [4102444800000, MAX_INSTANT])
def test_show_what_ends_far_away(until: int) -> None:
    """An exemption and a pin until any instant that is taken are shown all the same."""
    for kind, extra in (("exempt", {}), ("pin", {"plan": "vpn", "profile": "slow"})):
        one = {
            "type": "adjustment",
            "id": kind,
            "service": "vm1/2",
            "kind": kind,
            "by": "anna",
            "until": until,
            **extra,
        }
        call("publish", stdin=json.dumps(one))
    call("run", "--drain")
    shown = call("service", "show", "vm1/2").stdout
    assert f"exempt until {instant_text(until)}" in shown
    assert f"pinned to slow until {instant_text(until)}" in shown


def test_instants_of_any_size() -> None:
    """Whatever the log holds can be shown."""
    assert instant_text(1 << 48) == "about the year 10889"
    assert instant_text(-(1 << 70)).startswith("about the year -")


def test_show_what_the_platform_says() -> None:
    """What the enforcer noted and the platform's own count of the month stand beside ours."""
    slow, fast = Speed(10_000_000, 10_000_000), Speed(100_000_000, None)
    enforcement = Enforcement(
        service="vm1/1",
        incarnation=1,
        original=fast,
        intent=Intent(2, slow, fast, T0),
        receipts=(Receipt(2, slow, "applied", slow, T0 + MINUTE),),
        settled=True,
    )
    append(ENFORCEMENTS, PARTITION, [Message(b"vm1/1", json.dumps(enforcement.to_json()).encode())])
    month = {
        "service": "vm1/1",
        "start": T0,
        "end": T0 + HOUR,
        "ours_in": 5,
        "ours_out": 5,
        "theirs_in": 4,
        "theirs_out": 3,
    }
    append(STATE, PARTITION, [Message(b"comparison/vm1/1", json.dumps(month).encode())])
    told = call("service", "show", "vm1/1").stdout.splitlines()
    assert told[-4:] == [
        f"platform's own count from {instant_text(T0)} to {instant_text(T0 + HOUR)}: 7 B, ours 10 B, "
        "difference +3 bytes",
        "platform: in 100 Mbit/s, out no limit before we touched it",
        f"  asked for 10 Mbit/s at {instant_text(T0)} (revision 2), and it shows that",
        f"  {instant_text(T0 + MINUTE)} 10 Mbit/s: applied, it shows 10 Mbit/s",
    ]
    (document,) = lines(call("service", "show", "vm1/1", "--json"))
    assert document["month"]["theirs_in"] == 4
    assert document["enforcement"]["original"] == {"in": 100_000_000, "out": None}


@pytest.mark.parametrize("value", ["no JSON", "[]", "{}", '{"start":"x","end":1,"ours_in":1,"ours_out":1}'])
def test_a_comparison_that_is_none(value: str) -> None:
    """It is left out: it is for people alone."""
    append(STATE, PARTITION, [Message(b"comparison/vm1/1", value.encode())])
    assert "platform's own count" not in call("service", "show", "vm1/1").stdout
    assert json.loads(call("service", "show", "vm1/1", "--json").stdout)["month"] is None


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"version":1}'])
def test_an_enforcement_that_cannot_be_read(value: str) -> None:
    """It is told as what it is."""
    append(ENFORCEMENTS, PARTITION, [Message(b"vm1/1", value.encode())])
    assert "quota.enforcements" in call("service", "show", "vm1/1", status=1).stderr


@pytest.mark.parametrize("value", ['{"type":"something new","service":"vm1/1"}', "no JSON", '{"service":"vm1/1"}'])
def test_a_history_with_other_records_in_it(value: str) -> None:
    """What is neither a decision nor a warning is passed over: there will be other kinds."""
    before = call("service", "history", "vm1/1").stdout
    append(CHANGES, PARTITION, [Message(b"vm1/1", value.encode())])
    assert call("service", "history", "vm1/1").stdout == before


def test_history() -> None:
    """Each decision once, with its reason, oldest first."""
    rows = [re.split(r"  +", line) for line in call("service", "history", "vm1/1").stdout.splitlines()]
    assert rows == [
        ["TIME", "WHAT", "WHY", "USED", "DUE"],
        [instant_text(T0), "service", "registered", "original"],
        [instant_text(T0 + MINUTE), "vpn: warning", "80 % used", "900 B of 1000 B"],
        [instant_text(T0 + 2 * MINUTE), "vpn: full -> slow", "exceeded", "1.07 KiB of 1000 B", "10 Mbit/s"],
    ]
    changes = lines(call("tail", "quota.profile-changes", "--service", "vm1/1"))
    append("quota.profile-changes", PARTITION, [Message(b"vm1/1", json.dumps(changes[2]).encode())])
    assert [one.get("reason") for one in lines(call("service", "history", "vm1/1", "--json"))] == [
        "registered",
        None,
        "exceeded",
    ]
    for form in ((), ("--json",)):
        assert call("service", "history", "vm1/9", *form, status=2).stderr.startswith("vm1/9: no such service")


@pytest.mark.parametrize("verb", [("show",), ("credit", "1 GiB")])
def test_a_service_that_is_not_there(verb: tuple[str, ...]) -> None:
    """An unknown or impossible id is said, and nothing is written for an impossible one."""
    result = call("service", verb[0], "vm1", *verb[1:], status=2)
    assert result.stderr.startswith(("vm1: no such service", "service is no service id"))


# ---------------------------------------------------------------- corrections


@pytest.fixture
def running(folder: Path, two_services: None) -> Iterator[None]:
    """A real `run` on the log, until the test is over; it must end well."""
    program = Path(sys.executable).with_name("quota-stream")
    with subprocess.Popen([program, "run"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "event=started" not in (line := process.stderr.readline()):
            assert line, "it ended before it had started"
        yield
        process.terminate()
        assert process.wait(30) == 0, process.stderr.read()


@pytest.mark.usefixtures("running")
def test_corrections_are_counted_by_a_running_run() -> None:
    """Each verb waits until it is counted, says what is due then, and stands in the history with who and why.

    What the tracker refuses is said with its reason; the same --id twice is one correction.
    """
    said = [
        call("service", *words, "--why", "ticket 12").stdout
        for words in (
            ("credit", "vm1/1", "5 GiB"),
            ("pin", "vm1/1", "full", "--plan", "vpn"),
            ("unpin", "vm1/1", "--plan", "vpn"),
            ("exempt", "vm1/1", "--for", "2h"),
            ("reset", "vm1/1"),
        )
    ]
    assert said == [
        "vm1/1: credit counted; 10 Mbit/s is due\n",
        "vm1/1: pin counted; original is due\n",
        "vm1/1: unpin counted; 10 Mbit/s is due\n",
        "vm1/1: exempt counted; original is due\n",
        "vm1/1: reset counted; original is due\n",
    ]
    history = lines(call("service", "history", "vm1/1", "--json"))
    made = [one["adjustment"] for one in history if one.get("adjustment")]
    assert {(one["by"], one["why"]) for one in made} == {(getpass.getuser(), "ticket 12")}
    assert [one["kind"] for one in made] == ["credit", "pin", "unpin", "exempt", "reset"]
    assert call("service", "unpin", "vm1/1", "--plan", "vpn", status=1).stderr.startswith("error: not pinned")
    assert call("service", "credit", "vm1/7", "1 GiB", status=1).stderr.startswith("error: not registered")
    for repeated in (False, True):
        (answer,) = lines(call("service", "credit", "vm1/2", "1 GiB", "--id", "t12", "--json"))
        assert (answer["id"], answer["counted"], answer["repeated"]) == ("t12", True, repeated)
        assert [credit["bytes"] for credit in answer["service"]["plans"][0]["credits"]] == [2**30]
    again = call("service", "credit", "vm1/2", "1 GiB", "--id", "t12").stdout
    assert again == "vm1/2: t12 was already counted, and does nothing again; original is due\n"
    for other in (("credit", "vm1/2", "2 GiB"), ("credit", "vm1/2", "1 GiB", "--plan", "vpn"), ("reset", "vm1/2")):
        told = call("service", *other, "--id", "t12", status=1).stderr
        whose = f"credit of vm1/2 by {getpass.getuser()}"
        assert told == f"error: the id belongs to another adjustment: {whose}; give each an id of its own\n"
    call("service", "exempt", "vm1/2", "--for", "2h", "--id", "t13")
    assert "already counted" in call("service", "exempt", "vm1/2", "--for", "1h", "--id", "t13").stdout


def test_nobody_counts_it() -> None:
    """Without a `run` the record waits in the log, and the command says so."""
    result = call("service", "reset", "vm1/1", "--wait", "100ms", status=1)
    assert result.stderr == (
        f"error: it is in the log (partition {PARTITION}, offset 6), but was not counted within 0.1 s; "
        "it will be when `quota-stream run` runs\n"
    )
    assert call("service", "reset", "vm1/1", "--id", "x", "--no-wait").stdout == "reset x is in the log\n"
    call("run", "--drain")
    (document,) = lines(call("service", "show", "vm1/1", "--json"))
    assert document["plans"][0]["profile"] == "full"


def test_forget() -> None:
    """It asks first.  Nothing is shown any more, registered or not; who registers it again begins anew."""
    asked = call("service", "forget", "vm1/1", stdin="n\n", status=1).stderr
    assert "forget vm1/1, its state and its history?" in asked
    assert [one["service"] for one in lines(call("service", "list", "--json"))] == ["vm1/1", "vm1/2"]
    told = call("service", "forget", "--yes", "vm1/1", "--why", "by mail", "--wait", "100ms", status=1).stderr
    assert "was not counted within 0.1 s" in told
    call("run", "--drain")
    assert [one["service"] for one in lines(call("service", "list", "--json"))] == ["vm1/2"]
    assert "no such service" in call("service", "history", "vm1/1", status=2).stderr
    assert "no such service" in call("service", "show", "vm1/1", status=2).stderr
    call("service", "forget", "--yes", "vm1/1", "--wait", "100ms", status=1)
    call("publish", stdin=registration("vm1/1"))
    call("run", "--drain")
    assert [one["reason"] for one in lines(call("service", "history", "vm1/1", "--json"))] == ["registered"]
    assert "is no service id" in call("service", "forget", "--yes", "@x", status=2).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("exempt", "vm1/1"), "say until when: --until TIME or --for DURATION"),
        (("exempt", "vm1/1", "--for", "1h", "--until", "2030-01-01"), "--until and --for exclude each other"),
        (("pin", "vm1/1", "slow"), "say of which plan: --plan NAME"),
        (("credit", "vm1/1", "1 GiB", "--at", "2999-01-01"), "at lies too far ahead"),
        (("credit", "vm1/1", "1 GiB", "--id", ""), "id is no proper string"),
    ],
)
def test_corrections_that_say_too_little(words: tuple[str, ...], message: str) -> None:
    """What can be seen to be wrong is refused before it is written."""
    before = lines(call("tail", "traffic.deltas"))
    assert message in call("service", *words, status=2).stderr
    assert lines(call("tail", "traffic.deltas")) == before


def test_until_is_an_instant() -> None:
    """--until takes an offset, --at and --for count together."""
    call("service", "exempt", "vm1/1", "--until", "2025-12-01T12:00+01:00", "--at", "2025-12-01T00:00Z", "--no-wait")
    call("service", "exempt", "vm1/1", "--for", "2h", "--at", "2025-12-01T00:00Z", "--no-wait")
    first, second = lines(call("tail", "traffic.deltas", "--service", "vm1/1"))[-2:]
    assert (first["until"], first["at"]) == (T0 + 11 * HOUR, T0)
    assert (second["until"], second["at"]) == (T0 + 2 * HOUR, T0)
