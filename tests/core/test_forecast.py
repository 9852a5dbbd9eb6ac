"""What is called exact happens, whatever comes below its bound; estimates hit if all goes on as of late."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.core.coming import Coming, Forecast
from stream.core.forecast import forecast, ladder_of
from stream.core.pacing import at_pace
from stream.core.service import Service
from stream.core.view import PlanView, ServiceView, view_of
from stream.core.window import part
from tests.core.driving import Core, Json
from tests.core.histories import Record, written
from tests.core.strategies import DAY, Delta, Draft, Register, Span, adjustments, drafts, narrow_drafts
from tests.core.test_oracle_examples import GIB, HOUR, LADDER, MINUTE, MONTH, QUOTA, START, at, local


@st.composite
def standing_plans(draw: st.DrawFn) -> Json:
    """Three profiles over a few seconds, with thresholds and quotas that cross each other."""
    quotas = draw(st.lists(st.sampled_from([600, 1000, 1000, 2500]), min_size=3, max_size=3))
    stays = st.sampled_from([1500, 2000, 3200, 6000])
    limits = st.lists(st.sampled_from([200, 500, 800, 1500]), max_size=2, unique=True).map(sorted)
    names, keep = ("p", "q", "r"), draw(st.booleans())
    ladder: list[Json] = []
    for place, name in enumerate(names):
        above = st.sampled_from(names[:place] or names[:1])
        below = [[limit, draw(above)] for limit in draw(limits)]
        up = {"below": below, "else": draw(st.none() | above) if below else draw(above)} if place else None
        ladder.append(
            {
                "name": name,
                "speed": {"in": 100 - place, "out": None},
                "quota": quotas[place],
                "at": draw(st.sampled_from(["exceeded", "reached"])),
                "down": names[place + 1] if place < 2 else None,
                "stay": draw(stays) if place else None,
                "up": up,
            }
        )
    window = {"kind": "sliding", "slice_ms": 1000, "slices": draw(st.sampled_from([2, 4, 6]))}
    count = {"in": 100, "out": 100}
    return {
        "window": window, "count": count, "on_change": "keep" if keep else "reset", "warn": None, "profiles": ladder,
    }  # fmt: skip


short = st.builds(Span, st.just("ms"), st.sampled_from([2, 500, 1000, 3000]))
standing_bytes = st.tuples(st.sampled_from([0, 100, 300, 500, 700, 1001]), st.just(0))
standing_steps: st.SearchStrategy[Any] = st.one_of(
    st.builds(Delta, st.just(0), st.sampled_from(["next", "grow"]), short, standing_bytes),
    st.builds(Delta, st.just(0), st.just("next"), short, standing_bytes),
    st.builds(Delta, st.just(0), st.just("next"), short, standing_bytes),
    adjustments.map(lambda drawn: replace(drawn, service=0, plan=None)),
)
standing = st.builds(
    Draft,
    st.dictionaries(st.sampled_from(["a", "b"]), standing_plans(), min_size=1).map(lambda plans: (plans,)),
    st.just(START),
    st.just((Register(0, (0, 1), None, (None, None), None),)),
    st.lists(standing_steps, min_size=1, max_size=7).map(tuple),
)
"""In the midst of things: the window partly full, the ladder part of the way down."""

every = st.one_of(drafts, narrow_drafts, standing, standing)


@dataclass
class World:
    """A tracker with a past, and one service of it whose future is told."""

    core: Core
    name: str
    offset: int = 1 << 40

    @property
    def view(self) -> ServiceView:
        view = self.core.tracker.service(self.name)
        assert view is not None
        return view

    @property
    def told(self) -> Forecast:
        return forecast(self.view, self.core.tracker.plans)

    def plan(self, name: str) -> PlanView:
        return next(plan for plan in self.view.plans if plan.plan == name)

    @property
    def horizon(self) -> int:
        """So far one can look without judging ways up too often: many slices of the plan that has the shortest ones."""
        sizes = [part.end - part.start for plan in self.view.plans for part in plan.window[-1:]]
        return self.told.as_of + 300 * min(sizes, default=1)

    def say(self, **value: Any) -> None:
        self.offset += 1
        self.core.take([Record(self.offset, 1 << 47, value)])

    def delta(self, start: int, end: int, in_: int = 0, out: int = 0) -> None:
        """Pieces of at most 400 days."""
        while end - start > 400 * DAY:
            middle = start + 399 * DAY
            self.delta(start, middle, part(in_, start, end, start, middle), part(out, start, end, start, middle))
            in_, out = (part(each, start, end, middle, end) for each in (in_, out))
            start = middle
        self.say(service=self.name, start=start, end=end, **{"in": in_, "out": out})

    def moves(self, plan: str, known: int) -> list[Json]:
        """Of a plan, since `known` outcomes."""
        new = self.core.outcomes[known:]
        return [each for each in new if each["service"] == self.name and each["plan"] == plan and each.get("to")]


def worlds(draft: Draft) -> list[World]:
    core = Core()
    core.take(written(draft))
    return [World(core, name) for name in sorted(core.tracker.names())]


# ---------------------------------------------------------------- from what a replica shows to the ladders


@given(every)
def test_ladders_are_rebuilt_from_a_view(draft: Draft) -> None:
    """Nothing but ledgers is lost between a service's ladders and what is shown of them."""
    for world in worlds(draft):
        view = world.view
        ladders = [ladder_of(view, plan, world.core.tracker.plans[plan.plan]) for plan in view.plans]
        again = view_of(Service(view.service, 0, 0, ladders, source="", floor=view.time))
        assert [replace(plan, ledger=view.plans[0].ledger) for plan in again.plans] == [
            replace(plan, ledger=view.plans[0].ledger) for plan in view.plans
        ]


# ---------------------------------------------------------------- what is exact


@dataclass(frozen=True)
class Future:
    """Traffic between now and an instant, in few words."""

    cuts: tuple[int, ...]
    """Thousandths of the way."""
    shares: tuple[int, ...]
    """Of the bytes that are allowed, by piece."""
    percent: int
    """Of what is allowed."""
    beyond: int
    """Milliseconds by which the last delta ends after the instant."""
    late: bool
    """Some bytes come late, for the time before now."""


futures = st.builds(
    Future,
    st.lists(st.integers(1, 999), max_size=4).map(lambda cuts: tuple(sorted(set(cuts)))),
    st.lists(st.integers(0, 3), min_size=5, max_size=5).map(tuple),
    st.sampled_from([100, 100, 50, 0]),
    st.sampled_from([0, 0, 1, 700, 5000]),
    st.booleans(),
)


def live(world: World, future: Future, coming: Coming) -> int:
    """Traffic up to the instant, less than may be.  Returns what of it was counted until then, in hundredths."""
    now, until = world.told.as_of, max(coming.at, world.told.as_of + 1)
    plan, current = world.core.tracker.plans[coming.plan], world.view.current
    way, weight = ("in_", plan.weight_in) if plan.weight_in else ("out", plan.weight_out)
    most = (1 << 40 if coming.below is None else (coming.below - 1) // weight) * future.percent // 100
    edges = sorted({now, *(now + (until - now) * cut // 1000 for cut in future.cuts), until})
    shares = future.shares[: len(edges) - 1]
    bytes_ = [most * share // (sum(shares) or 1) for share in shares]
    late = bytes_[0] // 2 if future.late and current is not None and len(bytes_) > 1 else 0
    for start, end, own in zip(edges[:-2], edges[1:-1], [bytes_[0] - late, *bytes_[1:]], strict=False):
        world.delta(start, end, **{way: own})
    if late and current is not None:
        counted = {"in_": current.in_, "out": current.out}
        world.delta(current.start, current.end, **counted | {way: counted[way] + late})
    start, end = edges[-2], until + future.beyond
    last = bytes_[-1] * (end - start) // (until - start)
    world.delta(start, end, **{way: last})
    used = weight * sum(bytes_[:-1]) + part(weight * last, start, end, start, until)
    assert coming.below is None or used < coming.below
    return used


@settings(max_examples=2 * (settings.default or settings()).max_examples)
@given(every, st.lists(futures, min_size=3, max_size=3))
def test_what_is_exact_happens(draft: Draft, drawn: Sequence[Future]) -> None:
    """Whatever comes below the bound: the way up, the step down, the ends of stays, rests, credits and periods."""
    for world in worlds(draft):
        for number, coming in enumerate(world.told.exact):
            if coming.at < world.horizon:
                check(deepcopy(world), drawn[number % len(drawn)], coming)


def check(world: World, future: Future, coming: Coming) -> None:
    before, known = world.view, len(world.core.outcomes)
    alike = [each for each in world.told.exact if (each.plan, each.kind) == (coming.plan, coming.kind)]
    used = live(world, future, coming)
    moves = world.moves(coming.plan, known)
    plan = world.plan(coming.plan)
    if coming.kind in ("up", "down"):
        expected = next(each for each in alike if each.below is None or used < each.below)
        assert expected.at == coming.at
        until = [each for each in moves if each["at"] <= coming.at]
        assert {each["at"] for each in until} == {coming.at}
        assert (until[-1]["to"], until[-1]["profile_speed"]) == (expected.profile, tuple(expected.speed))
        others = [[each.due for each in view.plans if each.plan != coming.plan] for view in (before, world.view)]
        if others[0] == others[1] and not future.beyond:
            assert world.view.speed == expected.due
    elif coming.kind == "credit_ends":
        assert all(credit.expires_at > coming.at for credit in plan.credits)
    elif coming.kind == "exempt_ends":
        assert plan.exempt_until is None
    elif coming.kind == "pin_ends":
        assert plan.pinned is None
    elif coming.kind == "period":
        assert future.beyond or plan.usage_bytes == 0
    else:
        assert all(each["at"] >= coming.at for each in moves)


@settings(max_examples=3 * (settings.default or settings()).max_examples)
@given(every)
def test_nothing_else_happens_in_silence(draft: Draft) -> None:
    """Without traffic the first move of each plan is the first one that is told, and none comes if none is told."""
    for world in worlds(draft):
        told, known = world.told, len(world.core.outcomes)
        if world.view.backfilling:
            continue
        promised = {each.plan: each for each in reversed(told.exact) if each.kind in ("up", "down")}
        horizon = world.horizon
        world.delta(told.as_of, horizon)
        for plan in told.plans:
            first = next(iter(world.moves(plan.plan, known)), None)
            expected = promised.get(plan.plan)
            if expected is None or expected.at > horizon:
                assert first is None
            else:
                assert first is not None
                assert first["at"] == expected.at


# ---------------------------------------------------------------- by hand


def one(plan: Json, start: int = START) -> World:
    world = World(Core(), "vm1/1")
    world.say(type="plans", version=1, plans={"p": plan})
    world.say(type="registration", service="vm1/1", plans=["p"], at=start)
    return world


def told(world: World, *kinds: str) -> list[tuple[Any, ...]]:
    kinds = kinds or ("up", "down")
    return [(each.kind, each.at, each.profile, each.below) for each in world.told.exact if each.kind in kinds]


def slowest() -> World:
    """At 10Mbit since minute 15; the stay ends at minute 75."""
    world = one(LADDER)
    for minute in (0, 5, 10):
        world.delta(at(minute), at(minute + 5), QUOTA + 1)
    return world


def test_each_way_up_is_told_with_what_may_be_used() -> None:
    """The seed's last profile: three ways up at one instant, each with its bytes, less what lies in the window."""
    world = slowest()
    used = 100 << 20
    world.delta(at(20), at(35), used)
    left = [100 * limit - 100 * used for limit in (349_525_333, 699_050_666, QUOTA)]
    assert told(world) == [
        ("up", at(75), name, bytes_) for name, bytes_ in zip(("default", "50Mbit", "25Mbit"), left, strict=True)
    ]
    assert told(world, "stay") == [("stay", at(75), "10Mbit", None)]


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(("number", "better", "worse"), [(0, "default", "50Mbit"), (1, "50Mbit", "25Mbit")])
def test_a_bound_is_sharp_to_the_byte(number: int, better: str, worse: str, more: int) -> None:
    """A byte less than the bound keeps the promise, the bound itself breaks it."""
    world = slowest()
    world.delta(at(20), at(35), 77_777)
    bound = world.told.exact[1 + number].below_bytes
    assert bound is not None
    world.delta(at(35), at(75), bound - 1 + more)
    assert world.core.outcomes[-1]["to"] == (worse if more else better)


def test_a_bound_that_keeps_from_falling_is_sharp() -> None:
    """At 50Mbit what is left to the next step down bounds the promise, though the window drains until then."""
    world = one(LADDER)
    world.delta(at(0), at(5), QUOTA + 1)
    world.delta(at(5), at(10), QUOTA - 500)
    assert told(world) == [("up", at(65), "default", 100 * 500 + 1)]
    world.delta(at(10), at(11), 501)
    assert world.core.outcomes[-1]["to"] == "25Mbit"


def test_the_first_edge_at_which_a_way_up_is_possible() -> None:
    """At the end of the stay too much is in the window: the edges at which a slice leaves it are looked through."""
    world = one(LADDER)
    world.delta(at(0), at(5), QUOTA + 1)
    world.delta(at(5), at(50), 0)
    world.delta(at(50), at(60), QUOTA)
    assert told(world) == [("up", at(110), "default", 1)]
    world.delta(at(60), at(110), 0)
    assert (world.core.outcomes[-1]["at"], world.core.outcomes[-1]["to"]) == (at(110), "default")


def test_a_month_is_lifted_at_the_rollover_in_any_case() -> None:
    """Whatever else is used in March, full speed comes with April, and the count begins anew."""
    world = one(MONTH, local("2026-03-01"))
    world.delta(local("2026-03-01"), local("2026-03-20"), 1024 * GIB)
    april = local("2026-04-01")
    assert told(world, "up", "stay", "period") == [
        ("period", april, "slow", None),
        ("stay", april, "slow", None),
        ("up", april, "full", None),
    ]


def test_where_no_quota_ends_it_the_last_way_up_is_there_in_any_case() -> None:
    """A profile without a quota: above all thresholds the way up is `else`, whatever is used."""
    profiles = [*LADDER["profiles"][:3], LADDER["profiles"][3] | {"quota": None}]
    world = one(LADDER | {"profiles": profiles})
    for minute in (0, 5, 10):
        world.delta(at(minute), at(minute + 5), QUOTA + 1)
    assert told(world)[-1] == ("up", at(75), "25Mbit", None)


def test_a_credit_that_ends_takes_its_speed_along() -> None:
    """Over the quota but for a credit: down when it expires, unless the window drains first."""
    world = one(LADDER)
    world.delta(at(0), at(1), 0)
    world.say(type="adjustment", id="1", service="vm1/1", kind="credit", by="anna", why="", bytes=QUOTA, at=at(1))
    world.delta(at(1), at(10), 0)
    world.delta(at(10), at(20), QUOTA + 5)
    assert told(world, "credit_ends", "down", "up") == [
        ("credit_ends", at(60), "default", None),
        ("down", at(60), "50Mbit", 100 * (QUOTA - 5) + 1),
    ]
    world.delta(at(20), at(60), 0)
    assert (world.core.outcomes[-1]["at"], world.core.outcomes[-1]["to"]) == (at(60), "50Mbit")


def test_a_stay_is_told_with_the_bound_that_the_end_of_a_credit_sets() -> None:
    """A credit that expires before the stay ends takes its bytes along: no more than the quota may be used."""
    world = one(LADDER)
    world.delta(at(0), at(10), QUOTA + 1)
    world.say(type="adjustment", id="1", service="vm1/1", kind="credit", by="anna", why="", bytes=QUOTA, at=at(5))
    world.delta(at(10), at(15), 300)
    bound = 100 * (QUOTA - 300) + 1
    assert told(world, "credit_ends", "stay", "up") == [
        ("credit_ends", at(60), "50Mbit", None),
        ("stay", at(70), "50Mbit", bound),
        ("up", at(70), "default", bound),
    ]
    world.delta(at(15), at(50), QUOTA - 299)
    world.delta(at(50), at(60), 0)
    assert (world.core.outcomes[-1]["at"], world.core.outcomes[-1]["to"]) == (at(60), "25Mbit")


def between(stay: int) -> Json:
    """Below 500 bytes the way up leads to x, whose quota is 250; from there on to y."""
    speed = {"in": 10, "out": 10}
    return LADDER | {
        "window": {"kind": "sliding", "slice_ms": 10 * MINUTE, "slices": 2},
        "on_change": "keep",
        "profiles": [
            {"name": "x", "speed": speed, "quota": 250, "down": "z"},
            {"name": "y", "speed": speed},
            {"name": "z", "speed": speed, "stay": stay, "up": {"below": [[500, "x"]], "else": "y"}},
        ],
    }


@pytest.mark.parametrize(("used", "then"), [(250, (25, "x")), (251, (30, "x"))])
def test_a_kept_window_must_be_within_the_quota_that_it_rises_to(used: int, then: tuple[int, str]) -> None:
    """Below its threshold and yet over the target's quota there is no way up, until a slice has left the window."""
    world = one(between(15 * MINUTE))
    world.delta(at(0), at(10), 300)
    world.delta(at(10), at(12), 0)
    assert told(world) == [("up", at(25), "x", 100 * 250 + 1)]
    world.delta(at(12), at(20), used)
    world.delta(at(20), at(30), 0)
    minute, name = then
    assert (world.core.outcomes[-1]["at"], world.core.outcomes[-1]["to"]) == (at(minute), name)


@pytest.mark.parametrize(("used", "then"), [(199, (20, "x")), (200, (15, "y"))])
def test_more_traffic_may_open_another_way_up_sooner(used: int, then: tuple[int, str]) -> None:
    """From 250 to 500 bytes there is no way up here: what is used until a later instant must not lead out of that."""
    world = one(between(5 * MINUTE))
    world.delta(at(0), at(10), 300)
    world.delta(at(10), at(12), 0)
    assert told(world) == [("up", at(20), "x", 100 * 200)]
    world.delta(at(12), at(15), used)
    world.delta(at(15), at(20), 0)
    minute, name = then
    assert (world.core.outcomes[-1]["at"], world.core.outcomes[-1]["to"]) == (at(minute), name)


def test_an_exemption_ends_and_then_the_way_up_is_judged() -> None:
    """Exempt beyond its stay, a slowed service learns when both are over; what it uses meanwhile is counted."""
    world = slowest()
    world.say(type="adjustment", id="1", service="vm1/1", kind="exempt", by="anna", why="", until=at(100), at=at(15))
    assert told(world, "exempt_ends", "stay") == [("exempt_ends", at(100), "10Mbit", None)]
    assert told(world)[0] == ("up", at(100), "default", 100 * 349_525_333)


def test_an_endless_pin_has_no_end() -> None:
    """Nothing comes by itself to what is pinned until somebody unpins it."""
    world = slowest()
    world.say(
        type="adjustment", id="1", service="vm1/1", kind="pin", by="anna", why="", plan="p", profile="25Mbit", at=at(15)
    )
    assert world.told.exact == []
    assert world.told.plans[0].estimate is None


def test_what_is_due_then_is_the_least_of_all_plans() -> None:
    """The way up of one plan does not outrun what another one makes due."""
    world = World(Core(), "vm1/1")
    slow = LADDER | {"profiles": [LADDER["profiles"][3] | {"name": "only", "speed": {"in": 20, "out": 20}, "up": None}]}
    world.say(type="plans", version=1, plans={"p": LADDER, "q": slow})
    world.say(type="registration", service="vm1/1", plans=["p", "q"], at=START)
    world.delta(at(0), at(5), QUOTA + 1)
    world.delta(at(5), at(10), QUOTA + 1)
    world.delta(at(10), at(15), QUOTA + 1)
    up = next(each for each in world.told.exact if each.kind == "up")
    assert (tuple(up.speed), tuple(up.due)) == ((100, 100), (20, 20))


# ---------------------------------------------------------------- estimates


def test_this_hours_pace_leads_down() -> None:
    """600 MB in half an hour: the quota of 1000 MiB is passed 22 minutes and 26 seconds later."""
    world = one(LADDER)
    world.delta(at(0), at(30), 600_000_000)
    estimate = world.told.plans[0].estimate
    assert estimate is not None
    assert (estimate.kind, estimate.profile, estimate.exact) == ("down", "50Mbit", False)
    assert estimate.at == at(30) + 448_576_000 * 30 * MINUTE // 600_000_000 + 1


def test_nobody_is_told_a_pace_of_a_minute() -> None:
    """Too little is known of a service that has just begun, or whose window was just emptied."""
    world = one(LADDER)
    world.delta(at(0), at(1), 600_000_000)
    assert world.told.plans[0].pace is None
    world.delta(at(1), at(8), 600_000_000)
    assert world.view.plans[0].profile == "50Mbit"
    assert world.told.plans[0].pace is None


megabytes = st.lists(st.integers(0, 300), min_size=2, max_size=10)


@given(megabytes, st.sampled_from([LADDER, LADDER | {"on_change": "keep"}, MONTH]), st.integers(6, 20))
def test_an_estimate_hits_if_all_goes_on_as_of_late(past: Sequence[int], plan: Json, step: int) -> None:
    """Polled as often as it may be, the service moves at the first poll after the instant, to that profile."""
    world = one(plan)
    start, scale = START, 1 if plan is not MONTH else 4000
    for amount in past:
        world.delta(start, start + step * MINUTE, amount * scale * 1_000_000)
        start += step * MINUTE
    forecast_ = world.told.plans[0]
    assume(forecast_.pace is not None)
    pace, estimate = forecast_.pace, forecast_.estimate
    assert pace is not None
    assume(_is_clear(world, estimate))
    known, horizon = len(world.core.outcomes), start + 3 * HOUR if estimate is None else estimate.at + MINUTE
    poll = max(MINUTE, (horizon - start) // 200)
    horizon += poll
    sent, time = 0, start
    while time < horizon and not world.moves("p", known):
        total = pace.over(time + poll - start) // 100
        world.delta(time, time + poll, total - sent)
        sent, time = total, time + poll
    first = next(iter(world.moves("p", known)), None)
    if estimate is None or first is None:
        assert (first, estimate) == (None, None)
        return
    assert first["to"] == estimate.profile
    assert estimate.at <= first["at"] <= estimate.at + poll if estimate.kind == "down" else first["at"] == estimate.at


def _is_clear(world: World, estimate: Coming | None) -> bool:
    """Whether a ten-thousandth more or less makes no difference."""
    view = world.view
    ladder = ladder_of(view, view.plans[0], world.core.tracker.plans["p"])
    pace = world.told.plans[0].pace
    assert pace is not None
    assert view.time is not None
    found = [at_pace(ladder, view.time, replace(pace, amount=pace.amount * n // 10_000)) for n in (9_999, 10_001)]
    expected = None if estimate is None else (estimate.profile, estimate.at // MINUTE)
    return all((each and (each.to, each.at // MINUTE)) == expected for each in found)
