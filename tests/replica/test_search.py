"""Search against a plain walk over all services."""

from __future__ import annotations

import asyncio
from functools import reduce
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.adapters.memory import MemoryLog
from stream.core.speed import ORIGINAL, Speed
from stream.core.view import ServiceView
from stream.replica.model import Query, Sort
from stream.replica.search import by_speed
from stream.replica.staging import share_of
from stream.replica.texts import Texts
from tests.core.feeding import T0, small
from tests.replica.stage import Counting, Fixed, following

PLATFORMS = ("vm1", "vm2", "VM10", "r")
WORDS = ("1", "10", "101", "a", "Ab", "aB", "straße", "STRASSE", "ünïcode", "10.0.0.7", "2001:db8::1", "/", "x/y")
PLANS = {"s": small(), "wide": small(window={"kind": "sliding", "slice_ms": 5000, "slices": 2})}

MORE: dict[str, dict[str, Any]] = {"credit": {"bytes": 700}, "exempt": {}, "pin": {"profile": "slow"}}
"""What an adjustment says besides."""

ids = st.builds("{}/{}".format, st.sampled_from(PLATFORMS), st.sampled_from(WORDS) | st.integers(1, 120))
labels = st.dictionaries(st.sampled_from(["name", "account", "ip", "node"]), st.sampled_from(WORDS), max_size=3)
services = st.dictionaries(
    ids,
    st.tuples(
        st.sampled_from([(), ("s",), ("wide",), ("s", "wide")]),
        labels,
        st.sampled_from([0, 100, 999, 5000]),
        st.sampled_from(["none", "credit", "exempt", "pin"]),
    ),
    max_size=40,
)
queries = st.builds(
    Query,
    text=st.sampled_from(["", "", *WORDS, "vm", "vm1/1", "2001:0db8:0::1", "10.0"]),
    exact=st.booleans(),
    platform=st.sampled_from([None, None, "vm1", "r", "nobody"]),
    plan=st.sampled_from([None, None, "s", "wide", "nothing"]),
    profile=st.sampled_from([None, None, "fast", "slow"]),
    slowed=st.sampled_from([None, None, True, False]),
    sort=st.sampled_from(["service", "usage", "changed", "counted_to", "speed"]),
    descending=st.booleans(),
    offset=st.integers(0, 5),
    limit=st.integers(0, 50),
)


def values_of(drawn: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = [{"type": "plans", "version": 1, "plans": PLANS}]
    for number, (name, (plans, own, bytes_, kind)) in enumerate(drawn.items()):
        values.append({"type": "registration", "service": name, "plans": list(plans), "labels": own, "at": T0})
        end = T0 + 1000 + number % 3 * 1000
        values.append({"service": name, "start": T0, "end": end, "in": bytes_, "out": 0})
        if kind != "none":
            wish: dict[str, Any] = {
                "type": "adjustment",
                "id": str(number),
                "service": name,
                "kind": kind,
                "by": "anna",
                "at": T0,
            }
            values.append(wish | MORE[kind])
    return values


def fits(view: ServiceView, query: Query) -> bool:
    texts = [view.service, view.service.partition("/")[2], *(view.labels.get(k, "") for k in ("name", "account", "ip"))]
    wanted = query.text.casefold()
    found = [text.casefold() == wanted if query.exact else text.casefold().startswith(wanted) for text in texts]
    same_address = query.text == "2001:0db8:0::1" and view.labels.get("ip") == "2001:db8::1"
    first = reduce(Speed.least, (Speed(100, 100) for _ in view.plans), ORIGINAL)
    return (
        (not query.text or any(found) or same_address)
        and query.platform in (None, view.service.partition("/")[0])
        and (
            (query.plan, query.profile) == (None, None)
            or any(query.plan in (None, it.plan) and query.profile in (None, it.profile) for it in view.plans)
        )
        and query.slowed in (None, view.speed.least(first) != first)
    )


def key(view: ServiceView, sort: Sort) -> Any:
    return {
        "service": 0,
        "usage": np.float32(share_of(view)),
        "changed": max((each.entered_at for each in view.plans), default=-1),
        "counted_to": view.current.end if view.current else -1,
        "speed": by_speed(view.speed),
    }[sort]


@settings(max_examples=40)
@given(services, st.lists(queries, min_size=1, max_size=12))
def test_as_a_plain_walk_finds_them(drawn: dict[str, tuple[Any, ...]], asked: list[Query]) -> None:
    """Every query gives the services that a walk over the trackers' views gives, in its order, and their number."""

    async def ask() -> None:
        log = MemoryLog(Fixed())
        tracker = Counting(log)
        tracker.count(values_of(drawn), at=T0 + 10_000)
        await tracker.checkpoint()
        async with following(log) as replica:
            views = list(tracker.views().values())
            for query in asked:
                wanted = sorted(
                    (view for view in views if fits(view, query)), key=lambda it: (it.service.casefold(), it.service)
                )
                wanted.sort(key=lambda view: key(view, query.sort))
                if query.descending:
                    wanted.reverse()
                found = replica.search(query)
                assert found.total == len(wanted)
                page = wanted[query.offset : query.offset + query.limit]
                assert [row.service for row in found.rows] == [view.service for view in page]
                for row, view in zip(found.rows, page, strict=True):
                    assert (row.labels, row.speed, row.source) == (view.labels, view.speed, view.source)
                    assert [(it.plan, it.usage_bytes, it.quota_bytes) for it in row.plans] == [
                        (it.plan, it.usage_bytes, it.quota_bytes) for it in view.plans
                    ]

    asyncio.run(ask())


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", *WORDS, "zzz"])), max_size=200), st.integers(1, 20))
def test_texts_stay_in_order(puts: list[tuple[int, str]], every: int) -> None:
    """However texts come, change and go, and whenever somebody looks, the order is that of a list sorted anew."""
    texts, plain = Texts(), dict[int, str]()
    for number, (row, text) in enumerate(puts, 1):
        texts.put(row, text)
        plain[row] = text
        if number % every == 0 or number == len(puts):
            expected = sorted((it.casefold(), it, row) for row, it in plain.items() if it)
            assert [(texts.text(row).casefold(), texts.text(row), row) for row in texts.order.tolist()] == expected
            assert len(texts) == len(expected)
            for wanted in WORDS:
                found = texts.found(wanted).tolist()
                assert found == [row for folded, _, row in expected if folded.startswith(wanted.casefold())]
                exact = texts.row(wanted)
                assert exact == next((row for _, it, row in expected if it == wanted), -1)
