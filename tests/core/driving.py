"""The core and the oracle, driven by the same records and made comparable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import orjson

from stream.core import model
from stream.core.tracker import Tracker
from stream.core.view import PlanView, ServiceView
from stream.wire import Decoder, decode_page, encode_page
from tests.core.histories import Record
from tests.oracle.partition import Partition

Json = dict[str, Any]


def partition_of(service: str) -> int:
    return 1 if service.startswith("elsewhere/") else 0


# ---------------------------------------------------------------- the oracle


class Oracle(Partition):
    def __init__(self) -> None:
        super().__init__(0, partition_of)

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            self.apply(record.offset, record.appended, record.value)


# ---------------------------------------------------------------- the core


class Core:
    """A tracker with the decoder before it.  `outcomes` and `rejects` collect what it told."""

    def __init__(self, few: int = 1) -> None:
        """`few` as of the tracker: with 1 all that can be is counted by columns."""
        self.few = few
        self.tracker = Tracker(0, partition_of, few=few)
        self.decoder = Decoder()
        self.pages: dict[str, bytes] = {}
        self.outcomes: list[Json] = []
        self.rejects: list[tuple[int, int]] = []

    def take(self, records: Sequence[Record], *, event_by_event: bool = False) -> None:
        """Decode them together; apply them together, or each event by itself."""
        if not records:
            return
        read = [model.Record(each.offset, each.appended, None, each.encoded()) for each in records]
        events = self.decoder.decode(read)
        for some in [[event] for event in events] if event_by_event else [events]:
            self.tracker.apply(some, records[-1].offset + 1)
        self.drain()

    def drain(self) -> None:
        drained = self.tracker.drain()
        self.outcomes += map(told, drained.outcomes)
        self.rejects += [(letter.position.offset, letter.position.index) for letter in drained.dead_letters]

    def restore(self) -> None:
        """As after a crash: a new tracker from what the old one would have stored."""
        self.pages |= {page.key: encode_page(page, 1) for page in self.tracker.dirty_pages()}
        self.tracker.clean()
        meta = orjson.loads(orjson.dumps(self.tracker.meta()))
        pages = [decode_page(page)[0] for page in self.pages.values()]
        self.tracker = Tracker.restore(0, partition_of, meta, pages, few=self.few)


def pieces(records: Sequence[Record], cuts: Iterable[int]) -> Iterator[Sequence[Record]]:
    places = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    for first, last in pairwise(places):
        yield records[first:last]


# ---------------------------------------------------------------- what they say, in one form


def told(outcome: model.Decision | model.QuotaWarning) -> Json:
    said: Json = {
        "service": outcome.service,
        "incarnation": outcome.incarnation,
        "plan": outcome.plan,
        "at": outcome.at,
        "usage_bytes": outcome.usage_bytes,
        "quota_bytes": outcome.quota_bytes,
        "window": None if outcome.window is None else [tuple(slice_) for slice_ in outcome.window],
        "plans_version": outcome.plans_version,
        "input": (outcome.input.offset, outcome.input.index),
        "partition": outcome.partition,
    }
    if isinstance(outcome, model.QuotaWarning):
        return said | {"type": "warning", "profile": outcome.profile, "percent": outcome.percent}
    return said | {
        "type": "decision",
        "revision": outcome.revision,
        "reason": outcome.reason,
        "speed": tuple(outcome.speed),
        "from": outcome.from_,
        "to": outcome.to,
        "profile_speed": None if outcome.profile_speed is None else tuple(outcome.profile_speed),
        "adjustment": outcome.adjustment and dict(outcome.adjustment),
    }


LEFT_OUT = dict.fromkeys(("plan", "from", "to", "profile_speed", "usage_bytes", "quota_bytes", "window"))


def told_by_oracle(oracle: Oracle) -> list[Json]:
    return [LEFT_OUT | said if said["type"] == "decision" else said for said in oracle.outcomes]


def state_of(core: Core) -> Json:
    """As `Partition.export` tells it."""
    views = {name: core.tracker.service(name) for name in core.tracker.names()}
    return {name: exported(view) for name, view in views.items() if view is not None}


def exported(view: ServiceView) -> Json:
    return {
        "incarnation": view.incarnation,
        "revision": view.revision,
        "source": view.source,
        "labels": dict(view.labels),
        "quota": view.quota,
        "anchor_day": view.anchor_day,
        "time": view.time,
        "current": None if view.current is None else tuple(view.current),
        "previous": None if view.previous is None else tuple(view.previous),
        "accepted": (view.accepted_in, view.accepted_out),
        "stale": (view.stale_in, view.stale_out),
        "backfilling": view.backfilling,
        "speed": tuple(view.speed),
        "ladders": [exported_plan(plan) for plan in view.plans],
    }


def exported_plan(plan: PlanView) -> Json:
    return {
        "plan": plan.plan,
        "profile": plan.profile,
        "due": tuple(plan.due),
        "entered_at": plan.entered_at,
        "stay_until": plan.stay_until,
        "next_up": plan.next_up,
        "quota_bytes": plan.quota_bytes,
        "amounts": [
            (slice_.start, slice_.end, amount) for slice_, amount in zip(plan.window, plan.amounts, strict=True)
        ],
        "warned": plan.warned,
        "since": plan.since,
        "counted_from": plan.counted_from,
        "credits": [tuple(credit) for credit in plan.credits],
        "exempt_until": plan.exempt_until,
        "pin": None if plan.pinned is None else (plan.pinned, plan.pinned_until),
        "ledger": {name: getattr(plan.ledger, name) for name in ("accepted", "counted", "late", "clipped")},
    }
