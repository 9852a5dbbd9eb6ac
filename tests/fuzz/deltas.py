"""`traffic.deltas`: any records, decoded and applied to a tracker that has services, plans and adjustments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from stream.core.model import Deltas, Event, Malformed, Record
from stream.core.page import Page
from stream.core.tracker import Drained, Tracker
from stream.ports import DELTAS, MAX_RECORD_BYTES, Message
from stream.wire import Decoder, decode_outcome, encode_dead_letter, encode_outcome, encode_page
from tests.core.driving import partition_of
from tests.core.feeding import DAY, GIB, HOUR, MINUTE, MONTH, T0, VPN, small
from tests.fuzz.mutation import Draw

NOW = T0 + HOUR
"""The append time of all records."""
MOST_LETTER_BYTES = 256 * 1024
"""The first 64 KiB of what is rejected, each character six bytes at most as JSON writes it, less what is cut there."""
LABEL = re.compile("[a-zA-Z_ ]{4,60}(: |$)")
"""What stands before the first colon of a reason is a metric's label."""
MANY = 24
PLANS = {
    "vpn": VPN,
    "month": MONTH,
    "small": small(warn=80),
    "own": small(window={"kind": "calendar", "unit": "month", "timezone": "Europe/Berlin", "anchor_day": "service"})
    | {"profiles": [{**small()["profiles"][0], "quota": "service"}, small()["profiles"][1]]},
}
MAPPINGS = {
    "netflow": {
        "service": "vm1/{vm.id}",
        "start": {"field": "begin", "format": "rfc3339"},
        "duration": {"field": "seconds", "format": "s"},
        "in": {"field": "kilobits", "factor": 125},
        "out": {"field": "sent", "factor": "0.001"},
    },
    "total": {
        "service": "{host}",
        "end": {"field": "time", "format": "ns"},
        "duration": 300_000,
        "in": {"field": "total"},
    },
}


def registration(service: str, *plans: str, **more: Any) -> dict[str, Any]:
    return {"type": "registration", "service": service, "plans": list(plans), "at": T0, **more}


def adjustment(id: str, service: str, kind: str, at: int = T0, **more: Any) -> dict[str, Any]:
    return {"type": "adjustment", "id": id, "service": service, "kind": kind, "by": "anna", "why": "", "at": at, **more}


def delta(service: str, end: int, in_: int, out: int = 0, **more: Any) -> dict[str, Any]:
    return {"service": service, "start": T0, "end": end, "in": in_, "out": out, **more}


def batch(end: int, services: Sequence[str], **more: Any) -> dict[str, Any]:
    columns = {"services": list(services), "in": [1000] * len(services), "out": [0] * len(services)}
    return {"type": "batch", "source": "vm1", "start": T0, "end": end, **columns, **more}


POLLED = [f"vm1/one of many that are polled together, number {number}" for number in range(MANY)]
"""A batch of them is long enough for the decoder's quick way."""
HISTORY: Sequence[dict[str, Any]] = (
    {"type": "plans", "version": 3, "plans": PLANS, "mappings": MAPPINGS},
    registration("vm1/1", "vpn", labels={"name": "a.example.com"}),
    registration("vm1/2", "month"),
    registration("vm1/3", "vpn", "month", "small"),
    registration("vm2/1", "own", quota=5000, anchor_day=31, source="elsewhere"),
    registration("vm2/2"),
    *(registration(service, "vpn") for service in POLLED),
    delta("vm1/1", T0 + MINUTE, 700_000_000),
    delta("vm1/3", T0 + MINUTE, 1_100_000_000, backfill=True),
    delta("vm1/3", T0 + 2 * MINUTE, 1_100_000_000, 7),
    delta("vm2/1", T0 + MINUTE, 4500),
    batch(T0 + MINUTE, POLLED),
    adjustment("1", "vm1/1", "credit", bytes=GIB),
    adjustment("2", "vm1/2", "exempt", until=T0 + DAY),
    adjustment("3", "vm1/3", "pin", plan="vpn", profile="10Mbit", until=None),
    {"type": "watermark", "source": "vm1", "at": T0 + MINUTE},
)
"""How the tracker came to be as each input finds it."""

SEEDS: Sequence[bytes] = tuple(
    orjson.dumps(document)
    for document in (
        delta("vm1/1", T0 + 5 * MINUTE, 900_000_000, 5, source="vm1"),
        delta("vm1/2", T0 + 5 * MINUTE, 1 << 40, backfill=True),
        delta("vm2/1", T0 + 50 * MINUTE, 9000),
        delta("vm2/2", T0 + MINUTE, 1),
        delta("vm9/9", T0 + MINUTE, 1),
        delta("elsewhere/1", T0 + MINUTE, 1),
        batch(T0 + 2 * MINUTE, ["vm1/1", "vm1/2", "vm1/3", "vm9/9"]),
        batch(T0 + 2 * MINUTE, ["vm1/1", "vm1/1"])
        | {"start": [T0, T0 + MINUTE], "end": [T0 + MINUTE, T0 + 2 * MINUTE]},
        batch(T0 + 3 * MINUTE, POLLED),
        batch(T0 + 4 * MINUTE, POLLED, backfill=False) | {"end": [T0 + 4 * MINUTE] * MANY},
        registration("vm1/4", "vpn", "month", source="vm1", quota=None, labels={"account": "7"}),
        registration("vm1/1", "month"),
        registration("vm2/9", "own", quota=1000, anchor_day=1),
        {"type": "deregistration", "service": "vm1/1", "at": T0 + MINUTE},
        {"type": "watermark", "source": "vm1", "at": T0 + 2 * MINUTE},
        adjustment("4", "vm1/1", "credit", T0 + MINUTE, bytes=GIB, plan="vpn"),
        adjustment("5", "vm1/3", "exempt", T0 + MINUTE, until=T0 + DAY, plan=None),
        adjustment("6", "vm1/1", "pin", T0 + MINUTE, plan="vpn", profile="25Mbit", until=T0 + DAY),
        adjustment("7", "vm1/3", "unpin", T0 + MINUTE),
        adjustment("8", "vm1/3", "reset", T0 + MINUTE, plan="vpn"),
        adjustment("1", "vm1/1", "credit", bytes=GIB),
        {"type": "plans", "version": 4, "plans": PLANS, "mappings": MAPPINGS},
        {"type": "plans", "version": 5, "plans": {"vpn": small(), "month": MONTH}},
        {"type": "forget", "service": "vm1/1", "at": T0},
        {"vm": {"id": 1}, "begin": "2025-12-01T00:00:00.25+00:00", "seconds": 0.5, "kilobits": 1.5, "sent": "12000.5"},
        {"type": "total", "host": "vm1/3", "time": (T0 + 9 * MINUTE) * 1_000_000, "total": 7, "trace": [1]},
    )
)


class DeltasSubject:
    def __init__(self) -> None:
        self._home = Tracker(0, partition_of)
        self._home.apply(_decoded([orjson.dumps(each) for each in HISTORY]), len(HISTORY))
        assert not self._home.drain().dead_letters, "every record of the history is good"
        self._pages = {page.key: page for page in self._home.dirty_pages()}
        self._content = {key: encode_page(page, 1) for key, page in self._pages.items()}
        self._home.clean()
        self._tracker = self._restored(self._home.meta(), self._pages)

    @staticmethod
    def _restored(meta: dict[str, Any], pages: dict[str, Page]) -> Tracker:
        tracker = Tracker.restore(0, partition_of, meta, sorted(pages.values(), key=lambda page: page.key != "plans"))
        tracker.clean()
        return tracker

    def draw(self, draw: Draw) -> list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
        """Up to four records: value, key, headers."""
        count = 1 if draw.chance(0.6) else 2 + draw.below(3)
        return [(self._value(draw), self._key(draw), self._headers(draw)) for _ in range(count)]

    @staticmethod
    def _value(draw: Draw) -> bytes | None:
        return None if draw.chance(0.01) else draw.json(SEEDS)

    @staticmethod
    def _key(draw: Draw) -> bytes | None:
        return draw.pick((None, None, b"vm1/1", b"", b"\xff\xfe", draw.spoiled_bytes(b"vm1/1"), b"k" * 5000))

    @staticmethod
    def _headers(draw: Draw) -> tuple[tuple[str, bytes], ...]:
        return (
            () if draw.chance(0.9) else ((draw.word(), draw.spoiled_bytes(b"application/json")),) * (1 + draw.below(3))
        )

    def take(self, given: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]) -> bool:
        offset, tracker = self._home.next_offset, self._tracker
        records = [Record(offset + place, NOW, key, value, more) for place, (value, key, more) in enumerate(given)]
        decoder = Decoder(plans_version=tracker.plans_version, mappings=tracker.mappings)
        events = decoder.decode(records)
        tracker.apply(events, offset + len(records))
        assert decoder.plans_version == tracker.plans_version
        drained = tracker.drain()
        self._check(drained)
        assert tracker.next_offset == offset + len(records)
        places = [place for event in events for place in _places(event)]
        refused = {(letter.position.offset, letter.position.index) for letter in drained.dead_letters}
        if refused.issuperset(places):
            self._check_unchanged(drained)
            tracker.next_offset = offset
            return False
        if sum(len(value or b"") for value, _, _ in given) % 4 == 0:  # dear, so of some only
            self._check_durable(tracker)
        self._tracker = self._restored(self._home.meta(), self._pages)
        return True

    @staticmethod
    def _check(drained: Drained) -> None:
        """What it says can be published, and read again as it was meant."""
        for letter in drained.dead_letters:
            assert LABEL.match(letter.reason), f"a metric's label with something of the input in it: {letter.reason}"
            assert letter.cure
            assert _bytes_of(encode_dead_letter(DELTAS, 0, letter)) <= MOST_LETTER_BYTES
        for outcome in drained.outcomes:
            message = encode_outcome(outcome)
            assert _bytes_of(message) <= MAX_RECORD_BYTES
            assert encode_outcome(decode_outcome(message.value)) == message

    def _check_unchanged(self, drained: Drained) -> None:
        assert not drained.outcomes
        for page in self._tracker.dirty_pages():
            assert encode_page(page, 1) == self._content[page.key], f"what was refused changed page {page.key}"
        self._tracker.clean()
        assert self._tracker.meta() | {"next_offset": 0} == self._home.meta() | {"next_offset": 0}

    def _check_durable(self, tracker: Tracker) -> None:
        """A checkpoint can be made of it, which gives the same state."""
        changed = {page.key: page for page in tracker.dirty_pages()}
        for page in changed.values():
            encode_page(page, 1)
        meta = orjson.loads(orjson.dumps(tracker.meta()))
        after = self._restored(meta, self._pages | changed)
        assert canonical(after) == canonical(tracker)


def canonical(tracker: Tracker) -> dict[str, Any]:
    """All that a tracker knows, in a form that does not depend on how it came about."""
    return {
        "next_offset": tracker.next_offset,
        "plans": dict(tracker.plans),
        "mappings": dict(tracker.mappings),
        "plans_version": tracker.plans_version,
        "marks": dict(tracker.marks),
        "services": {name: tracker.service(name) for name in tracker.names()},
    }


def _decoded(values: Sequence[bytes]) -> list[Event]:
    return Decoder().decode([Record(offset, NOW, None, value) for offset, value in enumerate(values)])


def _places(event: Event) -> list[tuple[int, int]]:
    """Of each element: the record's offset, and the place in it."""
    if not isinstance(event, Deltas):
        return [] if isinstance(event, Malformed) else [(event.position.offset, event.position.index)]
    count = len(event.in_)
    offsets = [event.offset] * count if isinstance(event.offset, int) else event.offset.tolist()
    return list(zip(offsets, range(count) if event.index is None else event.index.tolist(), strict=True))


def _bytes_of(message: Message) -> int:
    return len(message.key or b"") + len(message.value or b"")
