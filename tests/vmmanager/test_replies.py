"""What a list, metrics and tasks say, and how little of a broken one is believed."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.adapters.vmmanager import replies
from stream.adapters.vmmanager.replies import Odd
from stream.core.speed import Speed

ROW: dict[str, Any] = {
    "id": 101,
    "name": "web",
    "domain": "web.example.com",
    "state": "active",
    "account": {"id": 7, "email": "anna@example.com"},
    "node": {"id": 1, "name": "node-1"},
    "cluster": {"id": 3, "name": "kvm-a"},
    "ip4": [{"ip": "192.0.2.7"}, {"ip": "192.0.2.8"}],
    "ip6": ["2001:db8::7"],
    "tags": ["vpn", {"id": 5, "name": "gold"}],
    "net_in_mbitps": 100,
    "net_out_mbitps": 50,
}


def rows(*listed: Any, unlimited: int | None = 0) -> replies.Rows:
    return replies.rows({"list": list(listed), "last_notify": 1}, "vm1", unlimited)


def test_a_row_is_a_machine() -> None:
    """With everything that rules and labels may name, and no e-mail address anywhere."""
    (machine,) = rows(ROW).machines.values()
    assert (machine.service, machine.name, machine.running) == ("vm1/101", "web", True)
    assert machine.limits == Speed(100_000_000, 50_000_000)
    assert machine.attributes == {
        "id": ("101",),
        "name": ("web",),
        "tag": ("vpn", "gold"),
        "account": ("7",),
        "node": ("node-1",),
        "cluster": ("kvm-a",),
        "ip": ("192.0.2.7", "192.0.2.8", "2001:db8::7"),
    }
    assert "@" not in repr(machine)


@pytest.mark.parametrize(
    ("change", "attribute", "value"),
    [
        ({"account": "anna@example.com"}, "account", ()),
        ({"account": {"id": "anna@example.com"}}, "account", ()),
        ({"account": {"email": "anna@example.com"}}, "account", ()),
        ({"account": "7"}, "account", ("7",)),
        ({"account": None}, "account", ()),
        ({"node": {"id": 4}}, "node", ("4",)),
        ({"node": "n"}, "node", ("n",)),
        ({"cluster": []}, "cluster", ()),
        ({"tags": None}, "tag", ()),
        ({"tags": {"a": "b"}}, "tag", ()),
        ({"tags": ["a", 5, None, True, [], ""]}, "tag", ("a", "5")),
        ({"tags": ["x" * 1000]}, "tag", ("x" * 197 + "...",)),
        ({"tags": [str(tag) for tag in range(500)]}, "tag", tuple(str(tag) for tag in range(100))),
        ({"name": "\x1b[31mred\n"}, "name", ("?[31mred?",)),
        ({"name": None}, "name", ("web.example.com",)),
        ({"name": "", "domain": ""}, "name", ()),
        ({"ip4": "192.0.2.7"}, "ip", ("2001:db8::7",)),
    ],
)
def test_what_is_odd_about_a_row_costs_no_more_than_itself(change: Any, attribute: str, value: Any) -> None:
    """An attribute of another shape is read as far as it makes sense."""
    (machine,) = rows(ROW | change).machines.values()
    assert machine.attributes[attribute] == value


@pytest.mark.parametrize(
    ("change", "unlimited", "limits"),
    [
        ({"net_in_mbitps": 0}, 0, Speed(None, 50_000_000)),
        ({"net_in_mbitps": 0}, None, Speed(0, 50_000_000)),
        ({"net_in_mbitps": None}, None, Speed(None, 50_000_000)),
        ({"net_in_mbitps": -1}, -1, Speed(None, 50_000_000)),
        ({"net_in_mbitps": 10.0}, 0, Speed(10_000_000, 50_000_000)),
        ({"net_in_mbitps": ..., "net_bandwidth_mbitps": 30}, 0, Speed(30_000_000, 50_000_000)),
        ({"net_in_mbitps": ..., "net_out_mbitps": ..., "net_bandwidth_mbitps": 0}, 0, Speed(None, None)),
    ],
)
def test_limits_are_read_as_the_settings_say(change: Any, unlimited: int | None, limits: Speed) -> None:
    """ "No limit" has the value that the platform gives it; the old single field stands in for both."""
    row = {key: value for key, value in (ROW | change).items() if value is not ...}
    (machine,) = rows(row, unlimited=unlimited).machines.values()
    assert machine.limits == limits


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (None, "#1"),
        ([], "#1"),
        ({}, "#1"),
        ({"id": -1}, "#1"),
        ({"id": True}, "#1"),
        ({"id": 1.5}, "#1"),
        ({"id": "101x"}, "#1"),
        (ROW | {"id": 102, "name": ["a"]}, "vm1/102"),
        (ROW | {"id": "102", "net_in_mbitps": "fast"}, "vm1/102"),
        (ROW | {"id": 102, "net_in_mbitps": None}, "vm1/102"),
        (ROW | {"id": 102, "net_in_mbitps": -5}, "vm1/102"),
        (ROW | {"id": 102, "net_in_mbitps": 1e300}, "vm1/102"),
        (ROW | {"id": 102, "net_in_mbitps": True}, "vm1/102"),
        ({"id": 102}, "vm1/102"),
        (ROW | {"name": "twin"}, "vm1/101"),
    ],
)
def test_a_broken_row_harms_only_itself(row: Any, name: str) -> None:
    """It is named with its cause, by id if it has one; limits that make no sense are never "unlimited"."""
    found = rows(ROW, row, ROW | {"id": 103})
    assert list(found.machines) == ["vm1/101", "vm1/103"]
    assert found.machines["vm1/101"].name == "web"
    assert list(found.broken) == [name]


DAY = 1_773_532_800_000
STEP_S = 300


def points(*pairs: Any, at_end: bool = False) -> list[replies.Point]:
    return replies.points([{"datapoints": list(pairs)}], DAY, DAY + 900_000, stamped_at_end=at_end)


def test_points_are_chosen_by_their_stamps() -> None:
    """Half-open, by start or end of the step; what lies outside is not looked at."""
    first = DAY // 1000
    pairs = [[1.0, first - STEP_S], [2.0, first], [4.0, first + STEP_S], [8.0, first + 2 * STEP_S], [16.0, first + 900]]
    assert [value for _, value in points(*pairs)] == [2, 4, 8]
    assert [value for _, value in points(*pairs, at_end=True)] == [4, 8, 16]


def test_nulls_are_gaps_and_nothing_is_no_data() -> None:
    """Neither is ever zero."""
    first = DAY // 1000
    assert points([None, first], [0.0, first + 300]) == [(DAY + 300_000, 0)]
    assert points([None, first]) == points() == replies.points([], DAY, DAY + 1, stamped_at_end=False) == []
    assert replies.total([]) is replies.total([{"datapoints": [[None, first]]}]) is None
    assert replies.total([{"datapoints": [[None, 0], [1.4, 5], [2.0, 9e9]]}]) == 3


def test_a_total_that_cannot_be() -> None:
    """Points that are possible one by one can come to more than any number that can be written down."""
    largest = [[1 << 50, number] for number in range(1024)]
    assert replies.total([{"datapoints": largest}]) == 1 << 60
    with pytest.raises(Odd, match="an impossible number of bytes in total"):
        replies.total([{"datapoints": [*largest, [1, 0]]}])


def test_floats_become_whole_bytes() -> None:
    """The platform's numbers are floats; a stamp may be one too."""
    assert points([1234567890123.0, float(DAY // 1000)]) == [(DAY, 1_234_567_890_123)]
    assert points([0.6, DAY // 1000]) == [(DAY, 1)]


@pytest.mark.parametrize(
    "pair",
    [
        None,
        7,
        "ab",
        [],
        [1.0],
        [1.0, DAY // 1000, 3],
        {"a": 1, "b": 2},
        [1.0, None],
        [1.0, "12"],
        [1.0, True],
        [1.0, 0.5],
        ["1", DAY // 1000],
        [True, DAY // 1000],
        [[], DAY // 1000],
        [-1.0, DAY // 1000],
        [1e300, DAY // 1000],
        [math.inf, DAY // 1000],
        [math.nan, DAY // 1000],
    ],
)
def test_a_point_that_makes_no_sense_is_not_guessed(pair: Any) -> None:
    """The whole series is refused: who counts on it would count wrongly."""
    with pytest.raises(Odd):
        points([1.0, DAY // 1000], pair)


@pytest.mark.parametrize("reply", [None, {}, 7, "x", [None], [{}], [{"datapoints": {}}], [{"datapoints": []}] * 2])
def test_metrics_of_another_shape_are_refused(reply: Any) -> None:
    """Two series where one was asked for, too."""
    with pytest.raises(Odd):
        replies.points(reply, DAY, DAY + 1, stamped_at_end=False)
    with pytest.raises(Odd):
        replies.total(reply)


KEYS = st.sampled_from([*ROW, "list", "error", "code", "msg", "datapoints", "task", "status", "token", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(KEYS, children, max_size=5),
    max_leaves=20,
)
WRAPPED = (
    JSON
    | st.builds(lambda inner: {"list": [inner, ROW]}, JSON)
    | st.builds(lambda pairs: [{"datapoints": pairs}], st.lists(JSON, max_size=4))
)


@settings(max_examples=300, deadline=None)
@given(reply=WRAPPED)
def test_any_json_is_understood_or_odd(reply: Any) -> None:
    """No reply whatever raises anything but Odd, and every number that comes of it is a sane one."""
    replies.complaint(reply)
    for read in (replies.total, replies.task_of, replies.task_state, replies.token):
        with suppress(Odd):
            read(reply)
    with suppress(Odd):
        for at, value in replies.points(reply, 0, 1 << 62, stamped_at_end=False):
            assert at >= 0
            assert 0 <= value <= 1 << 50
    with suppress(Odd):
        for machine in replies.rows(reply, "vm1", 0).machines.values():
            assert machine.name.isprintable()
            assert all(limit is None or limit >= 0 for limit in machine.limits)
            assert all(isinstance(value, str) for values in machine.attributes.values() for value in values)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60) | WRAPPED.map(lambda reply: orjson.dumps(reply, option=orjson.OPT_NON_STR_KEYS)))
def test_any_bytes_are_json_or_odd(body: bytes) -> None:
    """Truncated, binary, deeply nested: parsed or refused."""
    for cut in (body, body[: len(body) // 2], b"[" * 2000 + body):
        with suppress(Odd):
            replies.parse(cut)


@pytest.mark.parametrize(
    ("reply", "task"),
    [({"id": 1, "task": "123"}, "123"), ({"task": 123}, "123"), ({"id": 1}, None), ({"task": None}, None)],
)
def test_a_change_has_a_task_or_is_done(reply: Any, task: str | None) -> None:
    """A reply without a task is done."""
    assert replies.task_of(reply) == task


@pytest.mark.parametrize(
    ("listed", "state"),
    [
        ([], "unknown"),
        ([{"status": "complete"}], "complete"),
        ([{"status": "fail"}], "failed"),
        ([{"status": "failed"}], "failed"),
        ([{"status": "created"}], "running"),
        ([{"status": "whatever"}], "running"),
    ],
)
def test_the_state_of_a_task(listed: Any, state: str) -> None:
    """An absent record is "unknown"; words that nobody knows mean that it goes on."""
    assert replies.task_state({"list": listed}) == state
