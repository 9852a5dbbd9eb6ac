"""Pictures show what the numbers say: heights, widths, order, and no text as anything but text."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

from stream.core.model import Slice
from stream.web.pictures import (
    EnglishLabels,
    Layer,
    Line,
    Span,
    history_band,
    population_picture,
    shade,
    usage_bar,
    window_picture,
)
from tests.web.hostile import SCRIPT

LABELS = EnglishLabels(ZoneInfo("UTC"))
HOUR_MS = 3_600_000
MIB = 1 << 20


def rects(picture: str, kind: str) -> list[dict[str, str]]:
    return [dict(one.attrib) for one in ElementTree.fromstring(picture).iter("rect") if one.get("class") == kind]


def test_slices_stand_upon_each_other_and_reach_the_quota_together() -> None:
    """Two halves of the quota: the second one ends at the height of the quota's line."""
    window = [Slice(0, HOUR_MS, 50 * MIB), Slice(HOUR_MS, 2 * HOUR_MS, 50 * MIB)]
    drawn = window_picture(window, [Line(100 * MIB, "quota", quota=True)], LABELS, "half and half")
    first, second = rects(drawn, "slice")
    assert float(first["y"]) == float(second["y"]) + float(second["height"])
    quota = re.search(r'class="quota" x1="0" x2="100%" y1="([\d.]+)"', drawn)
    assert quota is not None
    assert quota[1] == second["y"]
    assert (first["x"], first["width"], second["x"]) == ("0%", "50%", "50%")


def test_one_slice_is_a_bar_with_its_lines() -> None:
    """A month that is used up to a half: half as wide as the quota stands away."""
    drawn = window_picture([Slice(0, HOUR_MS, 50)], [Line(100, "quota", quota=True), Line(25, "below")], LABELS, "half")
    (bar,) = rects(drawn, "slice")
    places = {kind: float(x) for kind, x in re.findall(r'class="(quota|threshold)" x1="([\d.]+)%"', drawn)}
    assert abs(float(bar["width"].rstrip("%")) - places["quota"] / 2) < 0.1
    assert abs(places["threshold"] - places["quota"] / 4) < 0.1


def test_texts_of_lines_never_stand_upon_each_other() -> None:
    """Thresholds that are nearly equal have their texts under each other."""
    lines = [Line(1000 + place, f"below {place}") for place in range(4)]
    drawn = window_picture([Slice(0, 1, 1), Slice(1, 2, 1)], lines, LABELS, "close")
    heights = sorted(float(y) for y in re.findall(r'class="over" x="2" y="([\d.]+)"', drawn))
    assert all(two - one > 14.8 for one, two in pairwise(heights))


def test_a_band_is_as_long_as_its_speeds_lasted() -> None:
    """A quarter fast, three quarters slow; slow is lower, and each stretch leads to its change."""
    spans = [Span(0, HOUR_MS, 0, "fast", "fast", "#a"), Span(HOUR_MS, 4 * HOUR_MS, 1, "slow", "slow", "#b")]
    root = ElementTree.fromstring(history_band(spans, 0, 4 * HOUR_MS, LABELS, "both"))
    links = root.findall("a")
    assert [link.get("href") for link in links] == ["#a", "#b"]
    shapes = [link.find("svg") for link in links]
    assert [shape is not None and (shape.get("x"), shape.get("width")) for shape in shapes] == [
        ("0%", "25%"),
        ("25%", "75%"),
    ]
    fast, slow = (float(shape.get("height", "0")) for shape in shapes if shape is not None)
    assert slow < fast


def test_a_few_slowed_among_many_can_be_seen() -> None:
    """Of a million services forty are slow: the scale is theirs, and the first profile fills the rest."""
    layers = [Layer(5, [40, 40]), Layer(0, [999_960, 999_960])]
    drawn = population_picture([0, HOUR_MS], layers, (0, HOUR_MS), LABELS, "few")
    slow = ElementTree.fromstring(drawn).find(".//polygon[@class='s5']")
    assert slow is not None
    assert min(float(point.split(",")[1]) for point in slow.get("points", "").split()) == 60.0
    assert ">100</text>" in drawn


def test_shades_go_from_the_first_step_to_the_last() -> None:
    """The first profile is calm, the last one the strongest, and no other is as calm as the first."""
    assert [shade(place, 4) for place in range(4)] == [0, 2, 3, 5]
    assert [shade(place, 2) for place in range(2)] == [0, 5]
    assert min(shade(place, 16) for place in range(1, 16)) == 1


def test_no_text_in_a_picture_is_anything_else() -> None:
    """Names of profiles and titles are escaped; nothing has a style or a handler."""
    lines = [Line(5, SCRIPT)]
    for drawn in (
        window_picture([Slice(0, 1, 1), Slice(1, 2, 1)], lines, LABELS, SCRIPT),
        window_picture([Slice(0, 1, 1)], lines, LABELS, SCRIPT),
        history_band([Span(0, 9, 0, SCRIPT, SCRIPT, f"#{SCRIPT}")], 0, 9, LABELS, SCRIPT),
        population_picture([0, 9], [Layer(0, [1, 1])], (0, 9), LABELS, SCRIPT),
        usage_bar(5, 10),
    ):
        ElementTree.fromstring(drawn)
        assert "<script" not in drawn
        assert "style=" not in drawn
