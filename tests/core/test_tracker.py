"""The tracker around the ladders: registrations, time, plans that change, what is refused, what is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream.core.errors import Corrupt
from stream.core.joining import joined
from stream.core.model import Decision, Deltas, Malformed, Names, Plans, Position, Registration, Watermark
from stream.core.page import Page
from stream.core.plan import Plan
from stream.core.speed import ORIGINAL, Speed
from stream.core.storing import plans_page
from stream.core.tracker import AT_ONCE, MOST_SOURCES, Tracker
from stream.core.view import ServiceView
from tests.core.feeding import DAY, MONTH, T0, Feed, decision, local, moves, small


class TestRegistration:
    def test_a_new_service_is_a_decision(self) -> None:
        """So that the first profile's speed is enforced as well; its incarnation is the record's offset."""
        feed = Feed(p=small())
        registered = decision(feed.register("p", at=T0, labels={"account": "7"}))
        assert (registered.reason, registered.at, registered.speed) == ("registered", T0, Speed(100, 100))
        assert (registered.incarnation, registered.revision, registered.plan) == (1, 1, None)
        assert feed.view().labels == {"account": "7"}
        assert feed.view().time is None

    def test_again_it_sets_plans_labels_and_source_alone(self) -> None:
        """The same set of plans decides nothing; quota and anchor day stay."""
        feed = Feed(p=small(), q=small())
        feed.register("p", "q", quota=5, labels={"a": "b"})
        assert feed.register("q", "p", quota=6, anchor_day=3, source="other", labels={"c": "d"}) == []
        view = feed.view()
        assert [plan.plan for plan in view.plans] == ["q", "p"]
        assert (view.quota, view.anchor_day, view.source, view.labels) == (5, None, "other", {"c": "d"})

    def test_a_plan_that_comes_later_begins_at_the_services_time(self) -> None:
        """With an empty window and `since`; one that goes takes its profile along."""
        feed = Feed(p=small(), q=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 1001)
        changed = decision(feed.register("p", "q", at=T0 + 77))
        assert (changed.reason, changed.at, changed.plan) == ("plans_changed", T0 + 1000, None)
        assert (feed.plan("q").since, feed.plan("q").entered_at) == (T0 + 1000, T0 + 1000)
        feed.delta(T0, T0 + 2000, 1011)
        assert (feed.plan("q").usage_bytes, feed.plan("q").ledger.accepted) == (10, 1000)
        feed.delta(T0, T0 + 2000, 1015)
        assert decision(feed.register("q")).speed == Speed(100, 100)
        assert decision(feed.register("p", "q")).speed == Speed(100, 100)

    def test_none_is_a_set_of_plans(self) -> None:
        """A service without plans is counted, and due its original speed."""
        feed = Feed(p=small())
        assert decision(feed.register()).speed == ORIGINAL
        feed.delta(T0, T0 + 1000, 5)
        assert feed.view().accepted_in == 5

    @pytest.mark.parametrize(
        ("plans", "own", "reason"),
        [
            (("nobody",), {}, "unknown plan: nobody"),
            (("p", "p"), {}, "plan listed twice"),
            (tuple("abcdefghi"), {}, "too many plans"),
            (("own",), {"anchor_day": 4}, "quota is missing: "),
            (("own",), {"quota": 4}, "anchor_day is missing: "),
        ],
    )
    def test_refused(self, plans: tuple[str, ...], own: dict[str, Any], reason: str) -> None:
        """With a reason and a cure; nobody is registered then."""
        needy: Any = small(window={"kind": "calendar", "unit": "month", "timezone": "UTC", "anchor_day": "service"})
        needy["profiles"][0]["quota"] = "service"
        feed = Feed(p=small(), own=needy)
        assert feed.register(*plans, **own) == []
        [letter] = feed.letters
        assert letter.reason.startswith(reason)
        assert letter.cure
        assert json.loads(letter.value)["service"] == "vm1/1"
        assert list(feed.tracker.names()) == []

    def test_own_quota_and_anchor_day(self) -> None:
        """Each service's period and quota are its own."""
        month: Any = MONTH | {"window": MONTH["window"] | {"anchor_day": "service"}}
        month["profiles"] = [month["profiles"][0] | {"quota": "service"}, month["profiles"][1]]
        feed = Feed(month=month)
        at = local("Europe/Berlin", 2026, 3, 5)
        for service, day in (("vm1/1", 1), ("vm1/2", 20)):
            feed.register("month", service=service, at=at, quota=100 * day, anchor_day=day)
        feed.batch(["vm1/1", "vm1/2"], [at] * 2, [at + DAY] * 2, [500, 500], [0, 0])
        assert [feed.plan("month", name).profile for name in ("vm1/1", "vm1/2")] == ["slow", "full"]
        assert feed.plan("month", "vm1/2").window[0][:2] == (
            local("Europe/Berlin", 2026, 2, 20),
            local("Europe/Berlin", 2026, 3, 20),
        )

    def test_deregistered_the_row_is_used_again(self) -> None:
        """Its speed is the original; a new incarnation knows nothing of the old one."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 5000)
        gone = decision(feed.deregister(at=T0 + 5))
        assert (gone.reason, gone.at, gone.speed, gone.revision) == ("deregistered", T0 + 1000, ORIGINAL, 3)
        assert feed.tracker.service("vm1/1") is None
        assert feed.deregister() == []
        feed.register("p", service="vm1/2")
        feed.register("p")
        for service in ("vm1/1", "vm1/2"):
            view = feed.view(service)
            assert (view.accepted_in, view.time, view.revision) == (0, None, 1)
        assert feed.view().incarnation == feed.offset


class TestTime:
    def test_watermarks_move_the_time_of_their_source_alone(self) -> None:
        """Never back; a silent service goes up by them."""
        feed = Feed(p=small())
        feed.register("p")
        feed.register("p", service="vm2/1", source="vm2")
        feed.batch(["vm1/1", "vm2/1"], [T0] * 2, [T0 + 1000] * 2, [5000] * 2, [0] * 2)
        assert moves(feed.watermark(T0 + 30_000)) == [(T0 + 11_000, "stay_over", "slow", "fast")]
        assert feed.watermark(T0 + 20_000) == []
        assert (feed.view().time, feed.view("vm2/1").time) == (T0 + 30_000, T0 + 1000)
        assert feed.tracker.counters["watermarks_repeated"] == 1

    def test_a_change_of_source_keeps_the_time(self) -> None:
        """Time never goes back."""
        feed = Feed(p=small())
        feed.register("p")
        feed.watermark(T0 + 30_000)
        feed.register("p", source="other")
        assert feed.view().time == T0 + 30_000
        feed.delta(T0, T0 + 1000, 5)
        assert feed.plan("p").ledger.late == 500
        feed.delta(T0, T0 + 40_000, 6)
        assert feed.view().time == T0 + 40_000

    def test_what_is_overdue_is_made_up_for_at_the_services_time(self) -> None:
        """Instants never go back: a service that comes under a further watermark goes up there."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 5000)
        feed.watermark(T0 + 50_000, source="other")
        feed.register("p", source="other")
        assert moves(feed.watermark(T0 + 60_000, source="other")) == [(T0 + 50_000, "stay_over", "slow", "fast")]

    def test_sources_are_limited(self) -> None:
        """A publisher that invents sources is stopped."""
        feed = Feed(p=small())
        for number in range(MOST_SOURCES):
            feed.watermark(T0, source=str(number))
        feed.watermark(T0, source="one more")
        assert [letter.reason for letter in feed.letters] == ["too many sources"]

    def test_a_backfill_fills_windows_only(self) -> None:
        """Judged, also what was due meanwhile, at the first delta without the mark, even if that adds nothing."""
        feed = Feed(p=small(window={"kind": "sliding", "slice_ms": 1000, "slices": 9}))
        feed.register("p")
        assert feed.delta(T0, T0 + 1000, 5000, backfill=True) == []
        assert feed.delta(T0, T0 + 2000, 5000, backfill=True) == []
        assert feed.view().backfilling
        assert feed.watermark(T0 + 2500) == []
        assert moves(feed.delta(T0, T0 + 3000, 5000)) == [(T0 + 3000, "exceeded", "fast", "slow")]
        assert not feed.view().backfilling

    def test_a_repeat_with_the_mark_is_a_backfill_too(self) -> None:
        """Whatever it adds."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 5)
        feed.delta(T0, T0 + 500, 5, backfill=True)
        assert feed.view().backfilling


class TestPlansThatChange:
    def test_an_older_version_is_ignored(self) -> None:
        """And counted."""
        feed = Feed(p=small())
        feed.plans(1)
        assert list(feed.tracker.plans) == ["p"]
        assert feed.tracker.counters["plans_repeated"] == 1

    def test_a_plan_that_goes_is_lost_to_its_services(self) -> None:
        """One decision; services without it hear nothing."""
        feed = Feed(p=small(), q=small())
        feed.register("p", "q")
        feed.register("q", service="vm1/2")
        assert moves(feed.plans(2, q=small())) == [(T0, "plans_changed", None, None)]
        assert [plan.plan for plan in feed.view().plans] == ["q"]

    def test_a_new_speed_alone(self) -> None:
        """One decision with the speed due."""
        feed = Feed(p=small())
        feed.register("p")
        faster = small()
        faster["profiles"][0]["speed"] = {"in": 500, "out": 100}
        changed = decision(feed.plans(2, p=faster))
        assert (changed.reason, changed.plan, changed.speed) == ("plans_changed", None, Speed(500, 100))

    def test_a_profile_that_goes_maps_to_the_first_one(self) -> None:
        """A move with its reason; the window is not emptied."""
        feed = Feed(p=small(on_change="keep"))
        feed.register("p")
        feed.delta(T0, T0 + 1000, 1001)
        other = small(on_change="keep")
        other["profiles"] = [other["profiles"][0] | {"down": None}]
        assert moves(feed.plans(2, p=other)) == [(T0 + 1000, "plans_changed", "slow", "fast")]
        assert feed.plan("p").usage_bytes == 1001

    def test_another_window_takes_the_bytes_over(self) -> None:
        """Each old slice is counted like a delta over it; ledgers stay."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 2000, 200)
        assert feed.plans(2, p=small(window={"kind": "sliding", "slice_ms": 1500, "slices": 2})) == []
        assert feed.plan("p").amounts == (15_000, 5_000)
        assert feed.plan("p").ledger.accepted == 20_000

    def test_a_quota_that_shrinks_is_judged_at_once(self) -> None:
        """At the service's time."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 600)
        less = small()
        less["profiles"][0]["quota"] = 500
        assert moves(feed.plans(2, p=less)) == [(T0 + 1000, "exceeded", "fast", "slow")]

    def test_a_shorter_stay_opens_the_way_up_at_the_next_event(self) -> None:
        """At the service's time, even if the event itself is older."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 1001)
        feed.delta(T0 + 1000, T0 + 9000)
        shorter = small()
        shorter["profiles"][1]["stay"] = 1000
        assert feed.plans(2, p=shorter) == []
        assert moves(feed.watermark(T0 + 1500)) == [(T0 + 9000, "stay_over", "slow", "fast")]

    def test_other_weights_leave_the_ledger_as_it_was(self) -> None:
        """From then on they count."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 100)
        feed.plans(2, p=small(count={"in": 50, "out": 100}))
        feed.delta(T0, T0 + 2000, 102)
        assert feed.plan("p").ledger.accepted == 10_000 + 100

    def test_a_pin_on_a_profile_that_goes_ends(self) -> None:
        """With a decision."""
        feed = Feed(p=small())
        feed.register("p")
        feed.adjust("pin", plan="p", profile="slow")
        other = small()
        other["profiles"] = [other["profiles"][0] | {"down": None}]
        assert moves(feed.plans(2, p=other)) == [(T0, "unpinned", None, None)]


class TestAdjustments:
    def test_a_repeated_id_is_dropped_for_forty_days(self) -> None:
        """Of append time; a refused one is not remembered."""
        feed = Feed(p=small())
        feed.register("p")
        assert feed.adjust("unpin", id="x") == []
        assert len(feed.adjust("credit", id="x", bytes=5)) == 1
        assert feed.adjust("credit", id="x", bytes=5, appended=T0 + 40 * DAY) == []
        assert len(feed.adjust("credit", id="x", bytes=5, appended=T0 + 40 * DAY + 1)) == 1
        assert feed.tracker.counters["adjustments_repeated"] == 1

    def test_the_decision_says_who_and_why(self) -> None:
        """As the record had it."""
        feed = Feed(p=small())
        feed.register("p")
        credit = decision(feed.adjust("credit", id="x", bytes=5, plan="p"))
        assert credit.adjustment == {"id": "x", "kind": "credit", "by": "anna", "why": "why", "bytes": 5, "plan": "p"}

    @pytest.mark.parametrize(
        ("kind", "more", "reason"),
        [
            ("credit", {}, "credit without bytes"),
            ("credit", {"bytes": 5, "at": T0 - DAY}, "credit raises no quota"),
            ("credit", {"bytes": 5, "plan": "free"}, "credit raises no quota"),
            ("exempt", {}, "exemption without until"),
            ("exempt", {"until": T0}, "until is over: "),
            ("pin", {"plan": "p"}, "pin without plan or profile"),
            ("pin", {"profile": "slow"}, "pin without plan or profile"),
            ("pin", {"plan": "p", "profile": "x"}, "unknown profile: "),
            ("pin", {"plan": "p", "profile": "slow", "until": T0 - 1}, "until is over: "),
            ("unpin", {}, "not pinned"),
            ("reset", {"plan": "q"}, "not a plan of the service: "),
            ("reset", {"service": "vm1/9"}, "not registered: "),
        ],
    )
    def test_refused(self, kind: str, more: dict[str, Any], reason: str) -> None:
        """With a reason and a cure, the service as it was."""
        free = small()
        free["profiles"] = [{"name": "all", "speed": {"in": 1, "out": 1}}]
        feed = Feed(p=small(), free=free)
        feed.register("p", "free")
        feed.watermark(T0)
        before = feed.view()
        assert feed.adjust(kind, **more) == []
        [letter] = feed.letters
        assert letter.reason.startswith(reason)
        assert letter.cure
        assert feed.view() == before


class TestDeadLetters:
    def test_each_element_for_itself(self) -> None:
        """An unknown service and one of another partition, the others are counted; cure and value in each letter."""
        feed = Feed(p=small())
        feed.register("p")
        feed.batch(["vm1/9", "vm1/1", "elsewhere/1"], [T0] * 3, [T0 + 1000] * 3, [1, 2, 3], [0, 0, 0])
        unknown, elsewhere = feed.letters
        assert unknown.reason == "not registered: vm1/9"
        assert "registration" in unknown.cure
        assert json.loads(unknown.value) == {"service": "vm1/9", "start": T0, "end": T0 + 1000, "in": 1, "out": 0}
        assert elsewhere.reason.startswith("wrong partition: ")
        assert "partitioner=murmur2_random" in elsewhere.cure
        assert (unknown.position, elsewhere.position) == (Position(2, 0), Position(2, 2))
        assert feed.view().accepted_in == 2

    def test_a_registration_of_another_partition(self) -> None:
        """Is refused with the same cure."""
        feed = Feed(p=small())
        feed.register("p", service="elsewhere/1")
        assert "partitioner=murmur2_random" in feed.letters[0].cure

    def test_what_the_decoder_refused_passes_through_in_order(self) -> None:
        """Sorted by position, whoever refused it."""
        feed = Feed(p=small())
        bytes_ = np.array([1, 1])
        feed.tracker.apply(
            [
                Deltas(["vm1/8", "vm1/9"], 0, 5, bytes_, bytes_, 7, index=np.array([0, 2])),
                Malformed(Position(7, 1), "no", "yes", b"{}"),
            ],
            8,
        )
        letters = feed.tracker.drain().dead_letters
        assert [letter.position.index for letter in letters] == [0, 1, 2]

    def test_too_much_in_one_window(self) -> None:
        """The delta is refused, the state untouched."""
        feed = Feed(
            p=small(count={"in": 1000, "out": 1000}, window={"kind": "sliding", "slice_ms": 60_000, "slices": 9})
        )
        feed.register("p")
        feed.adjust("exempt", until=T0 + DAY)
        feed.delta(T0, T0 + 1000, 1 << 50, 1 << 50)
        before = feed.view()
        feed.delta(T0 + 1000, T0 + 2000, 1 << 50)
        assert [letter.reason for letter in feed.letters] == ["too much in one window: vm1/1"]
        assert feed.view() == before


class TestBatches:
    def test_order_of_the_moves(self) -> None:
        """By place in the record, then instant, then the order of plans; a service may stand there more than once."""
        feed = Feed(p=small(), q=small())
        for service in ("vm1/1", "vm1/2"):
            feed.register("p", "q", service=service)
        outcomes = feed.batch(
            ["vm1/2", "vm1/2", "vm1/1", "vm1/1"],
            [T0, T0 + 1000, T0, T0 + 500],
            [T0 + 1000, T0 + 20_000, T0 + 500, T0 + 1000],
            [2000, 0, 1001, 5000],
            [0, 0, 0, 0],
        )
        assert [(each.input.index, each.service, each.plan, each.at - T0) for each in outcomes] == [
            (0, "vm1/2", "p", 1000),
            (0, "vm1/2", "q", 1000),
            (1, "vm1/2", "p", 11_000),
            (1, "vm1/2", "q", 11_000),
            (2, "vm1/1", "p", 500),
            (2, "vm1/1", "q", 500),
        ]
        assert [each.revision for each in outcomes if isinstance(each, Decision)] == [2, 3, 4, 5, 2, 3]

    def test_remembered_names_are_looked_up_again_after_a_registration(self) -> None:
        """And after a deregistration, and by another tracker."""
        names = Names(lambda: ["vm1/1", "vm1/2"], 2)
        bytes_ = np.array([1, 1])
        for feed in (Feed(p=small()), Feed(p=small())):

            def poll(feed: Feed, start: int) -> int:
                feed.apply(Deltas(names, start, start + 10, bytes_, bytes_, feed.next().offset))
                return len(feed.letters)

            assert poll(feed, T0) == 2
            feed.register("p", service="vm1/2")
            assert poll(feed, T0 + 10) == 3
            feed.register("p")
            assert poll(feed, T0 + 20) == 3
            feed.deregister("vm1/2")
            assert poll(feed, T0 + 30) == 4
            assert feed.view().accepted_in == 2


class TestKept:
    @staticmethod
    def lived() -> Feed:
        """Something of everything, over more than one page."""
        feed = Feed(p=small(warn=50), q=small(on_change="keep"), month=MONTH)
        names = [f"vm1/{number}" for number in range(600)]
        for number, name in enumerate(names):
            plans = (("p",), ("p", "q"), ("month", "p"), ())[number % 4] if number < 512 else ("month", "q")
            own: dict[str, Any] = {"labels": {"n": name}, "quota": number} if number % 7 == 0 else {}
            feed.register(*plans, service=name, source=f"s{number // 200}", **own)
        rng = np.random.default_rng(1)
        for step in range(1, 12):
            in_ = (rng.integers(0, 300, 600) * step).tolist()
            feed.batch(names, [T0] * 600, [T0 + 700 * step] * 600, in_, [0] * 600)
        feed.watermark(T0 + 60_000, source="s1")
        for number, kind in enumerate(("credit", "exempt", "reset")):
            feed.adjust(kind, service=names[276 * number + 1], bytes=9, until=T0 + DAY, at=T0 + 8000)
        feed.adjust("pin", service="vm1/2", plan="p", profile="slow")
        for number in range(0, 600, 50):
            feed.deregister(names[number])
        feed.register("q", service="vm1/4", source="elsewhere", at=T0 + 9000)
        return feed

    def test_a_restored_tracker_is_the_same(self) -> None:
        """And goes on alike, row by row, decision by decision."""
        feed, twin = self.lived(), self.lived()
        twin.restore()
        assert exported(feed) == exported(twin)
        assert feed.tracker.meta() == twin.tracker.meta()
        for each in (feed, twin):
            each.register("p", service="vm9/1")
            names = list(each.tracker.names())
            count = len(names)
            outcomes = each.batch(names, [T0 + 7700] * count, [T0 + 30_000] * count, [700] * count, [0] * count)
            assert len(outcomes) > 100
            outcomes += each.plans(2, p=small(window={"kind": "sliding", "slice_ms": 1300, "slices": 20}), month=MONTH)
            assert each.adjust("credit", service="vm1/5", bytes=9, at=T0 + 30_000, id="twice")
            assert each.adjust("credit", service="vm1/5", bytes=9, at=T0 + 30_000, id="twice") == []
        assert exported(feed) == exported(twin)

    def test_pages_are_restored_together(self) -> None:
        """Whatever plans and sources they have, and as long as none is missing."""
        pages = self.lived().tracker.dirty_pages()
        assert [page.key for page in joined(pages)] == ["plans", "marks", "0", "ids/0"]
        assert [page.key for page in joined(pages[:2] + pages[3:])] == ["plans", "marks", "1", "ids/0"]
        assert [page.key for page in joined([pages[2], *pages[4:]])] == ["0", "2", "ids/0"]
        assert [page.key for page in joined(reversed(pages))] == ["ids/0", "2", "1", "0", "marks", "plans"]

    def test_no_page_makes_up_for_another(self) -> None:
        """What one has too little is not taken from the next one, which has too much."""
        pages = {page.key: page for page in self.lived().tracker.dirty_pages()}
        zero, one = pages["0"], pages["1"]

        def refused(former: Page, latter: Page) -> None:
            with pytest.raises(Corrupt, match="pages 0 to 1"):
                list(joined([former, latter]))

        both = np.concatenate([zero.columns["incarnation"], one.columns["incarnation"]])
        refused(changed(zero, incarnation=both[:255]), changed(one, incarnation=both[255:]))
        both = np.concatenate([zero.columns["0/total"], one.columns["0/total"]])
        refused(changed(zero, **{"0/total": both[:9]}), changed(one, **{"0/total": both[9:]}))
        for lines in (zero.extras["names"][:-1], zero.extras["names"] + "more\n", "\n" + zero.extras["names"][:-1]):
            refused(Page("0", zero.columns, zero.extras | {"names": lines}), one)
        twice = [zero.extras["tables"][0], *zero.extras["tables"][:-1]]
        refused(Page("0", zero.columns, zero.extras | {"tables": twice}), one)

    def test_only_what_changed_is_written(self) -> None:
        """Pages of 256 services; ids in pages of their own."""
        feed = self.lived()
        assert [page.key for page in feed.tracker.dirty_pages()] == ["plans", "marks", "0", "1", "2", "ids/0"]
        feed.tracker.clean()
        assert feed.tracker.dirty_pages() == []
        feed.delta(T0 + 60_000, T0 + 70_000, 1, service="vm1/301")
        assert [page.key for page in feed.tracker.dirty_pages()] == ["1"]

    def test_a_delta_that_only_counts_is_written_too(self) -> None:
        """Nothing happened but more bytes."""
        feed = Feed(p=small())
        feed.register("p")
        feed.tracker.clean()
        feed.delta(T0, T0 + 1000, 1)
        assert [page.key for page in feed.tracker.dirty_pages()] == ["0"]

    def test_incremental_pages_are_enough(self) -> None:
        """The latest of each key, whenever it was written."""
        feed = self.lived()
        pages = {page.key: page for page in feed.tracker.dirty_pages()}
        feed.tracker.clean()
        feed.delta(T0 + 60_000, T0 + 70_000, 1, service="vm1/301")
        pages |= {page.key: page for page in feed.tracker.dirty_pages()}
        restored = Tracker.restore(0, lambda name: 0, feed.tracker.meta(), pages.values())
        assert {name: restored.service(name) for name in restored.names()} == exported(feed)

    def test_a_page_that_is_missing_is_noticed(self) -> None:
        """Nothing is guessed."""
        feed = self.lived()
        pages = [page for page in feed.tracker.dirty_pages() if page.key != "1"]
        with pytest.raises(Corrupt):
            Tracker.restore(0, lambda name: 0, feed.tracker.meta(), pages)
        with pytest.raises(Corrupt):
            Tracker.restore(1, lambda name: 1, feed.tracker.meta(), pages)

    def test_a_page_that_does_not_fit_together_is_noticed(self) -> None:
        """A column too short, a plan that meta does not name, rows that meta does not have."""
        feed = self.lived()
        meta, pages = feed.tracker.meta(), feed.tracker.dirty_pages()
        short = [
            Page(page.key, {name: each[..., :-1] for name, each in page.columns.items()}, page.extras) for page in pages
        ]
        for wrong_meta, wrong_pages in (
            (meta, short),
            (meta, [plans_page(1, {}, {}), *pages[1:]]),
            (meta, pages[1:]),
            (meta, [page for page in pages if page.key != "marks"]),
            (meta | {"rows": 300}, pages),
            (meta | {"services": 1}, pages),
            (meta, [Page("plans", {}, {"version": 1, "plans": {"p": {}}}), *pages[1:]]),
        ):
            with pytest.raises(Corrupt):
                Tracker.restore(0, lambda name: 0, wrong_meta, wrong_pages)


def changed(page: Page, **columns: Any) -> Page:
    return Page(page.key, page.columns | columns, page.extras)


def exported(feed: Feed) -> dict[str, ServiceView | None]:
    return {name: feed.tracker.service(name) for name in feed.tracker.names()}


class TestQuestions:
    def test_about_all_services(self) -> None:
        """What is due, how far each is counted, how many are where, how old the sources are."""
        feed = Feed(p=small(), q=small())
        feed.register("p", quota=9)
        feed.register("p", "q", service="vm2/1", source="vm2", at=T0 + 1)
        feed.register(service="vm2/2", source="vm2", labels={"a": "b"})
        feed.delta(T0, T0 + 1000, 5000)
        feed.delta(T0, T0 + 500, 1, service="vm2/1", backfill=True)
        feed.adjust("exempt", service="vm2/1", plan="p", until=T0 + DAY)
        assert list(feed.tracker.due()) == [
            ("vm1/1", 1, 2, Speed(10, 10)),
            ("vm2/1", 2, 2, Speed(100, 100)),
            ("vm2/2", 3, 1, ORIGINAL),
        ]
        first, second, third = feed.tracker.counted()
        assert (first.service, first.source, first.plans, first.quota) == ("vm1/1", "vm1", ("p",), 9)
        assert (first.current, first.previous) == ((T0, T0 + 1000, 5000, 0), None)
        assert (second.backfilling, second.plans) == (True, ("p", "q"))
        assert (third.current, third.labels) == (None, {"a": "b"})
        assert feed.tracker.population() == {("p", "fast"): 1, ("p", "slow"): 1, ("q", "fast"): 1, ("q", "slow"): 0}
        assert feed.tracker.sources() == {"vm1": (T0 + 1000, 1), "vm2": (T0 + 500, 2)}

    def test_a_source_is_as_old_as_what_is_still_read(self) -> None:
        """A service whose plans were taken away stays where it is and is not waited for."""
        feed = Feed(p=small())
        feed.register("p")
        feed.register("p", service="vm1/2")
        feed.delta(T0, T0 + 500, 1)
        feed.delta(T0, T0 + 1000, 1, service="vm1/2")
        assert feed.tracker.sources() == {"vm1": (T0 + 500, 2)}
        feed.register()
        assert feed.tracker.sources() == {"vm1": (T0 + 1000, 2)}

    def test_the_export_is_json(self) -> None:
        """Canonical: plain values only."""
        feed = TestKept.lived()
        for view in exported(feed).values():
            assert view is not None
            assert json.loads(json.dumps(view.to_json()))["service"] == view.service

    def test_an_empty_one(self) -> None:
        """Knows nothing and says so."""
        tracker = Tracker(3, lambda name: 3)
        tracker.apply([Registration(Position(0), T0, "vm1/1", "vm1", ("p",))], 1)
        assert [letter.cure for letter in tracker.drain().dead_letters] == [
            "plans in force are: none yet: apply plans first"
        ]
        assert (tracker.next_offset, list(tracker.names()), tracker.sources(), tracker.service("x")) == (
            1,
            [],
            {},
            None,
        )
        assert [page.key for page in tracker.dirty_pages()] == ["plans", "marks"]

    def test_what_concerns_many_comes_in_pieces(self) -> None:
        """New plans, or a watermark, that change what is due to every service: others may run in between."""
        feed = Feed(p=small())
        for number in range(2 * AT_ONCE):
            feed.register("p", service=f"vm1/{number}")
        watermark = Watermark(feed.next(), T0 + 5000, "vm1")
        assert len(list(feed.tracker.steps([watermark], feed.offset + 1))) in (0, 2)
        dropped = Plans(feed.next(), 2, {"q": Plan.from_json("q", small())})
        assert len(list(feed.tracker.steps([dropped], feed.offset + 1))) == 2
        assert len(feed.tracker.drain().outcomes) == 2 * AT_ONCE
        assert feed.tracker.next_offset == feed.offset + 1

    def test_meta_stays_small(self) -> None:
        """However many watermarks, plans and rows without a service there are: all of that has pages."""
        feed = Feed()
        feed.plans(2, **{f"p{number}": small() for number in range(100)})
        for number in range(3000):
            feed.watermark(T0, source=f"{number:05}" + "x" * 190)
            feed.register(service=f"vm1/{number}")
        for number in range(2999):
            feed.deregister(service=f"vm1/{number}")
        assert len(json.dumps(feed.tracker.meta())) < 200
        feed.restore()
        assert feed.tracker.plans_version == 2
        assert len(feed.tracker.plans) == 100
        assert len(feed.tracker.marks) == 3000
        assert list(feed.tracker.names()) == ["vm1/2999"]

    def test_rows_in_no_use_stay(self) -> None:
        """They are known from the pages alone, written again as they are, and used before new ones."""
        feed, pages = Feed(), dict[str, Page]()
        for number in range(2000):
            feed.register(service=f"vm1/{number}")
        for number in range(290, 2000):
            feed.deregister(service=f"vm1/{number}")
        for extra in range(3):
            pages |= {page.key: page for page in feed.tracker.dirty_pages()}
            feed.tracker = Tracker.restore(0, lambda name: 0, feed.tracker.meta(), pages.values())
            assert len(list(feed.tracker.names())) == 290 + extra
            feed.register(service=f"vm1/new{extra}")
            assert feed.tracker.meta()["rows"] == 2000


class TestManyRejected:
    def test_many_unknown_elements_are_told_together(self) -> None:
        """A hundred of one record have a letter each, the rest one; the record's offset and its index lead there."""
        feed, many = Feed(), 5000
        feed.batch([f"vm1/{number}" for number in range(many)], [T0] * many, [T0 + 1] * many, [0] * many, [0] * many)
        assert [letter.position.index for letter in feed.letters] == list(range(101))
        assert feed.letters[-1].reason.startswith(
            "many elements are rejected: 4900 more of this record, the first because not registered: vm1/100"
        )
        assert "traffic.deltas" in feed.letters[-1].cure

    def test_records_of_their_own_are_told_each(self) -> None:
        """Single deltas that came next to each other."""
        feed, many = Feed(), 300
        zeros, offsets = np.zeros(many, np.int64), np.arange(many) + 5
        names = [f"vm1/{number}" for number in range(many)]
        feed.apply(Deltas(names, zeros, zeros + 1, zeros, zeros, offsets, index=zeros))
        assert [letter.position.offset for letter in feed.letters] == offsets.tolist()

    def test_a_wrong_partition_is_told(self) -> None:
        """Of deregistrations and adjustments as of all else."""
        feed = Feed()
        feed.deregister("elsewhere/1")
        feed.adjust("credit", service="elsewhere/1", bytes=5)
        assert [letter.reason.partition(":")[0] for letter in feed.letters] == ["wrong partition"] * 2
        assert all("murmur2" in letter.cure for letter in feed.letters)
