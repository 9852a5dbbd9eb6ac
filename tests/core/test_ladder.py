"""The two seeds' cases, decision by decision, and the rules of judging, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.model import Decision, QuotaWarning
from stream.core.speed import ORIGINAL, Speed
from tests.core.feeding import DAY, GIB, HOUR, MBIT, MINUTE, MONTH, STEP, T0, VPN, Feed, decision, local, moves, small


class TestTheOriginsLadder:
    """100, 50, 25, 10 Mbit/s over the last hour in six slices, a clean slate after each change."""

    @staticmethod
    def fallen() -> Feed:
        """Down three steps within four minutes; the stay in 10Mbit ends at minute 64."""
        feed = Feed(vpn=VPN)
        feed.register("vpn")
        assert moves(feed.delta(T0, T0 + MINUTE, 600_000_000)) == []
        first = feed.delta(T0 + MINUTE, T0 + 2 * MINUTE, 500_000_000, 100_000_000)
        assert moves(first) == [(T0 + 2 * MINUTE, "exceeded", "default", "50Mbit")]
        second = feed.delta(T0 + 2 * MINUTE, T0 + 3 * MINUTE, STEP, 1)
        assert moves(second) == [(T0 + 3 * MINUTE, "exceeded", "50Mbit", "25Mbit")]
        third = feed.delta(T0 + 3 * MINUTE, T0 + 4 * MINUTE, 2 * STEP)
        assert moves(third) == [(T0 + 4 * MINUTE, "exceeded", "25Mbit", "10Mbit")]
        return feed

    def test_a_fall_explains_itself(self) -> None:
        """Usage, quota, window, speeds, plans version and input position are in the decision."""
        feed = Feed(vpn=VPN)
        feed.register("vpn")
        fall = decision(feed.delta(T0, T0 + 20 * MINUTE, 2 * STEP))
        assert (fall.usage_bytes, fall.quota_bytes) == (2 * STEP, STEP)
        assert fall.window is not None
        assert [slice_.bytes for slice_ in fall.window] == [0, 0, 0, 0, STEP, STEP]
        assert fall.window[-1][:2] == (T0 + 10 * MINUTE, T0 + 20 * MINUTE)
        assert (fall.speed, fall.profile_speed) == (Speed(50 * MBIT, 50 * MBIT), Speed(50 * MBIT, 50 * MBIT))
        assert (fall.plans_version, fall.input.offset, fall.revision, fall.incarnation) == (1, 2, 2, 1)

    def test_a_sum_equal_to_the_quota_does_not_move(self) -> None:
        """Over is strictly more; one byte decides."""
        feed = Feed(vpn=VPN)
        feed.register("vpn")
        assert feed.delta(T0, T0 + MINUTE, STEP) == []
        assert moves(feed.delta(T0 + MINUTE, T0 + 2 * MINUTE, 0, 1)) == [
            (T0 + 2 * MINUTE, "exceeded", "default", "50Mbit")
        ]

    @pytest.mark.parametrize(
        ("used", "target"), [(800_000_000, "25Mbit"), (500_000_000, "50Mbit"), (100_000_000, "default")]
    )
    def test_up_by_thresholds(self, used: int, target: str) -> None:
        """After the stay: one up, two up, or straight to the top, whatever the window holds."""
        feed = self.fallen()
        assert feed.delta(T0 + 20 * MINUTE, T0 + 21 * MINUTE, used) == []
        assert feed.delta(T0 + 21 * MINUTE, T0 + 63 * MINUTE) == []
        rise = feed.delta(T0 + 63 * MINUTE, T0 + 70 * MINUTE)
        assert moves(rise) == [(T0 + 64 * MINUTE, "stay_over", "10Mbit", target)]
        assert decision(rise).usage_bytes == used

    def test_over_the_quota_waits_for_a_slice_to_fall_out(self) -> None:
        """The way up is judged again at each slice edge, where the sum falls."""
        feed = self.fallen()
        feed.delta(T0 + 20 * MINUTE, T0 + 21 * MINUTE, STEP + 1)
        assert moves(feed.delta(T0 + 21 * MINUTE, T0 + 100 * MINUTE)) == [
            (T0 + 80 * MINUTE, "stay_over", "10Mbit", "default")
        ]

    @pytest.mark.parametrize("step", [MINUTE, 7 * MINUTE, 10 * MINUTE, 3 * HOUR])
    def test_the_instant_does_not_depend_on_who_brings_the_news(self, step: int) -> None:
        """Zero deltas of any length, watermarks, or one late delta with bytes: up at the end of the stay."""
        by_deltas, by_watermarks = self.fallen(), self.fallen()
        at = T0 + 4 * MINUTE
        seen: list[list[tuple[Any, ...]]] = []
        while at < T0 + 3 * HOUR:
            seen += [moves(by_deltas.delta(at, at + step)), moves(by_watermarks.watermark(at + step))]
            at += step
        assert [each for each in seen if each] == [[(T0 + 64 * MINUTE, "stay_over", "10Mbit", "default")]] * 2

    def test_only_the_bytes_before_the_instant_count_for_it(self) -> None:
        """A long delta is poured in bit by bit: up with what came before the end of the stay, then a clean slate."""
        feed = self.fallen()
        late = feed.delta(T0 + 4 * MINUTE, T0 + 120 * MINUTE, 1_160_000_000)
        assert moves(late) == [(T0 + 64 * MINUTE, "stay_over", "10Mbit", "50Mbit")]
        assert decision(late).usage_bytes == 540_000_000  # of the hour, minutes 10 to 64 are in the window
        assert feed.plan("vpn").usage_bytes == 500_000_000  # minutes 70 to 120


class TestTheMonth:
    """1024 GiB a calendar month in Berlin, then 10 Mbit/s until the first."""

    def test_reached_slowed_lifted(self) -> None:
        """Warned at 80 %, slowed when reached, lifted at local midnight of the first, across the change of clocks."""
        feed = Feed(month=MONTH)
        march = local("Europe/Berlin", 2026, 3, 1)
        april = local("Europe/Berlin", 2026, 4, 1)
        assert april - march == 31 * DAY - HOUR
        feed.register("month", at=march)
        seen: list[Decision | QuotaWarning] = []
        for day in range(1, 33):  # 40 GiB a local day, as growing deltas of eight hours
            midnight, next_midnight = (
                local("Europe/Berlin", 2026, 3 + d // 32, d % 32 + d // 32) for d in (day, day + 1)
            )
            for third in (1, 2, 3):
                end = next_midnight if third == 3 else midnight + third * 8 * HOUR
                seen += feed.delta(midnight, end, third * 10 * GIB, third * 10 * GIB // 3)
        assert [each[1:] for each in moves(seen)] == [
            ("warning", "full", 80),
            ("reached", "full", "slow"),
            ("period", "slow", "full"),
        ]
        warning, slowed, lifted = seen
        assert isinstance(warning, QuotaWarning)
        assert isinstance(slowed, Decision)
        assert isinstance(lifted, Decision)
        assert slowed.at == local("Europe/Berlin", 2026, 3, 26, 16)
        assert slowed.usage_bytes == 25 * 40 * GIB + 20 * GIB + 20 * GIB // 3
        assert slowed.speed == Speed(10 * MBIT, 10 * MBIT)
        assert (lifted.at, lifted.speed, lifted.usage_bytes) == (april, ORIGINAL, 0)
        assert feed.plan("month").usage_bytes == 40 * GIB

    def test_a_delta_that_ends_on_the_rollover_belongs_to_the_old_month(self) -> None:
        """Lifted at the edge, not slowed again by last month's sum; and down and up at once if it is the last straw."""
        april = local("Europe/Berlin", 2026, 4, 1)
        feed = Feed(month=MONTH)
        feed.register("month", at=april - DAY)
        assert moves(feed.delta(april - DAY, april, 2000 * GIB)) == [
            (april, "reached", "full", "slow"),
            (april, "period", "slow", "full"),
        ]
        again = Feed(month=MONTH)
        again.register("month", at=april - DAY)
        again.delta(april - DAY, april - HOUR, 2000 * GIB)
        assert moves(again.delta(april - HOUR, april, 5)) == [(april, "period", "slow", "full")]

    def test_one_warning_a_period(self) -> None:
        """In a calendar window a rollover makes room for another warning; nothing else does."""
        feed = Feed(month=MONTH)
        march = local("Europe/Berlin", 2026, 3, 1)
        feed.register("month", at=march)
        seen = []
        for day in range(60):
            seen += feed.delta(march + day * DAY, march + (day + 1) * DAY, 30 * GIB)
        assert [each[1] for each in moves(seen)] == ["warning", "warning"]


def keep(**changes: Any) -> dict[str, Any]:
    return small(on_change="keep", **changes)


class TestDown:
    def test_reached(self) -> None:
        """`at: reached` moves at equality."""
        plan = small()
        plan["profiles"][0]["at"] = "reached"
        feed = Feed(p=plan)
        feed.register("p")
        assert moves(feed.delta(T0, T0 + 1000, 1000)) == [(T0 + 1000, "reached", "fast", "slow")]

    def test_weights(self) -> None:
        """Percent of in and out that count, to the hundredth of a byte."""
        feed = Feed(p=small(count={"in": 33, "out": 150}))
        feed.register("p")
        feed.delta(T0, T0 + 1000, 101, 3)
        assert feed.plan("p").amounts == (0, 33 * 101 + 450, 0)
        assert feed.plan("p").usage_bytes == 37

    def test_a_delta_without_bytes_judges_nothing_down(self) -> None:
        """Only a delta that adds bytes is judged at its end."""
        feed = Feed(p=keep())
        feed.register("p")
        feed.adjust("exempt", until=T0 + 2000)
        feed.delta(T0, T0 + 1000, 5000)
        assert feed.delta(T0, T0 + 1500, 5000) == []

    def test_as_of_its_last_millisecond(self) -> None:
        """A delta that ends on a slice's edge is judged with the slice before it."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 600)
        fall = decision(feed.delta(T0 + 2000, T0 + 3000, 401))
        assert (fall.at, fall.usage_bytes) == (T0 + 3000, 1001)
        assert fall.window is not None
        assert fall.window[0].start == T0

    def test_reset_takes_one_step_keep_as_many_as_it_takes(self) -> None:
        """With an emptied window nothing is over any more; with a kept one steps follow at the same instant."""
        three: dict[str, Any] = {
            "profiles": [
                {"name": "a", "speed": {"in": 3, "out": 3}, "quota": 10, "down": "b"},
                {"name": "b", "speed": {"in": 2, "out": 2}, "quota": 20, "down": "c"},
                {"name": "c", "speed": {"in": 1, "out": 1}},
            ]
        }
        by_reset, by_keep = Feed(p=small(**three)), Feed(p=keep(**three))
        for feed in (by_reset, by_keep):
            feed.register("p")
        assert moves(by_reset.delta(T0, T0 + 1000, 100)) == [(T0 + 1000, "exceeded", "a", "b")]
        fallen = by_keep.delta(T0, T0 + 1000, 100)
        assert moves(fallen) == [(T0 + 1000, "exceeded", "a", "b"), (T0 + 1000, "exceeded", "b", "c")]
        assert [each.speed.in_ for each in fallen if isinstance(each, Decision)] == [2, 1]

    def test_late_bytes_are_judged_at_the_services_time(self) -> None:
        """Late numbers of the former anchor act at the service's time, as of it."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 900)
        feed.delta(T0 + 1000, T0 + 2500, 50)
        assert moves(feed.delta(T0, T0 + 1000, 1000)) == [(T0 + 2500, "exceeded", "fast", "slow")]

    def test_the_least_of_several_plans_is_due(self) -> None:
        """Per direction; and each decision carries what is due after it."""
        slow_in = small()
        slow_in["profiles"][1]["speed"] = {"in": 1, "out": 500}
        feed = Feed(p=small(), q=slow_in)
        feed.register("p", "q")
        fallen = feed.delta(T0, T0 + 1000, 1001)
        assert [(each.plan, each.speed) for each in fallen if isinstance(each, Decision)] == [
            ("p", Speed(10, 10)),
            ("q", Speed(1, 10)),
        ]
        assert [each.revision for each in fallen if isinstance(each, Decision)] == [2, 3]


class TestClippedAndLate:
    def test_what_lies_before_a_reset_never_counts_again(self) -> None:
        """It is clipped, whichever delta brings it; accepted = counted + late + clipped."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 900)
        feed.delta(T0 + 1000, T0 + 2000, 200)
        assert feed.plan("p").profile == "slow"
        feed.delta(T0, T0 + 1000, 950)
        ledger = feed.plan("p").ledger
        assert (ledger.accepted, ledger.counted, ledger.late, ledger.clipped) == (115_000, 110_000, 0, 5_000)
        assert feed.plan("p").usage_bytes == 0

    def test_older_than_the_window_is_late(self) -> None:
        """As of the service's time before the delta; the rest counts, and slides out by itself."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 100)
        feed.delta(T0 + 1000, T0 + 4000, 300)
        feed.delta(T0, T0 + 1000, 150)
        ledger = feed.plan("p").ledger
        assert (ledger.accepted, ledger.counted, ledger.late, ledger.clipped) == (45_000, 40_000, 5_000, 0)
        assert feed.plan("p").amounts == (10_000, 10_000, 0)

    def test_bytes_before_a_way_up_are_clipped(self) -> None:
        """Also those of a delta that begins before it and comes after it."""
        feed = Feed(p=small(window={"kind": "sliding", "slice_ms": 1000, "slices": 20}))
        feed.register("p")
        feed.delta(T0, T0 + 1000, 5000)
        feed.watermark(T0 + 11_500)
        feed.delta(T0 + 1000, T0 + 12_000, 550)
        ledger = feed.plan("p").ledger
        assert (ledger.counted, ledger.late, ledger.clipped) == (505_000, 0, 50_000)
        assert feed.plan("p").usage_bytes == 50

    def test_a_watermark_makes_late(self) -> None:
        """It moves the service's time like a delta."""
        feed = Feed(p=small())
        feed.register("p")
        feed.watermark(T0 + 10_000)
        feed.delta(T0, T0 + 7000, 70)
        assert feed.plan("p").ledger.late == 7_000
        feed.delta(T0, T0 + 10_000, 100)
        assert (feed.plan("p").ledger.late, feed.plan("p").ledger.counted) == (7_000, 3_000)


class TestWarnings:
    def test_at_exactly_so_many_percent(self) -> None:
        """Of the quota with credit; once per entry into the profile."""
        feed = Feed(p=small(warn=50))
        feed.register("p")
        feed.adjust("credit", bytes=200)
        assert moves(feed.delta(T0, T0 + 1000, 599)) == []
        assert moves(feed.delta(T0, T0 + 1500, 600)) == [(T0 + 1500, "warning", "fast", 50)]
        assert moves(feed.delta(T0, T0 + 1600, 601)) == []

    def test_late_bytes_warn_in_the_slice_of_the_services_time(self) -> None:
        """Even if nothing was counted there yet."""
        feed = Feed(p=small(warn=50, window={"kind": "calendar", "unit": "day", "slices": 3, "timezone": "UTC"}))
        feed.register("p")
        assert [each[1] for each in moves(feed.delta(T0, T0 + DAY, 600))] == ["warning"]
        assert moves(feed.delta(T0, T0 + DAY, 601)) == [(T0 + DAY, "warning", "fast", 50)]

    def test_none_with_a_step_down(self) -> None:
        """The fall says it all; in the new profile a warning may come."""
        feed = Feed(p=small(warn=50))
        feed.register("p")
        assert moves(feed.delta(T0, T0 + 1000, 1001)) == [(T0 + 1000, "exceeded", "fast", "slow")]
        assert moves(feed.delta(T0 + 1000, T0 + 2000, 501)) == [(T0 + 2000, "warning", "slow", 50)]


class TestRests:
    def test_exempt_counts_on_and_is_judged_at_its_end(self) -> None:
        """The speed due is the original; at the end: resumed, then down as of it."""
        feed = Feed(p=small(window={"kind": "sliding", "slice_ms": 1000, "slices": 9}))
        feed.register("p")
        feed.delta(T0, T0 + 1000, 10)
        assert decision(feed.adjust("exempt", until=T0 + 5000)).speed == ORIGINAL
        assert feed.delta(T0 + 1000, T0 + 2000, 5000) == []
        ended = feed.delta(T0 + 2000, T0 + 6000)
        assert moves(ended) == [
            (T0 + 5000, "resumed", None, None),
            (T0 + 5000, "exceeded", "fast", "slow"),
        ]

    def test_exemptions_that_end_together_are_one_decision(self) -> None:
        """However many ladders rest."""
        feed = Feed(p=small(), q=small())
        feed.register("p", "q")
        feed.adjust("exempt", until=T0 + 5000)
        assert moves(feed.watermark(T0 + 6000)) == [(T0 + 5000, "resumed", None, None)]

    def test_a_pin_wins_over_an_exemption_until_unpinned(self) -> None:
        """The pinned profile's speed is due; unpinned below a running exemption, the ladder rests on."""
        feed = Feed(p=small())
        feed.register("p")
        feed.adjust("exempt", until=T0 + 50_000)
        assert decision(feed.adjust("pin", plan="p", profile="slow")).speed == Speed(10, 10)
        assert feed.view().speed == Speed(10, 10)
        assert feed.delta(T0, T0 + 1000, 5000) == []
        unpinned = decision(feed.adjust("unpin"))
        assert (unpinned.reason, unpinned.speed) == ("unpinned", ORIGINAL)

    def test_a_pin_may_end_by_itself(self) -> None:
        """Judged then: up if the stay is over."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 5000)
        feed.adjust("pin", plan="p", profile="fast", until=T0 + 20_000)
        assert moves(feed.watermark(T0 + 30_000)) == [
            (T0 + 20_000, "unpinned", None, None),
            (T0 + 20_000, "stay_over", "slow", "fast"),
        ]

    def test_no_adjustment_outlasts_the_plan_that_it_names(self) -> None:
        """A plan that a service loses takes its pin along."""
        feed = Feed(p=small(), q=small())
        feed.register("p", "q")
        feed.adjust("pin", plan="p", profile="slow")
        assert decision(feed.register("q")).speed == Speed(100, 100)


class TestCredit:
    def test_it_raises_the_quota_until_its_slice_leaves_the_window(self) -> None:
        """And at its end the ladder is judged down."""
        feed = Feed(p=keep(window={"kind": "sliding", "slice_ms": 1000, "slices": 9}))
        feed.register("p")
        credit = decision(feed.adjust("credit", bytes=500, at=T0 + 500))
        assert (credit.reason, credit.plan) == ("credit", None)
        assert feed.delta(T0 + 1000, T0 + 2000, 1500) == []
        assert feed.plan("p").quota_bytes == 1500
        ended = feed.watermark(T0 + 60_000)
        assert moves(ended)[0] == (T0 + 9000, "exceeded", "fast", "slow")

    def test_it_does_not_move_the_way_up(self) -> None:
        """Whether it ends before or after the stay."""
        for size_ms in (1000, 4000):
            feed = Feed(p=small(window={"kind": "sliding", "slice_ms": size_ms, "slices": 4}))
            feed.register("p")
            feed.delta(T0, T0 + 1000, 5000)
            feed.adjust("credit", bytes=5, at=T0 + 500)
            feed.delta(T0 + 1000, T0 + 5000)
            assert moves(feed.watermark(T0 + 60_000)) == [(T0 + 11_000, "stay_over", "slow", "fast")]

    def test_it_has_a_limit(self) -> None:
        """So that a quota stays a number that everybody can read."""
        feed = Feed(p=small())
        feed.register("p")
        for _ in range(65):
            feed.adjust("credit", bytes=1 << 50)
        assert [letter.reason for letter in feed.letters] == ["too much credit"]
        assert feed.plan("p").quota_bytes == (1 << 56) + 1000

    def test_a_kept_ladder_is_judged_anew_from_its_first_profile(self) -> None:
        """Stay notwithstanding; the move has the reason credit."""
        feed = Feed(p=keep())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 1200)
        back = feed.adjust("credit", bytes=300, at=T0 + 500)
        assert moves(back) == [(T0 + 1000, "credit", None, None), (T0 + 1000, "credit", "slow", "fast")]
        assert not feed.letters

    def test_where_the_window_was_emptied_nobody_is_moved(self) -> None:
        """The clean slate is worth more than a credit."""
        feed = Feed(p=small())
        feed.register("p")
        feed.delta(T0, T0 + 1000, 1200)
        assert moves(feed.adjust("credit", bytes=300, at=T0 + 500)) == [(T0 + 1000, "credit", None, None)]

    def test_a_credit_that_ends_with_the_month_still_holds_in_its_last_millisecond(self) -> None:
        """A delta that ends on the rollover is judged with last month's credit."""
        april = local("Europe/Berlin", 2026, 4, 1)
        feed = Feed(month=MONTH)
        feed.register("month", at=april - 2 * DAY)
        feed.delta(april - 2 * DAY, april - DAY, 500 * GIB)
        feed.adjust("credit", bytes=1000 * GIB, at=april - DAY)
        assert [each[1] for each in moves(feed.delta(april - DAY, april, 1000 * GIB))] == []


class TestResetByHand:
    def test_of_one_plan_is_a_move(self) -> None:
        """Window emptied, first profile."""
        feed = Feed(p=keep(), q=keep())
        feed.register("p", "q")
        feed.delta(T0, T0 + 1000, 1200)
        reset = decision(feed.adjust("reset", plan="p"))
        assert (reset.plan, reset.from_, reset.to, reset.usage_bytes, reset.at) == (
            "p",
            "slow",
            "fast",
            1200,
            T0 + 1000,
        )
        assert (feed.plan("p").usage_bytes, feed.plan("q").usage_bytes) == (0, 1200)

    def test_of_all_plans_is_one_decision(self) -> None:
        """However many ladders start over."""
        feed = Feed(p=keep(), q=keep())
        feed.register("p", "q")
        feed.delta(T0, T0 + 1000, 1200)
        assert moves(feed.adjust("reset")) == [(T0 + 1000, "reset", None, None)]
        assert feed.view().speed == Speed(100, 100)


def climbing() -> Feed:
    """In the lowest of three profiles until second 11: there a full window keeps the way up shut."""
    plan = small()
    fast, slow = plan["profiles"]
    middle = slow | {"name": "middle", "down": "slow", "stay": 1000}
    plan["profiles"] = [fast | {"down": "slow"}, middle, slow | {"up": {"below": [], "else": "middle"}}]
    feed = Feed(p=plan)
    feed.register("p", at=0)
    feed.delta(0, 1000, 5000)
    feed.delta(1000, 9000)
    feed.delta(9000, 10_000, 1200)
    assert feed.delta(10_000, 11_000) == []
    return feed


class TestEndless:
    """Slice edges at which the way up is certain to stay shut are passed over, and no others."""

    @pytest.mark.parametrize("on_change", ["reset", "keep"])
    def test_a_delta_of_half_a_century_is_judged_in_no_time(self, on_change: str) -> None:
        """What follows it is judged as ever."""
        feed = Feed(p=small(on_change=on_change))
        feed.register("p", at=0)
        feed.delta(0, 1000, 5000)
        seconds = T0 // 1000 - 1
        assert moves(feed.delta(1000, T0, seconds * 600)) == []
        assert feed.plan("p").next_up == T0 + 1000
        assert feed.plan("p").usage_bytes == 1200
        assert moves(feed.watermark(T0 + 9000)) == [(T0 + 1000, "stay_over", "slow", "fast")]

    def test_not_while_the_window_still_holds_what_was_before(self) -> None:
        """600 bytes a second keep the way up shut, but not where the window is half empty; nor just after a reset."""
        assert moves(climbing().delta(11_000, T0 + 500, (T0 + 500 - 11_000) * 6 // 10)) == [
            (12_000, "stay_over", "slow", "middle"),
            (13_000, "stay_over", "middle", "fast"),
            (T0 + 500, "exceeded", "fast", "slow"),
        ]

    def test_a_hundredth_of_a_byte_decides(self) -> None:
        """The sum of the same traffic is now one number, now the next; one of them is below the quota."""
        feed = Feed(p=small())
        feed.register("p", at=0)
        feed.delta(0, 1000, 5000)
        feed.delta(1000, 10_000)
        feed.delta(10_000, 11_000, 2000)
        rise = feed.delta(11_000, 411_000, 199_999)
        assert moves(rise)[0] == (13_000, "stay_over", "slow", "fast")
