"""The oracle, and the core beside it, against examples worked out by hand, the two seeds' cases among them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.core.driving import Core, Oracle, state_of, told_by_oracle
from tests.core.histories import Record
from tests.oracle.slicing import slicing

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GIB = 1 << 30
START = 1_764_547_200_000
"""2025-12-01 00:00 UTC."""

QUOTA = 1_048_576_000
LADDER: dict[str, Any] = {
    "window": {"kind": "sliding", "slice_ms": 10 * MINUTE, "slices": 6},
    "count": {"in": 100, "out": 100},
    "on_change": "reset",
    "warn": None,
    "profiles": [
        {"name": "default", "speed": {"in": 100, "out": 100}, "quota": QUOTA, "at": "exceeded", "down": "50Mbit",
         "stay": None, "up": None},
        {"name": "50Mbit", "speed": {"in": 50, "out": 50}, "quota": QUOTA, "at": "exceeded", "down": "25Mbit",
         "stay": HOUR, "up": {"below": [], "else": "default"}},
        {"name": "25Mbit", "speed": {"in": 25, "out": 25}, "quota": QUOTA, "at": "exceeded", "down": "10Mbit",
         "stay": HOUR, "up": {"below": [[699_050_666, "default"]], "else": "50Mbit"}},
        {"name": "10Mbit", "speed": {"in": 10, "out": 10}, "quota": QUOTA, "at": "exceeded", "down": None,
         "stay": HOUR, "up": {"below": [[349_525_333, "default"], [699_050_666, "50Mbit"]], "else": "25Mbit"}},
    ],
}  # fmt: skip
MONTH = {
    "window": {"kind": "calendar", "unit": "month", "slices": 1, "timezone": "Europe/Berlin", "anchor_day": 1},
    "count": {"in": 100, "out": 100},
    "on_change": "keep",
    "warn": 80,
    "profiles": [
        {"name": "full", "speed": {"in": None, "out": None}, "quota": 1024 * GIB, "at": "reached", "down": "slow",
         "stay": None, "up": None},
        {"name": "slow", "speed": {"in": 10, "out": 10}, "quota": None, "at": "exceeded", "down": None,
         "stay": "period", "up": {"below": [], "else": "full"}},
    ],
}  # fmt: skip


class Told:
    """A partition with one service `vm1/1` on one plan, and short words to speak to it.  The core hears it all, too."""

    def __init__(self, plan: dict[str, Any], at: int = START, **registration: Any) -> None:
        self.partition, self.core = Oracle(), Core()
        self.offset = 0
        self.now = 1 << 45  # append time: nothing is ahead of it
        self.say(type="plans", version=1, plans={"p": plan})
        self.say(type="registration", service="vm1/1", plans=["p"], at=at, **registration)

    def say(self, **record: Any) -> list[tuple[Any, ...]]:
        """What comes of a record: (at, from, to, reason) of decisions, (at, "warning", percent) of warnings."""
        known = len(self.partition.outcomes)
        for hearer in (self.partition, self.core):
            hearer.take([Record(self.offset, self.now, record)])
        assert self.core.outcomes == told_by_oracle(self.partition)
        assert state_of(self.core) == self.partition.export()["services"]
        self.offset += 1
        return [
            (each["at"], "warning", each["percent"])
            if each["type"] == "warning"
            else (each["at"], each.get("from"), each.get("to"), each["reason"])
            for each in self.partition.outcomes[known:]
        ]

    def delta(self, start: int, end: int, bytes_: int, **more: Any) -> list[tuple[Any, ...]]:
        return self.say(service="vm1/1", start=start, end=end, **{"in": bytes_, "out": 0}, **more)

    def adjust(self, kind: str, **more: Any) -> list[tuple[Any, ...]]:
        return self.say(type="adjustment", id=f"a{self.offset}", service="vm1/1", kind=kind, by="anna", why="", **more)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.partition.export()["services"]["vm1/1"]
        return state

    @property
    def ladder(self) -> dict[str, Any]:
        ladder: dict[str, Any] = self.state["ladders"][0]
        return ladder


def at(minutes: float) -> int:
    return START + int(minutes * MINUTE)


def local(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    """Milliseconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


# ---------------------------------------------------------------- the seeds


def test_seed_ladder_falls_three_steps_within_an_hour() -> None:
    """Who loads a gigabyte, and another, and another, falls faster than an hour, with a clean slate each time."""
    told = Told(LADDER)
    assert told.delta(at(0), at(5), QUOTA) == []  # not more than the quota yet
    assert told.delta(at(5), at(10), 1) == [(at(10), "default", "50Mbit", "exceeded")]
    assert told.delta(at(10), at(15), QUOTA + 1) == [(at(15), "50Mbit", "25Mbit", "exceeded")]
    assert told.delta(at(15), at(20), QUOTA) == []
    assert told.delta(at(20), at(25), 1) == [(at(25), "25Mbit", "10Mbit", "exceeded")]
    assert told.delta(at(25), at(30), 9 * QUOTA) == []  # there is no step below
    assert told.state["speed"] == (10, 10)


def fallen() -> Told:
    """At 10Mbit since minute 15; the stay ends at minute 75."""
    told = Told(LADDER)
    for minute in (0, 5, 10):
        told.delta(at(minute), at(minute + 5), QUOTA + 1)
    return told


@pytest.mark.parametrize(
    ("bytes_", "to"),
    [
        (0, "default"),
        (349_525_332, "default"),
        (349_525_333, "50Mbit"),
        (699_050_665, "50Mbit"),
        (699_050_666, "25Mbit"),
        (QUOTA - 1, "25Mbit"),
    ],
)
def test_seed_ladder_rises_by_what_was_loaded_in_the_last_hour(bytes_: int, to: str) -> None:
    """After an hour at 10Mbit one step, two, or straight to the top, though the news comes hours later."""
    told = fallen()
    assert told.delta(at(60), at(65), bytes_) == []
    assert told.delta(at(300), at(305), 0)[0] == (at(75), "10Mbit", to, "stay_over")


def test_seed_ladder_waits_for_the_window_to_empty() -> None:
    """At its quota it stays down past the stay, until the slice with the bytes slides out."""
    told = fallen()
    assert told.delta(at(60), at(70), QUOTA) == []
    assert told.delta(at(70), at(119), 0) == []
    assert told.delta(at(119), at(121), 0) == [(at(120), "10Mbit", "default", "stay_over")]


def test_seed_month_is_slowed_when_reached_and_lifted_at_local_midnight() -> None:
    """1024 GiB in March, reached to the byte; full speed from 1 April 00:00 in Berlin, across the change of clocks."""
    told = Told(MONTH, at=local("2026-03-01"))
    assert told.delta(local("2026-03-01"), local("2026-03-25"), 1023 * GIB) == [(local("2026-03-25"), "warning", 80)]
    assert told.delta(local("2026-03-25"), local("2026-03-26"), GIB - 1) == []
    assert told.delta(local("2026-03-26"), local("2026-03-26T08:00"), 1) == [
        (local("2026-03-26T08:00"), "full", "slow", "reached")
    ]
    assert told.delta(local("2026-03-29"), local("2026-03-30"), 10 * GIB) == []
    lifted = local("2026-04-01")
    assert lifted == 1_774_994_400_000  # 2026-03-31 22:00 UTC
    assert told.delta(local("2026-04-02"), local("2026-04-03"), 5) == [(lifted, "slow", "full", "period")]
    assert told.ladder["amounts"] == [(lifted, local("2026-05-01"), 500)]


def test_a_delta_that_ends_at_the_rollover_does_not_slow_the_new_month() -> None:
    """The last day's finished numbers end at the very instant of the lift, which stands."""
    told = Told(MONTH, at=local("2026-03-01"))
    told.delta(local("2026-03-01"), local("2026-03-31"), 1024 * GIB)
    lifted = local("2026-04-01")
    assert told.delta(local("2026-03-31"), lifted, 50 * GIB) == [(lifted, "slow", "full", "period")]
    assert told.delta(lifted, lifted + DAY, 50 * GIB) == []


def test_what_is_reached_in_the_last_millisecond_is_told_and_lifted_at_once() -> None:
    """Down as of the last millisecond of March, up at the rollover: both at that instant, in this order."""
    told = Told(MONTH, at=local("2026-03-01"))
    lifted = local("2026-04-01")
    assert told.delta(local("2026-03-01"), lifted, 1024 * GIB) == [
        (lifted, "full", "slow", "reached"),
        (lifted, "slow", "full", "period"),
    ]


# ---------------------------------------------------------------- which bytes count


@pytest.mark.parametrize(
    ("deltas", "accepted", "stale"),
    [
        ([(0, 10, 100), (0, 10, 100)], 100, 0),  # a repeat
        ([(0, 10, 100), (0, 20, 130)], 130, 0),  # grew
        ([(0, 10, 100), (0, 10, 130)], 130, 0),  # late numbers of the same interval
        ([(0, 20, 100), (0, 10, 130)], 100, 0),  # an earlier end
        ([(0, 10, 100), (0, 20, 60), (0, 30, 110)], 110, 0),  # shrank, then grew again
        ([(0, 10, 100), (10, 20, 7), (0, 10, 105)], 112, 0),  # late numbers of a finished anchor
        ([(0, 10, 100), (10, 20, 7), (0, 15, 105)], 107, 105),  # but not beyond the next start
        ([(0, 10, 100), (30, 40, 7)], 107, 0),  # a gap
        ([(0, 10, 100), (5, 25, 80)], 160, 0),  # overlap: 15 of its 20 minutes are new
        ([(0, 10, 100), (5, 25, 80), (0, 10, 200)], 160, 200),  # after an overlap no previous is kept
        ([(0, 10, 100), (5, 25, 80), (5, 30, 100)], 180, 0),  # and all of it is counted under its start
        ([(10, 20, 100), (0, 5, 9)], 100, 9),  # out of order
        ([(10, 20, 100), (12, 20, 9)], 100, 9),  # inside what is counted
    ],
)
def test_which_bytes_a_delta_adds(deltas: list[tuple[int, int, int]], accepted: int, stale: int) -> None:
    """Repeated, grown, shrunk, late, overlapping and stale deltas, in minutes and bytes."""
    told = Told(LADDER)
    for start, end, bytes_ in deltas:
        told.delta(at(start), at(end), bytes_)
    assert (told.state["accepted"], told.state["stale"]) == ((accepted, 0), (stale, 0))


def test_an_amount_is_spread_exactly() -> None:
    """Ten bytes over three slices: each part is a difference of floors, and the sum is ten bytes."""
    told = Told(LADDER)
    told.delta(at(0), at(30), 10)
    assert [amount for _, _, amount in told.ladder["amounts"] if amount] == [333, 333, 334]


def test_what_is_older_than_the_window_is_late() -> None:
    """Half of late numbers lies before the window of the service's time; that half is told apart."""
    told = Told(LADDER)
    told.delta(at(0), at(20), 0)
    told.delta(at(100), at(110), 0)  # as of its last millisecond the window begins at minute 50
    told.delta(at(0), at(80), 60)
    assert told.ladder["ledger"] == {"accepted": 6000, "counted": 3000, "late": 3000, "clipped": 0}


def test_what_lies_before_a_reset_is_clipped() -> None:
    """After a fall at minute 10, late numbers of minutes 0 to 20 count from minute 10 on."""
    told = Told(LADDER)
    told.delta(at(0), at(10), QUOTA + 1)
    told.delta(at(10), at(20), 0)
    told.adjust("reset")  # now minute 20 is the clip
    told.delta(at(20), at(30), 0)
    told.delta(at(10), at(20), 5)
    told.delta(at(15), at(35), 40)  # overlaps: minutes 30 to 35 are new, a quarter
    ledger = told.ladder["ledger"]
    assert (ledger["clipped"], ledger["counted"]) == (500, (QUOTA + 1) * 100 + 1000)


# ---------------------------------------------------------------- instants


def test_a_silent_service_is_judged_only_by_what_reaches_it() -> None:
    """Nothing happens without news; a watermark of its source, not of another, brings the way up."""
    told = fallen()
    assert told.say(type="watermark", source="vm2", at=at(600)) == []
    assert told.say(type="watermark", source="vm1", at=at(74)) == []
    assert told.say(type="watermark", source="vm1", at=at(600)) == [(at(75), "10Mbit", "default", "stay_over")]


def test_bytes_after_the_way_up_count_in_the_new_profile_only() -> None:
    """A delta across the end of the stay: what lies before the rise does not count after it."""
    told = fallen()
    assert told.delta(at(15), at(135), 2 * QUOTA + 2) == [
        # as of minute 75 the window holds minutes 20 to 75: 55/120 of the bytes, below the quota
        (at(75), "10Mbit", "25Mbit", "stay_over"),
        # an hour later minutes 80 to 135, and judged before the way down
        (at(135), "25Mbit", "50Mbit", "stay_over"),
    ]


def test_backfill_fills_and_the_first_delta_without_the_mark_judges() -> None:
    """No notice is sent for what lies before."""
    told = Told(LADDER)
    assert told.delta(at(0), at(10), 2 * QUOTA, backfill=True) == []
    assert told.delta(at(0), at(20), 3 * QUOTA, backfill=True) == []
    assert told.say(type="watermark", source="vm1", at=at(25)) == []
    assert told.delta(at(0), at(30), 3 * QUOTA) == [(at(30), "default", "50Mbit", "exceeded")]


def test_what_fell_due_during_a_backfill_is_made_up_for_at_its_end() -> None:
    """The stay is over at minute 75, while history is filled in: the way up comes with the first delta without the
    mark, at the service's time then, and no instant goes back."""
    told = fallen()
    told.delta(at(15), at(40), 0, backfill=True)
    assert told.say(type="watermark", source="vm1", at=at(90)) == []
    assert told.delta(at(90), at(100), 10, backfill=True) == []
    assert told.delta(at(100), at(110), 10) == [(at(100), "10Mbit", "default", "stay_over")]


def test_a_hundredth_of_a_byte_decides() -> None:
    """A long delta holds 1000 hundredths in most seconds, and 999 in the one from 4 to 5: at its end it goes up.

    Quota 10 bytes in a window of two seconds; at the edges the last whole second counts.  Weight 1 %: the amount is
    6998 hundredths over [1 s, 8 s), that is 999 1000 1000 999 1000 1000 1000.
    """
    top, low = LADDER["profiles"][0], LADDER["profiles"][3]
    told = Told(
        LADDER
        | {
            "window": {"kind": "sliding", "slice_ms": 1000, "slices": 2},
            "count": {"in": 1, "out": 0},
            "on_change": "keep",
            "profiles": [
                top | {"quota": 10, "at": "reached", "down": "10Mbit"},
                low | {"quota": 10, "at": "reached", "stay": 2500, "up": {"below": [], "else": "default"}},
            ],
        }
    )
    assert told.delta(START, START + 1000, 2000) == [(START + 1000, "default", "10Mbit", "reached")]
    assert told.delta(START + 1000, START + 8000, 6998) == [
        (START + 5000, "10Mbit", "default", "stay_over"),
        (START + 8000, "default", "10Mbit", "reached"),
    ]


# ---------------------------------------------------------------- adjustments


def test_a_credit_lifts_a_kept_window_at_once_and_ends_with_the_month() -> None:
    """A top-up adds; at the rollover it is gone."""
    told = Told(MONTH, at=local("2026-03-01"))
    day = local("2026-03-10")
    assert told.delta(local("2026-03-01"), day, 1100 * GIB) == [(day, "full", "slow", "reached")]
    assert told.adjust("credit", bytes=50 * GIB, at=day) == [(day, None, None, "credit")]
    assert told.adjust("credit", bytes=50 * GIB, at=day) == [
        (day, None, None, "credit"),
        (day, "slow", "full", "credit"),
    ]
    assert told.ladder["credits"] == [(local("2026-04-01"), 50 * GIB)] * 2
    assert told.delta(day, local("2026-03-11"), 24 * GIB)[-1][1:] == ("full", "slow", "reached")


def test_an_exemption_rests_the_ladder_and_is_judged_at_its_end() -> None:
    """Counting goes on, the original speed is due, and at its end the sum counts."""
    told = Told(LADDER)
    told.delta(at(0), at(10), 0)
    assert told.adjust("exempt", until=at(40)) == [(at(10), None, None, "exempt")]
    assert told.state["speed"] == (None, None)
    assert told.delta(at(10), at(20), 5 * QUOTA) == []
    assert told.delta(at(20), at(50), 0) == [(at(40), None, None, "resumed"), (at(40), "default", "50Mbit", "exceeded")]


def test_a_pin_wins_over_an_exemption() -> None:
    """Pinned it is due the pin's profile; unpinned the exemption still runs."""
    told = Told(LADDER)
    told.delta(at(0), at(10), 0)
    told.adjust("exempt", until=at(100))
    told.adjust("pin", plan="p", profile="10Mbit")
    assert told.state["speed"] == (10, 10)
    assert told.adjust("unpin", plan="p") == [(at(10), None, None, "unpinned")]
    assert told.state["speed"] == (None, None)


# ---------------------------------------------------------------- slices


@pytest.mark.parametrize(
    ("unit", "zone", "inside", "start", "end"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29", "2026-03-30"),  # 23 hours
        ("day", "America/Havana", "2025-03-09T12:00", "2025-03-09T01:00", "2025-03-10"),  # no midnight
        ("day", "America/Havana", "2025-11-02T00:30", "2025-11-02", "2025-11-03"),  # midnight comes twice
        ("week", "Europe/Berlin", "2026-01-01T00:00", "2025-12-29", "2026-01-05"),
        ("month", "Europe/Berlin", "2026-03-30T23:59", "2026-02-28", "2026-03-31"),  # anchor day 31
        ("month", "Europe/Berlin", "2026-03-31T00:00", "2026-03-31", "2026-04-30"),
        ("hour", "Asia/Kolkata", "2026-03-30T10:17", "2026-03-30T10:00", "2026-03-30T11:00"),
        ("hour", "Europe/Berlin", "2026-03-29T01:30", "2026-03-29T01:00", "2026-03-29T03:00"),  # 2:00 is left out
    ],
)
def test_calendar_slices(unit: str, zone: str, inside: str, start: str, end: str) -> None:
    """Slices begin at the first instant that shows their local date, or :00 of the local clock."""
    slices = slicing({"kind": "calendar", "unit": unit, "timezone": zone, "anchor_day": "service"}, 31)
    now = local(inside, zone)
    assert (slices.start(now), slices.start(now, 1)) == (local(start, zone), local(end, zone))
    assert slices.start(slices.start(now, 1) - 1) == slices.start(now)
    assert slices.start(slices.start(now), -1) == slices.start(slices.start(now) - 1)


def test_the_hour_that_comes_twice_is_two_slices() -> None:
    """Each is a real hour."""
    slices = slicing({"kind": "calendar", "unit": "hour", "timezone": "Europe/Berlin"}, None)
    first = local("2025-10-26T02:00")
    assert [slices.start(first, shift) - first for shift in (-1, 0, 1, 2)] == [-HOUR, 0, HOUR, 2 * HOUR]
    assert slices.start(local("2025-10-26T02:10", fold=1)) == first + HOUR
