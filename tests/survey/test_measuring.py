"""What the survey finds is what the platform was made to be: knob by knob."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from stream.simulator import Knobs
from tests.simulator.platform import local
from tests.survey.rig import DAY, HOUR, MINUTE, Rig, Running, Setting, config, finding, old, some, surveyed


def silent(rig: Rig) -> None:
    """Machines that run and have no traffic: their points are zeros."""
    for number in range(3):
        rig.world.create(habit="silent", limits=(100, None), since=rig.now - (40 + number) * DAY)


def limited(rig: Rig) -> None:
    """Every machine has a limit."""
    for number in range(2):
        rig.world.create(habit="steady", limits=(100, 100), since=rig.now - (40 + number) * DAY)


def with_a_stopped_one(rig: Rig) -> None:
    some(rig)
    id = rig.world.create(since=rig.now - 50 * DAY)
    stopped = {"do": "change", "at": rig.now - DAY, "id": id, "values": {"state": "stopped"}, "by": "owner"}
    rig.world.replay([stopped])


def twins(rig: Rig) -> None:
    rig.world.populate(4, since=rig.now - 50 * DAY, habits={"steady": 1})


def ancient(rig: Rig) -> None:
    some(rig, days=401)


def only_new(rig: Rig) -> None:
    rig.world.create(since=rig.now)


def nobody(rig: Rig) -> None:
    """No machine at all."""


def many(rig: Rig) -> None:
    for number in range(6):
        rig.world.create(since=rig.now - (30 + number) * DAY)


def lost(rig: Rig) -> None:
    """Points of five hours ago are lost for good."""
    some(rig)
    rig.app.faults.hide(start=rig.now - 6 * HOUR, end=rig.now - 5 * HOUR)


def tagged(rig: Rig) -> None:
    some(rig)
    rig.world.edit(101, tags=["vpn"])


@dataclass(frozen=True)
class Case:
    name: str
    knobs: Knobs
    found: dict[str, tuple[str, Any]]
    """Topic -> level and value."""
    settings: dict[str, str] = field(default_factory=dict)
    """What is advised: all of it."""
    configured: tuple[str, ...] = ()
    populate: Setting = some
    step_ms: int = 5 * MINUTE
    watch: bool = False


BERLIN, UTC, INDIA, AUCKLAND, CHICAGO = HOUR, 0, 5 * HOUR + 30 * MINUTE, 13 * HOUR, -5 * HOUR
LAGGING = {"low_ms": 151_000, "high_ms": 163_000}

CASES = [
    Case("as configured", Knobs(), {
        "timezone": ("ok", BERLIN), "sampling": ("ok", 5 * MINUTE), "stamp": ("ok", "start"), "unlimited": ("ok", "0"),
        "bandwidth": ("ok", "two"), "list": ("ok", 4), "gaps": ("ok", 0), "epoch": ("ok", True),
        "bounds": ("ok", {"from": True, "until": False}), "login": ("ok", None)}),
    # --- zone
    Case("utc", Knobs(timezone="UTC"), {"timezone": ("change", UTC)}, {"timezone": "UTC"}),
    Case("utc, configured", Knobs(timezone="UTC"), {"timezone": ("ok", UTC)}, configured=("timezone: UTC",)),
    Case("half an hour", Knobs(timezone="Asia/Kolkata"), {"timezone": ("change", INDIA)},
         {"timezone": "Asia/Kolkata   # or another one that fits: Asia/Calcutta, Asia/Colombo"}),
    Case("west", Knobs(timezone="America/Chicago"), {"timezone": ("change", CHICAGO)},
         {"timezone": "America/Chicago   # or another one that fits: America/Indiana/Knox, America/Indiana/Tell_City, "
          "America/Knox_IN"}, populate=old),
    Case("the south", Knobs(timezone="Pacific/Auckland"), {"timezone": ("change", AUCKLAND)},
         {"timezone": "Pacific/Auckland"}, populate=old),
    Case("the same now, and another in summer", Knobs(timezone="Africa/Lagos"), {"timezone": ("change", BERLIN)},
         {"timezone": "Africa/Algiers   # or another one that fits: Africa/Bangui, Africa/Brazzaville, Africa/Douala"},
         populate=old),
    Case("coarse points, odd zone", Knobs(timezone="Asia/Kathmandu"), {"timezone": ("change", 5 * HOUR + 45 * MINUTE)},
         {"timezone": "Asia/Kathmandu   # or another one that fits: Asia/Katmandu"}, ("sampling: 1h",),
         step_ms=HOUR),
    # --- step
    *(Case(f"a step of {step} min", Knobs(), {"sampling": ("change", step * MINUTE), "timezone": ("ok", BERLIN),
           "stamp": ("ok", "start")}, {"sampling": text}, step_ms=step * MINUTE)
      for step, text in ((1, "1m"), (10, "10m"), (15, "15m"), (30, "30m"), (60, "1h"))),
    Case("a step of 20 s", Knobs(), {"sampling": ("change", 20_000), "stamp": ("ok", "start")}, {"sampling": "20s"},
         step_ms=20_000),
    # --- stamps
    Case("end", Knobs(stamp="end"), {"stamp": ("change", "end"), "timezone": ("ok", BERLIN)}, {"stamp": "end"}),
    Case("end, configured", Knobs(stamp="end"), {"stamp": ("ok", "end")}, configured=("stamp: end",)),
    Case("start, configured as end", Knobs(), {"stamp": ("change", "start")}, {"stamp": "start"}, ("stamp: end",)),
    Case("end, later than a step", Knobs(stamp="end", lag_ms=6 * MINUTE), {"stamp": ("change", "end")},
         {"stamp": "end"}, ("settle: 20m",)),
    Case("start, no traffic", Knobs(), {"stamp": ("unknown", None)}, populate=silent),
    Case("end, no traffic", Knobs(stamp="end"), {"stamp": ("change", "end")}, {"stamp": "end"}, populate=silent),
    Case("other bounds", Knobs(from_included=False, until_included=True),
         {"bounds": ("ok", {"from": False, "until": True}), "timezone": ("ok", BERLIN), "stamp": ("ok", "start")}),
    # --- lag
    Case("lag", Knobs(lag_ms=160_000), {"lag": ("change", LAGGING), "stamp": ("ok", "start")}, {"settle": "3m"},
         watch=True),
    Case("lag, settled", Knobs(lag_ms=160_000), {"lag": ("ok", LAGGING)}, configured=("settle: 3m",), watch=True),
    Case("lag, end", Knobs(lag_ms=160_000, stamp="end"), {"lag": ("change", LAGGING)},
         {"settle": "3m", "stamp": "end"}, watch=True),
    Case("lag, about as long as settle", Knobs(lag_ms=118_000),
         {"lag": ("change", {"low_ms": 115_000, "high_ms": 127_000})}, {"settle": "3m"}, watch=True),
    Case("lag, not watched", Knobs(lag_ms=160_000), {"lag": ("unknown", {"low_ms": 0, "high_ms": 187_000})}),
    Case("no lag", Knobs(), {"lag": ("ok", {"low_ms": 0, "high_ms": 7000})}, watch=True),
    Case("late points", Knobs(late_percent=10, late_ms=60 * MINUTE), {"gaps": ("note", 5), "stamp": ("ok", "start")}),
    Case("lost points", Knobs(), {"gaps": ("note", 48)}, populate=lost),
    # --- how far back
    Case("retention", Knobs(retention_ms=35 * DAY), {"keeps": ("change", 35 * DAY)}, {"keeps": "35d"}, watch=True),
    Case("retention, end", Knobs(retention_ms=35 * DAY, stamp="end", lag_ms=160_000), {"keeps": ("change", 35 * DAY)},
         {"keeps": "35d", "stamp": "end", "settle": "3m"}, watch=True),
    Case("retention, configured", Knobs(retention_ms=35 * DAY), {"keeps": ("ok", 35 * DAY)},
         configured=("keeps: 30d",), watch=True),
    Case("retention, not watched", Knobs(retention_ms=35 * DAY), {"keeps": ("unknown", 35 * DAY)}),
    Case("a day's retention", Knobs(retention_ms=DAY), {"timezone": ("ok", BERLIN), "keeps": ("change", DAY)},
         {"keeps": "1d"}, watch=True),
    Case("a day's retention, another zone", Knobs(retention_ms=DAY, timezone="Asia/Tokyo"),
         {"timezone": ("unknown", None), "lag": ("unknown", None)}, {"keeps": "1d"}, watch=True),
    Case("young machines", Knobs(), {"keeps": ("unknown", 61 * DAY)}, watch=True),
    Case("equally young machines", Knobs(), {"keeps": ("unknown", 50 * DAY)}, populate=twins, watch=True),
    Case("old machines", Knobs(), {"keeps": ("ok", 401 * DAY)}, populate=ancient),
    # --- the list
    Case("null", Knobs(unlimited=None), {"unlimited": ("change", "null"), "list": ("ok", 4)}, {"unlimited": "null"}),
    Case("null, configured", Knobs(unlimited=None), {"unlimited": ("ok", "null")}, configured=("unlimited: null",)),
    Case("all limited", Knobs(), {"unlimited": ("unknown", None)}, populate=limited),
    Case("one field", Knobs(bandwidth="one"), {"bandwidth": ("change", "one"), "list": ("ok", 4)}),
    Case("tags", Knobs(tags="objects"), {"tags": ("ok", "objects")}, populate=tagged),
    Case("list cut", Knobs(list_limit=4), {"list": ("change", 4)}, populate=many),
    Case("nobody", Knobs(), {"list": ("change", 0)}, populate=nobody),
    # --- no data
    Case("only new", Knobs(), dict.fromkeys(("timezone", "sampling", "stamp", "lag", "keeps"), ("unknown", None))
         | {"no_data": ("ok", "[]")}, populate=only_new),
    Case("only new, empty datapoints", Knobs(no_data="datapoints"), {"no_data": ("ok", "empty datapoints")},
         populate=only_new),
    Case("none stopped", Knobs(), {"stopped": ("unknown", None)}),
    Case("stopped, null", Knobs(), {"stopped": ("ok", "nothing")}, populate=with_a_stopped_one),
    Case("stopped, zeros", Knobs(stopped="zero"), {"stopped": ("ok", "zeros")}, populate=with_a_stopped_one),
    Case("epoch", Knobs(epoch_seconds=False), {"epoch": ("ok", False)}),
    # --- access
    Case("asleep", Knobs(asleep=True), {"suspended": ("note", 3), "timezone": ("ok", BERLIN)}),
    Case("login 200", Knobs(login_status=200, content_type="text/plain"), {"login": ("ok", None)}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finds_what_is(case: Case) -> None:
    """Each knob shows in a finding, and in the settings advised if the configuration says otherwise."""
    found, _ = surveyed(
        case.knobs, config(*case.configured), case.populate, step_ms=case.step_ms, watch=case.watch, most_judged=0
    )
    (report,) = found.platforms
    told = {topic: finding(report, topic) for topic in case.found}
    assert {topic: (one.level, one.value) for topic, one in told.items()} == case.found
    advised = dict(report.settings)
    if "settle" not in case.settings and not case.watch:
        advised.pop("settle", None)
    assert advised == case.settings


@pytest.mark.parametrize("day", ["2026-03-29T12:07", "2026-10-25T12:07", "2026-03-30T09:07", "2026-10-26T09:07"])
def test_when_clocks_were_just_changed(day: str) -> None:
    """Within a day after a change of the clocks the zone is still right."""
    now = local(day)
    report = surveyed(now=now, watch=False, most_judged=0)[0].platforms[0]
    told = finding(report, "timezone")
    assert (told.level, told.value) == ("ok", 2 * HOUR if "-03-" in day else HOUR)
    assert finding(report, "stamp").level == finding(report, "sampling").level == "ok"


@pytest.mark.parametrize(
    ("knobs", "populate", "words"),
    [
        (
            Knobs(late_percent=10, late_ms=60 * MINUTE),
            some,
            "up to 59m old, and none before: points come late; final_after: 6h waits for them",
        ),
        (Knobs(), lost, "older ones among them: machines that were stopped, or numbers that are lost"),
    ],
)
def test_late_and_lost_points(knobs: Knobs, populate: Setting, words: str) -> None:
    """Late is what is missing among the latest points alone."""
    found, _ = surveyed(knobs, populate=populate, watch=False, most_judged=0)
    assert words in finding(found.platforms[0], "gaps").text


def test_steps_that_are_not_over() -> None:
    """A newest point that still grows is no proof of anything about stamps, and makes the lag unmeasurable."""
    found, _ = surveyed(wrap=Running, most_judged=0)
    (report,) = found.platforms
    assert finding(report, "stamp")[1:4:2] == ("ok", "start")
    assert finding(report, "lag").level == "note"
    assert "keep settle at a step, 5m, or more" in finding(report, "lag").text


@pytest.mark.parametrize(("ahead_s", "told"), [(0, False), (200, True)])
def test_stamps_of_the_future(ahead_s: int, told: bool) -> None:
    """Where replies have no date, the newest stamps show a clock that is ahead."""
    found, _ = surveyed(Knobs(stamp="end"), config("stamp: end"), watch=False, most_judged=0, ahead_ms=ahead_s * 1000)
    (report,) = found.platforms
    assert any(one.topic == "ahead" and one.level == "change" for one in report.findings) is told
