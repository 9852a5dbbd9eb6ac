"""`plans`: what is in force, what the configuration says, and bringing one to the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream import wire
from stream.ports import DELTAS
from tests.cli.calling import CONFIG, append, call, lines


@pytest.fixture(autouse=True)
def configured(folder: Path) -> None:
    (folder / "quota-stream.yaml").write_text(CONFIG)


def change(old: str, new: str) -> None:
    file = Path("quota-stream.yaml")
    file.write_text(file.read_text().replace(old, new))


def test_apply_once() -> None:
    """The first apply makes version 1; the same again changes nothing; a change makes version 2 in every partition."""
    assert call("plans", "apply").stdout == "version 1 is in force\n"
    assert call("plans", "apply").stdout == "version 1 is in force already\n"
    change("quota: 1000, down", "quota: 2000, down")
    assert lines(call("plans", "apply", "--json")) == [{"version": 2, "changed": True}]
    assert [one["version"] for one in lines(call("tail", DELTAS))] == [1, 2] * 4


def test_diff() -> None:
    """In words what apply would change; exit status 1 if anything."""
    call("plans", "apply")
    assert call("plans", "diff").stdout == "version 1 is what the configuration says\n"
    change("10 Mbit/s", "5 Mbit/s")
    told = call("plans", "diff", status=1).stdout.splitlines()
    assert told[:2] == ["--- in force", "+++ configuration"]
    assert [line for line in told[2:] if line[0] in "-+"] == [
        "-  slow  10 Mbit/s; quota 1 kB; after 1h up to full below the quota",
        "+  slow  5 Mbit/s; quota 1 kB; after 1h up to full below the quota",
    ]
    (document,) = lines(call("plans", "diff", "--json", status=1))
    assert (document["version"], document["partitions_behind"], len(document["changes"])) == (1, [], len(told))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stay: 1h", "stay: 3600001ms"),
        ("warn: 80%", "warn: 81%"),
        ("quota: 1000, down", "quota: 1000, at: reached, down"),
        ("quota: 1000, stay", "quota: 1000, at: reached, stay"),
    ],
)
def test_every_difference_is_shown(old: str, new: str) -> None:
    """Also what the words of a plan do not tell apart."""
    call("plans", "apply")
    change(old, new)
    told = call("plans", "diff", status=1).stdout.splitlines()
    assert {line[0] for line in told} >= {"-", "+"}


def test_half_a_broadcast() -> None:
    """A partition that has an older version is named, and the next apply mends it."""
    call("plans", "apply")
    from_log = lines(call("tail", DELTAS, "--partition", "0"))[0]["plans"]
    append(DELTAS, 1, [wire.encode_plans(2, {})])
    told = call("plans", "show").stdout.splitlines()
    assert told[-2:] == ["version 2: partitions 1", "version 1: partitions 0, 2, 3"]
    assert "partitions 0, 2, 3 have not got version 2 yet" in call("plans", "diff", status=1).stdout
    assert call("plans", "apply").stdout == "version 3 is in force\n"
    (document,) = lines(call("plans", "show", "--json"))
    assert document == {"partitions": [3, 3, 3, 3], "plans": from_log, "mappings": {}}


def test_show_in_words() -> None:
    """Before anything was applied there are none; afterwards they are told as `check` tells them."""
    call("publish", "--config", "quota-stream.yaml", stdin="")
    told = call("plans", "show").stdout.splitlines()
    assert told[0].startswith("vpn: bytes in and out over the last 1h in slices of 10m; ")
    assert told[-1] == "version 1: partitions 0, 1, 2, 3"


def test_no_plans_at_all() -> None:
    """A configuration without plans is not taken for the wish to take everybody's away."""
    Path("none.yaml").write_text("log: sqlite:q.db\n")
    call("plans", "apply")
    result = call("plans", "apply", "--config", "none.yaml", status=2)
    assert "there are no plans, which would take every service's away; write some" in result.stderr
    call("publish", "--config", "none.yaml", stdin="")
    assert call("plans", "diff").stdout == "version 1 is what the configuration says\n"


MAPPINGS = """
mappings:
  netflow:
    service: vm1/{vm.id}
    end: {field: time, format: s}
    duration: 5m
    in: {field: kilobits, factor: 125}
"""


def test_mappings_go_with_the_plans() -> None:
    """They are shown, compared and applied as plans are; `publish` reads foreign lines by them."""
    call("plans", "apply")
    file = Path("quota-stream.yaml")
    file.write_text(file.read_text() + MAPPINGS)
    line = "mapping netflow: service vm1/{vm.id}, end time (s), duration 5m, in kilobits * 125"
    assert line in call("check").stdout.splitlines()
    assert f"+{line}" in call("plans", "diff", status=1).stdout.splitlines()
    flow = {"vm": {"id": 7}, "time": 1764547200, "kilobits": 8}
    told = call("publish", stdin=json.dumps(flow))
    assert told.stdout == "1 line published, 0 refused\n"
    assert call("plans", "diff").stdout == "version 2 is what the configuration says\n"
    assert line in call("plans", "show").stdout.splitlines()
    (document,) = lines(call("plans", "show", "--json"))
    assert document["mappings"]["netflow"]["in"] == {"field": "kilobits", "factor": 125}
    delta = {"service": "vm1/7", "start": 1764546900000, "end": 1764547200000, "in": 1000, "out": 0}
    assert delta in lines(call("tail", DELTAS))
    change("factor: 125", "factor: 128")
    assert f"-{line}" in call("plans", "diff", status=1).stdout.splitlines()
