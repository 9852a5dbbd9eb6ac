"""`platform`: records that tell the enforcers."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from stream import wire
from stream.adapters.clock import SystemClock
from stream.core.enforced import Enforcement
from stream.core.speed import Speed
from stream.ports import CHANGES, ENFORCEMENTS, Message
from tests.cli.calling import CONFIG, append, call, lines, registration

PLATFORM = """\
platforms:
  vm1: {type: vmmanager, url: 'https://vm.example.com', timezone: UTC, token_env: VM1_TOKEN}
services: [{match: {}, plans: [vpn]}]
"""


@pytest.fixture(autouse=True)
def configured(folder: Path) -> None:
    (folder / "quota-stream.yaml").write_text(CONFIG + PLATFORM)
    call("publish", stdin="")


def test_allow() -> None:
    """It is told to every partition, with who, why and until when."""
    before = SystemClock().now()
    assert call("platform", "allow", "vm1", "--for", "2h", "--why", "new plan").stdout.startswith(
        "vm1: slowing is allowed, without the brake until "
    )
    told = lines(call("tail", CHANGES))
    assert len(told) == 4
    for control in told:
        assert (control["verb"], control["platform"]) == ("allow", "vm1")
        assert (control["by"], control["why"]) == (getpass.getuser(), "new plan")
        assert before + 7_200_000 <= control["until"] <= SystemClock().now() + 7_200_000


@pytest.mark.parametrize("span", ["9999999d", "99999999999999999999d"])
def test_allow_for_ever(span: str) -> None:
    """A span that no calendar holds is refused before anything is told."""
    assert "is too much; write at most 36525 d" in call("platform", "allow", "vm1", "--for", span, status=2).stderr
    assert lines(call("tail", CHANGES)) == []


def test_release_asks() -> None:
    """Giving everybody the original speed back is not done by mistake."""
    assert (
        "give every service of vm1 its original speed back?"
        in call("platform", "release", "vm1", stdin="n\n", status=1).stderr
    )
    assert lines(call("tail", CHANGES)) == []
    call("platform", "release", "vm1", stdin="y\n")
    call("platform", "release", "vm1", "--yes")
    assert [one["verb"] for one in lines(call("tail", CHANGES))] == ["release"] * 8


def test_originals_out_and_in() -> None:
    """What was exported can be imported; each goes to its service's partition."""
    for service, original in (
        ("vm1/1", Speed(100_000_000, None)),
        ("vm1/2", Speed(None, None)),
        ("vm2/1", Speed(1, 1)),
    ):
        record = Enforcement(service=service, incarnation=1, original=original).to_json()
        partition = wire.partition_of(service, 4)
        append(ENFORCEMENTS, partition, [Message(service.encode(), json.dumps(record).encode())])
    exported = call("platform", "originals", "export", "vm1").stdout
    assert [json.loads(line) for line in exported.splitlines()] == [
        {"service": "vm1/1", "in": 100_000_000, "out": None},
        {"service": "vm1/2", "in": None, "out": None},
    ]
    call("publish", stdin=registration("vm1/1"))
    call("run", "--drain")
    imported = call("platform", "originals", "import", "--why", "moved", stdin=exported)
    assert imported.stdout == "2 originals imported\n"
    assert imported.stderr.splitlines()[-1:] == ["warning: vm1/2 is not registered; imported all the same"]
    assert "vm1/1 is not registered" not in imported.stderr
    *_, told = lines(call("tail", CHANGES, "--service", "vm1/1"))
    assert (told["verb"], told["original"], told["why"]) == ("original", {"in": 100_000_000, "out": None}, "moved")
    assert call("platform", "originals", "import", stdin=exported.splitlines()[0]).stdout == "1 original imported\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "line 2: this is no original ("),
        ('{"service":"vm1/1","in":5}', "line 2: this is no original ('out')"),
        ('{"service":"vm1/1","in":-5,"out":1}', "line 2: this is no original (a speed is negative: -5)"),
        ('{"service":"vm3/1","in":5,"out":1}', "there is no platform 'vm3'; write vm1"),
        ('{"service":"vm1/1","in":0,"out":1}', "line 2: this is no original (a speed is not between 1 and 1000000"),
        ('{"service":"vm1/1","in":18446744073709551615,"out":1}', "line 2: this is no original (a speed is not betw"),
        ('{"service":"vm1/\\u0007","in":5,"out":1}', "line 2: this is no original (service is no service id; "),
        ('{"service":"vm1","in":5,"out":1}', "line 2: this is no original (service is no service id; "),
        ('["vm1/1"]', "line 2: this is no original ("),
    ],
)
def test_originals_that_are_none(line: str, message: str) -> None:
    """One bad line and nothing is imported: originals are no place for half measures."""
    good = '{"service":"vm1/1","in":5,"out":1}\n'
    result = call("platform", "originals", "import", stdin=good + line + "\n", status=2)
    assert result.stderr.startswith(message), result.stderr
    assert lines(call("tail", CHANGES)) == []


@pytest.mark.parametrize("words", [("allow", "vm"), ("release", "vm", "--yes"), ("originals", "export", "vm")])
def test_a_platform_that_is_not_there(words: tuple[str, ...]) -> None:
    """The nearest known one is named."""
    assert call("platform", *words, status=2).stderr == "there is no platform 'vm'; write vm1\n"
