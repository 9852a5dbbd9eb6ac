"""The section `mappings`: its forms, and every mistake with its line and cure."""

from __future__ import annotations

import pytest

from stream.core.mapping import FieldMapping
from tests.config.texts import config, plan, problems

FORM = """\
    service: vm1/{vm.id}
    start: {field: begin, format: rfc3339}
    end: {field: end, format: rfc3339}
    in: {field: rx, factor: 1024}
    out: {field: tx}
"""
INTERVAL = "give start and end, start and duration, or end and duration"
FACTOR = "write a number above 0 and at most 10^12, with at most 12 decimals"


def mappings(*lines: str, base: str = FORM) -> str:
    """A configuration with a plan and a mapping `netflow`, which begins on line 9; `lines` stand from line 15 on."""
    return f"{plan()}mappings:\n  netflow:\n{base}" + "".join(f"    {line}\n" for line in lines)


def changed(old: str, new: str) -> str:
    assert old in FORM
    return mappings(base=FORM.replace(old, new))


def normal(**changes: object) -> FieldMapping:
    form = {
        "service": "vm1/{vm.id}",
        "start": {"field": "begin", "format": "rfc3339"},
        "end": {"field": "end", "format": "rfc3339"},
        "in": {"field": "rx", "factor": 1024},
        "out": {"field": "tx", "factor": 1},
    }
    return FieldMapping.from_json("netflow", form | changes)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("{field: tx}", "{field: tx}", {}),
        ("{field: tx}", "tx", {}),
        ("1024", "0.125", {"in": {"field": "rx", "factor": "0.125"}}),
        ("1024", "'0.000000000001'", {"in": {"field": "rx", "factor": "0.000000000001"}}),
        ("end: {field: end, format: rfc3339}", "duration: 5m", {"end": None, "duration": 300_000}),
        (
            "end: {field: end, format: rfc3339}",
            "duration: {field: took, format: us}",
            {"end": None, "duration": {"field": "took", "format": "us"}},
        ),
        ("    out: {field: tx}\n", "", {"out": None}),
    ],
)
def test_forms(old: str, new: str, changes: dict[str, object]) -> None:
    """What can be written shorter means the same, and decimals are exact."""
    assert config(changed(old, new)).mappings == {"netflow": normal(**changes)}


def test_order() -> None:
    """Mappings are tried in the order in which they stand in the file."""
    text = mappings() + FORM.join(["  another:\n", ""])
    assert list(config(text).mappings) == ["netflow", "another"]
    assert config(plan()).mappings == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (changed("vm1/{vm.id}", "'{vm.id'"), "10: mappings.netflow.service: '{vm.id' is no template; write each field "
         "as {name}, and a brace that is meant as it stands as {{ or }}"),
        (changed("{field: begin, format: rfc3339}", "{field: begin, format: iso}"),
         "11: mappings.netflow.start.format: is 'iso'; write one of rfc3339, s, ms, us, ns"),
        (changed("{field: begin, format: rfc3339}", "begin"),
         "11: mappings.netflow.start: is 'begin', not an object; write an object with field, format"),
        (changed("1024", "-1"), f"13: mappings.netflow.in.factor: is -1; {FACTOR}"),
        (changed("1024", "1e13"), f"13: mappings.netflow.in.factor: is '1e13'; {FACTOR}"),
        (changed("1024", "KiB"), f"13: mappings.netflow.in.factor: is 'KiB'; {FACTOR}"),
        (mappings("duration: 5m"), f"9: mappings.netflow: an interval is told by two of start, end and duration; "
                                   f"{INTERVAL}"),
        (mappings("duration: 5"), "15: mappings.netflow.duration: 5 has no unit; write for example 60s (units: ms s m "
                                  "h d)"),
        (mappings("when: now"), "15: mappings.netflow.when: is not known here; known are service, start, end, "
                                "duration, in, out"),
        ("log: sqlite:q\nmappings:\n  a:\n" + FORM, "2: mappings: mappings travel in the log together with plans, and "
                                                    "there are none; write plans as well, or remove the section"),
        ("log: sqlite:q\nmappings: netflow", "2: mappings: 'netflow' is not a mapping; write `name: ...` lines"),
        (mappings() + "".join(f"  m{number}:\n{FORM}" for number in range(16)),
         "8: mappings: there are 17 mappings; keep at most 16"),
    ],
)  # fmt: skip
def test_mistakes(text: str, problem: str) -> None:
    """Each has its line and a cure."""
    assert problem in problems(text)
