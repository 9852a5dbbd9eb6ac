"""The schemas are the truth: what is written is in them, and what they accept is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream import wire
from stream.core.control import Control
from stream.core.enforced import Doubt, Enforcement, Intent, Standing, Switch, Switches
from stream.core.mapping import FieldMapping
from stream.core.model import (
    MAX_BYTES,
    MAX_DELTA_MS,
    MAX_INSTANT,
    DeadLetter,
    Decision,
    Malformed,
    Message,
    Position,
    QuotaWarning,
    Speed,
)
from tests.wire.samples import END, HOUR, NOW, START, record
from tests.wire.test_inputs import PLAN
from tests.wire.test_mappings import NETFLOW, RADIUS
from tests.wire.test_outcomes import decisions, warnings

FOLDER = Path(__file__).parent.parent.parent / "schemas"
SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


MAPPINGS = {name: FieldMapping.from_json(name, form) for name, form in (("netflow", NETFLOW), ("radius", RADIUS))}


def closed(schema: Any) -> Any:
    """The same schema, which accepts no field that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: part if name in ("if", "then", "not", "examples") else closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "$ref" not in schema["properties"]:
        parts.setdefault("additionalProperties", False)
    return parts


OPEN = {topic: Draft202012Validator(schema) for topic, schema in SCHEMAS.items()}
CLOSED = {topic: Draft202012Validator(closed(schema)) for topic, schema in SCHEMAS.items()}


def document(message: Message) -> Any:
    return orjson.loads(message.value or b"")


def examples(schema: Any) -> Iterator[Any]:
    """Every example in a schema, with the definition that it illustrates."""
    yield from schema.get("examples", ())
    for definition in schema.get("$defs", {}).values():
        yield from definition.get("examples", ())


def decode(value: Any) -> list[Malformed]:
    events = wire.Decoder().decode([record(orjson.dumps(value))])
    return [event for event in events if isinstance(event, Malformed)]


@pytest.mark.parametrize("topic", SCHEMAS)
def test_schemas_are_schemas(topic: str) -> None:
    """Each is a valid one, and its examples follow it to the letter."""
    Draft202012Validator.check_schema(SCHEMAS[topic])
    found = list(examples(SCHEMAS[topic]))
    assert found
    for example in found:
        CLOSED[topic].validate(example)


def test_every_topic_has_one() -> None:
    """All but the state, whose pages are not JSON."""
    assert set(SCHEMAS) == {"traffic.deltas", "quota.profile-changes", "quota.enforcements", "quota.dead-letters"}


@pytest.mark.parametrize("example", [*examples(SCHEMAS["traffic.deltas"])], ids=str)
def test_the_examples_are_read(example: dict[str, Any]) -> None:
    """Nobody who copies one gets a dead letter."""
    assert decode(example) == []


@given(decisions | warnings)
def test_outcomes_are_in_the_schema(outcome: Decision | QuotaWarning) -> None:
    """Every field that is written is documented."""
    CLOSED["quota.profile-changes"].validate(document(wire.encode_outcome(outcome)))


def test_controls_are_in_the_schema() -> None:
    """Of an operator, with and without what is optional."""
    for control in (
        Control(verb="allow", platform="vm1", at=5, by="anna", until=9),
        Control(verb="original", platform="vm1", at=5, by="anna", service="vm1/7", original=Speed(5, None)),
    ):
        CLOSED["quota.profile-changes"].validate(document(wire.encode_control(control)))


def test_enforcements_are_in_the_schema() -> None:
    """As they are before the first intent, after a receipt, and the one record about no service."""
    new = Enforcement(service="vm1/7", incarnation=5, original=Speed(None, 7))
    intent = Intent(2, Speed(1, 1), Speed(None, 7), NOW)
    old = Enforcement(
        service="vm1/7", incarnation=5, original=Speed(None, 7), intent=intent, ours=(Speed(1, 1),), repairs=(NOW,),
        slowed_at=NOW, doubts=(Doubt(Speed(2, 2), NOW),),
    )  # fmt: skip
    for one in (new, old, old.with_receipt("applied", Speed(1, 1), NOW), old.with_receipt("failed", None, NOW)):
        CLOSED["quota.enforcements"].validate(one.to_json())
    for switches in (Switches(), Switches(7, {"vm1": Switch(braked=True)}, {"vm1": {"left": Standing(1, ("vm1/7",))}})):
        CLOSED["quota.enforcements"].validate(switches.to_json())


@given(st.text(max_size=9), st.binary(max_size=9))
def test_dead_letters_are_in_the_schema(words: str, value: bytes) -> None:
    """As text and as base64."""
    letter = DeadLetter(Position(1, 2), words, words, value)
    CLOSED["quota.dead-letters"].validate(document(wire.encode_dead_letter("traffic.deltas", 0, letter)))


def test_inputs_are_in_the_schema() -> None:
    """What our own publishers write, with and without what is optional."""
    for message in (
        wire.encode_delta("vm1/1", START, END, 1, 2),
        wire.encode_delta("vm1/1", START, END, 1, 2, source="vm1", backfill=True),
        *wire.encode_batches("vm1", START, END, ["vm1/1"], [1], [2]),
        *wire.encode_batches("vm1", [START], [END], ["vm1/1"], [1], [2], backfill=True),
        wire.encode_registration("vm1/1", ["vpn"]),
        wire.encode_registration("vm1/1", [], source="m", quota=5, anchor_day=31, labels={"a": "7"}, at=END),
        wire.encode_deregistration("vm1/1", at=END),
        wire.encode_watermark("vm1", END),
        wire.encode_adjustment("vm1/1", "reset", id="01J", by="anna", why=""),
        wire.encode_adjustment("vm1/1", "pin", id="1", by="b", why="w", at=END, plan="p", profile="f", until=4),
        wire.encode_adjustment("vm1/1", "credit", id="1", by="b", why="w", bytes=5),
        wire.encode_plans(3, {"month": PLAN}),
        wire.encode_plans(3, {"month": PLAN}, MAPPINGS),
    ):
        CLOSED["traffic.deltas"].validate(document(message))


services = st.sampled_from(
    ["vm1/101", "vm1/a/b", "v/€", "vm1/" + "x" * 196, "vm1/" + "x" * 197, "vm1", "/1", "vm1/", "@vm1/1", "a/b\n",
     "a/\n", "a/\x85", "a/\u2028", "\u2028/b", 5, None]
)  # fmt: skip
texts: st.SearchStrategy[Any] = st.sampled_from(
    ["vm1", "x" * 64, "x" * 65, "x" * 200, "x" * 201, "", "a\nb", "a\n", "\x7f", 5, None, "€", "\u2028"]
)
instants = st.sampled_from([0, START, END, NOW + HOUR, MAX_INSTANT, MAX_INSTANT + 1, -1, "now", None, True])
amounts = st.sampled_from([0, 1, MAX_BYTES, MAX_BYTES + 1, -1, 2**63, "5", None, False, 0.5])
flags = st.sampled_from([True, False, None, 1, "true"])
labels: st.SearchStrategy[Any] = st.dictionaries(
    texts.filter(lambda text: isinstance(text, str)), texts, max_size=3
) | st.sampled_from([None, [], {str(n): "" for n in range(20)}, {str(n): "" for n in range(21)}, {"a": "x\ny"}])
at = {"at": instants}
KINDS: dict[str | None, dict[str, st.SearchStrategy[Any]]] = {
    None: {"service": services, "source": st.just("vm1"), "start": instants, "end": instants, "in": amounts,
           "out": amounts, "backfill": flags},
    "registration": {"service": services, "source": texts, "quota": amounts, "labels": labels,
                     "plans": st.lists(texts, max_size=3) | st.sampled_from([None, "vpn", {}]),
                     "anchor_day": st.sampled_from([None, 0, 1, 31, 32, "service"])} | at,
    "deregistration": {"service": services} | at,
    "watermark": {"source": texts} | at,
    "adjustment": {"service": services, "id": texts, "by": texts, "why": texts, "plan": texts, "profile": texts,
                   "kind": st.sampled_from(["credit", "exempt", "pin", "unpin", "reset", "gift", None]),
                   "bytes": amounts, "until": instants} | at,
}  # fmt: skip
GOOD: dict[str, Any] = {
    "service": "vm1/101", "source": "vm1", "start": START, "end": END, "in": 1, "out": 2, "plans": ["vpn"], "at": END,
    "id": "01J", "kind": "pin", "plan": "vpn", "profile": "slow", "by": "anna", "bytes": 5, "until": END,
}  # fmt: skip


@st.composite
def records_of(draw: st.DrawFn, kind: str | None) -> dict[str, Any]:
    """A record that is good but for one or two fields, which are at or beyond their bounds, or absent."""
    fields = KINDS[kind]
    made = {name: value for name, value in GOOD.items() if name in fields} | ({"type": kind} if kind else {})
    for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=2)):
        made[name] = draw(fields[name])
        if draw(st.integers(0, 5)) == 0:
            del made[name]
    return made


def in_time(made: dict[str, Any]) -> bool:
    """What a schema cannot say: start before end, not too long before, and nothing but `until` too far ahead."""
    start, end = made.get("start"), made.get("end")
    ordered = not isinstance(start, int) or not isinstance(end, int) or 0 < end - start <= MAX_DELTA_MS
    return ordered and all(not isinstance(made.get(name), int) or made[name] <= NOW + HOUR for name in ("at", "end"))


@pytest.mark.parametrize("kind", KINDS)
def test_schema_and_decoder_agree(kind: str | None) -> None:
    """What the schema accepts the decoder accepts; what the decoder accepts the schema accepts, save what only the
    tracker refuses (a plan twice, an adjustment without what its kind needs)."""

    @given(records_of(kind))
    def agree(made: dict[str, Any]) -> None:
        assume(in_time(made))
        valid = OPEN["traffic.deltas"].is_valid(made)
        read = not decode(made)
        plans = made.get("plans")
        tracker_decides = kind == "adjustment" or (isinstance(plans, list) and len(set(plans)) < len(plans))
        assert valid == read or (read and tracker_decides)

    agree()


@given(st.lists(st.tuples(services, amounts, amounts), max_size=3), instants, instants, flags)
def test_schema_and_decoder_agree_on_batches(rows: list[tuple[Any, ...]], start: Any, end: Any, backfill: Any) -> None:
    """The same of a batch, none of whose elements is refused."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("services", "in", "out"))}
    made = {"type": "batch", "start": start, "end": end, "backfill": backfill} | columns
    assume(in_time(made))
    valid = OPEN["traffic.deltas"].is_valid(made)
    read = not decode(made)
    assert valid == read or not rows


def test_a_plan_with_an_unknown_key_is_refused_by_both() -> None:
    """A plan is not half understood; everywhere else unknown fields are ignored."""
    plan = PLAN.to_json()
    for plans, fine in (({"a": plan}, True), ({"a": plan | {"taper": 5}}, False)):
        made = {"type": "plans", "version": 1, "plans": plans, "unknown": 5}
        assert OPEN["traffic.deltas"].is_valid(made) == fine
        assert (decode(made) == []) == fine
