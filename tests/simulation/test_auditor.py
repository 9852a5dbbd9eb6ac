"""Whatever is changed in a journal that is right, the auditor notices, and says what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import orjson
import pytest

from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, Message
from stream.runtime.checkpoint import META
from tests.runtime.history import record
from tests.simulation.auditor import Auditor, Totals
from tests.simulation.broker import Entry
from tests.simulation.small_world import TRUTH, lived

Journal: TypeAlias = Sequence[Entry]
Tampering: TypeAlias = Callable[[Journal], Journal]


@cache
def right() -> Journal:
    """Of a world in which nothing goes wrong."""
    return tuple(lived({}).journal)


def violations(journal: Journal, totals: Totals = TRUTH) -> list[str]:
    auditor = Auditor(1)
    auditor.note(journal)
    return auditor.end(totals)


# ---------------------------------------------------------------- ways to tamper


def places(journal: Journal, topic: str, deed: str = "write") -> list[int]:
    return [place for place, entry in enumerate(journal) if (entry.topic, entry.deed) == (topic, deed)]


def replaced(journal: Journal, place: int, *entries: Entry) -> Journal:
    return [*journal[:place], *entries, *journal[place + 1 :]]


def without(topic: str, number: int, deed: str = "write") -> Tampering:
    """One entry is missing."""
    return lambda journal: replaced(journal, places(journal, topic, deed)[number])


def doubled(*left_out: int) -> Tampering:
    """The decisions that were shown first are shown twice, the second time without some of them."""

    def tamper(journal: Journal) -> Journal:
        place = places(journal, CHANGES)[0]
        kept = tuple(message for number, message in enumerate(journal[place].messages) if number not in left_out)
        return replaced(journal, place, journal[place], journal[place]._replace(messages=kept))

    return tamper


def again(topic: str, number: int, deed: str = "write") -> Tampering:
    """One entry comes once more at the end."""
    return lambda journal: [*journal, journal[places(journal, topic, deed)[number]]]


def swapped(topic: str, one: int, other: int) -> Tampering:
    def tamper(journal: Journal) -> Journal:
        first, second = places(journal, topic)[one], places(journal, topic)[other]
        return replaced(replaced(journal, first, journal[second]), second, journal[first])

    return tamper


def changed(topic: str, number: int, change: Callable[[Message], Message], *, deed: str = "write") -> Tampering:
    """The last message of one entry is another."""

    def tamper(journal: Journal) -> Journal:
        place = places(journal, topic, deed)[number]
        *kept, last = journal[place].messages
        return replaced(journal, place, journal[place]._replace(messages=(*kept, change(last))))

    return tamper


def before_its_checkpoint(journal: Journal) -> Journal:
    """Decisions are shown, and then made durable."""
    place = places(journal, CHANGES)[0]
    checkpoint = max(each for each in places(journal, STATE) if each < place)
    return [*journal[:checkpoint], journal[place], *journal[checkpoint:place], *journal[place + 1 :]]


def in_the_middle_removed(journal: Journal) -> Journal:
    """The first of the decisions that were shown together."""
    place = next(each for each in places(journal, CHANGES) if len(journal[each].messages) > 3)
    return replaced(journal, place, journal[place]._replace(messages=journal[place].messages[1:]))


def field(name: str, value: object) -> Callable[[Message], Message]:
    return lambda message: message._replace(value=orjson.dumps(orjson.loads(message.value or b"") | {name: value}))


def of_another_time(message: Message) -> Message:
    return message._replace(headers=((*message.headers[:-1], ("appended", b"1"))))


def told_again_otherwise(topic: str, deed: str) -> Tampering:
    def tamper(journal: Journal) -> Journal:
        entry = journal[places(journal, topic, deed)[-1]]
        return [*journal, entry._replace(messages=(of_another_time(entry.messages[-1]),))]

    return tamper


def page_over_page(journal: Journal) -> Journal:
    """The last checkpoint's pages, in the same slots, without a new meta record."""
    place = places(journal, STATE)[1]
    entry = journal[place]
    spoiled = [
        (key, value and value[:-8] + b"\1" * 8, headers) for key, value, headers in entry.messages if key != META
    ]
    return [*journal[: place + 1], entry._replace(messages=tuple(Message(*each) for each in spoiled[:1]))]


def meta_first(journal: Journal) -> Journal:
    """A torn checkpoint that has its meta record, and not what that names."""
    place = places(journal, STATE)[0]
    metas = tuple(message for message in journal[place].messages if message.key == META)
    return [*journal[:place], journal[place]._replace(messages=metas)]


def by_a_former_owner(topic: str) -> Tampering:
    return lambda journal: [
        entry._replace(who="tracker.9") if place == places(journal, topic)[1] else entry
        for place, entry in enumerate(journal)
    ]


def taken_over_by_another(journal: Journal) -> Journal:
    return [*journal, journal[places(journal, STATE, "take over")[-1]]._replace(who="tracker.9")]


def released_too_far(journal: Journal) -> Journal:
    place = places(journal, DELTAS, "release")[0]
    return replaced(journal, place, journal[place]._replace(offset=journal[place].offset + 1))


def with_a_delta_nobody_read(journal: Journal) -> Journal:
    last = journal[places(journal, DELTAS, "append")[-1]]
    return [*journal, last._replace(messages=last.messages[:1], offset=last.offset + 1)]


def with_another_past(journal: Journal) -> Journal:
    """What was read is not what the log says."""
    place = places(journal, DELTAS, "append")[3]
    message = record(orjson.loads(journal[place].messages[0].value or b"") | {"in": [2601, 1000, 0]})
    return replaced(journal, place, journal[place]._replace(messages=(message,)))


TAMPERED: Mapping[str, tuple[Tampering, str]] = {
    "a decision missing": (without(CHANGES, -1), "was never shown"),
    "a gap": (in_the_middle_removed, "before vm1/"),
    "out of order": (swapped(CHANGES, 1, 2), "before vm1/"),
    "nothing but a repeat": (doubled(), ""),
    "a repeat of the rest": (doubled(0), ""),
    "a repeat after it is forgotten": (again(CHANGES, 0), "the outbox does not hold it"),
    "a fork": (changed(CHANGES, 1, field("speed", {"in": 7, "out": 7})), "with speed (7, 7) instead of"),
    "a revision more": (changed(CHANGES, -1, field("revision", 99)), "which nothing in the log brings about"),
    "no outcome": (changed(CHANGES, -1, field("revision", "one")), "showed what is no outcome"),
    "other bytes": (told_again_otherwise(CHANGES, "write"), "again with other bytes"),
    "shown too early": (before_its_checkpoint, "which is not durable"),
    "a letter missing": (without(DEAD_LETTERS, 0, "append"), "whose letter is not stored"),
    "a letter too many": (changed(DEAD_LETTERS, 0, lambda _: Message(b"traffic.deltas/0/1/0", b""), deed="append"),
                          "nothing is wrong with the record"),
    "a letter without a reason": (changed(DEAD_LETTERS, 0, field("reason", ""), deed="append"),
                                  "does not say what is wrong"),
    "a letter otherwise": (told_again_otherwise(DEAD_LETTERS, "append"), "again with other bytes"),
    "an older state": (again(STATE, 1), "which does not follow number"),
    "a page over a page": (page_over_page, "which cannot be read"),
    "meta before its pages": (meta_first, "which cannot be read"),
    "a checkpoint missing": (without(STATE, 0), "which is not durable"),
    "a zombie's state": (by_a_former_owner(STATE), "has taken over since"),
    "a zombie's decision": (by_a_former_owner(CHANGES), "has taken over since"),
    "a stranger's take-over": (taken_over_by_another, "the partition is assigned to"),
    "a release too far": (released_too_far, "a restore would read on at"),
    "a delta unread": (with_a_delta_nobody_read, "the log goes up to"),
    "another past": (with_another_past, "with usage_bytes 1400 instead of 1401"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_it_notices(what: str) -> None:
    """Each way to spoil a journal is told in its own words; a mere repeat is none."""
    tamper, words = TAMPERED[what]
    found = violations(tamper(right()))
    if words:
        assert any(words in each for each in found), found
    else:
        assert not found


@pytest.mark.parametrize("more", [(1, 0), (0, 1), (-1, 0)])
def test_it_counts_every_byte(more: tuple[int, int]) -> None:
    """A byte more or less in either direction is one too many."""
    in_, out = TRUTH["vm1/2"]
    found = violations(right(), {**TRUTH, "vm1/2": (in_ + more[0], out + more[1])})
    assert found == [f"partition 0: vm1/2 used {(in_ + more[0], out + more[1])} bytes, and {(in_, out)} are counted"]


@pytest.mark.parametrize("totals", [{**TRUTH, "vm1/4": (0, 0)}, {"vm1/1": TRUTH["vm1/1"], "vm1/2": TRUTH["vm1/2"]}])
def test_it_misses_services(totals: Totals) -> None:
    """A service must be there, or must be gone."""
    assert len(violations(right(), totals)) == 1


def test_it_is_content_with_what_is_right() -> None:
    """And with each beginning of it in which everything is read."""
    assert not violations(right())
    auditor = Auditor(1)
    auditor.note(right())
    auditor.end(TRUTH)
    assert auditor.happened["exceeded"] >= 5
    assert auditor.happened["dead letter"] == 3


def test_an_older_intent_is_noticed() -> None:
    """What an enforcer intends comes from decisions that only grow younger, per service."""

    def intent(offset: int, service: str, incarnation: int, revision: int) -> Entry:
        value = {"service": service, "incarnation": incarnation, "intent": {"revision": revision}}
        message = Message(service.encode(), orjson.dumps(value))
        return Entry(0, "enforcer", "write", ENFORCEMENTS, 0, (message,), offset)

    taken = Entry(0, "enforcer", "take over", ENFORCEMENTS, 0, (), 0)
    assigned = taken._replace(deed="assign")
    growing = [intent(1, "vm1/1", 5, 2), intent(2, "vm1/2", 5, 1), intent(3, "vm1/1", 5, 2), intent(4, "vm1/1", 9, 1)]
    assert violations([*right(), assigned, taken, *growing]) == []
    [violation] = violations([*right(), assigned, taken, *growing, intent(5, "vm1/1", 5, 3)])
    assert violation == "partition 0: enforcer intends (5, 3) for vm1/1 after (9, 1): an older decision"
