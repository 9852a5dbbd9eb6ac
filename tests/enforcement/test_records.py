"""The records of quota.enforcements and the control records, there and back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.control import Control
from stream.core.enforced import Doubt, Enforcement, Intent, Receipt, Standing, Switch, Switches
from stream.core.errors import Corrupt, Rejected
from stream.core.speed import Speed
from stream.runtime import ledger
from tests.enforcement.speeds import mbit

instants = st.integers(0, 1 << 48)
limits = st.none() | st.integers(0, 1 << 50)
speeds = st.builds(Speed, limits, limits)
intents = st.builds(Intent, st.integers(0, 1000), speeds, speeds, instants)
receipts = st.builds(
    Receipt,
    st.integers(0, 1000),
    speeds,
    st.sampled_from(["applied", "failed", "refused"]),
    st.none() | speeds,
    instants,
)
enforcements = st.builds(
    Enforcement,
    service=st.text(min_size=1),
    incarnation=instants,
    original=speeds,
    intent=st.none() | intents,
    settled=st.booleans(),
    ours=st.lists(speeds).map(tuple),
    doubts=st.lists(st.builds(Doubt, speeds, instants)).map(tuple),
    repairs=st.lists(instants).map(tuple),
    slowed_at=st.none() | instants,
    receipts=st.lists(receipts).map(tuple),
)
names = st.text(min_size=1)
switches = st.builds(
    Switches,
    next=st.none() | instants,
    platforms=st.dictionaries(names, st.builds(Switch, st.booleans(), st.booleans(), instants)),
    standing=st.dictionaries(
        names,
        st.dictionaries(names, st.builds(Standing, st.integers(0, 1000), st.lists(names).map(tuple))),
    ),
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(enforcements)
def test_a_service_comes_back_as_it_was_written(state: Enforcement) -> None:
    """Through JSON, whatever is in it."""
    assert Enforcement.from_json(orjson.loads(orjson.dumps(state.to_json()))) == state


@given(switches)
def test_switches_come_back_as_they_were_written(stored: Switches) -> None:
    """Through JSON, whatever is in them."""
    assert Switches.from_json(orjson.loads(orjson.dumps(stored.to_json()))) == stored


STATE = Enforcement(
    service="vm1/1", incarnation=7, original=mbit(100), intent=Intent(3, mbit(10), mbit(100), 5), ours=(mbit(10),)
).to_json()


@given(st.sampled_from(sorted(STATE)), json)
def test_a_damaged_record_is_called_corrupt(field: str, value: Any) -> None:
    """Nothing but Corrupt comes out, and what is accepted is whole."""
    for document, read in ((STATE | {field: value}, Enforcement.from_json), (value, Switches.from_json)):
        try:
            read(document)
        except Corrupt:
            continue


@pytest.mark.parametrize("read", [Enforcement.from_json, Switches.from_json])
def test_a_newer_format_is_refused(read: Any) -> None:
    """Nothing is guessed."""
    with pytest.raises(Corrupt, match="newer"):
        read({**STATE, "version": 2})


CONTROL = Control(verb="original", platform="vm1", service="vm1/1", original=mbit(10, None), at=5, by="anna", why="new")


@pytest.mark.parametrize(
    "control",
    [
        CONTROL,
        Control(verb="release", platform="vm1", at=5, by="anna"),
        Control(verb="allow", platform="vm1", at=5, by="anna", until=9),
    ],
)
def test_a_control_comes_back_as_it_was_written(control: Control) -> None:
    """Through JSON."""
    assert Control.from_json(orjson.loads(orjson.dumps(control.to_json()))) == control


@pytest.mark.parametrize(
    "wrong",
    [
        {"verb": "explode"},
        {"verb": "allow", "until": None},
        {"platform": 7},
        {"service": None},
        {"service": "vm2/1"},
        {"original": None},
        {"original": {"in": -1, "out": 0}},
        {"at": "now"},
        {"at": True},
    ],
)
def test_a_control_that_makes_no_sense_is_rejected(wrong: dict[str, Any]) -> None:
    """With the reason."""
    with pytest.raises(Rejected, match="not a control record"):
        Control.from_json(CONTROL.to_json() | wrong)


@given(json)
def test_any_json_is_a_control_or_rejected(value: Any) -> None:
    """No other error comes out."""
    try:
        Control.from_json(
            {"type": "control", **value} if isinstance(value, dict) else CONTROL.to_json() | {"service": value}
        )
    except Rejected:
        return


def test_the_same_failure_is_written_once() -> None:
    """A platform that is down for days does not fill the log."""
    state = Enforcement.from_json(STATE).with_receipt("failed", None, 10)
    assert state.with_receipt("failed", None, 20) is state
    assert len(state.with_receipt("refused", None, 20).receipts) == 2
    assert not state.settled


def test_only_the_latest_receipts_are_kept() -> None:
    """A record stays small."""
    state = Enforcement.from_json(STATE)
    for at in range(50):
        state = state.with_receipt("applied", mbit(10), at)
    assert [receipt.at for receipt in state.receipts] == list(range(42, 50))


def test_a_record_under_another_key_is_refused() -> None:
    """It would hide that of the service that it is about."""
    value = orjson.dumps(STATE)
    assert list(ledger.read({b"vm1/1": value})[0]) == ["vm1/1"]
    with pytest.raises(Corrupt, match="the record of b'vm1/2' is about 'vm1/1'"):
        ledger.read({b"vm1/2": value})
