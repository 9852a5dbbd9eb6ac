"""Lines of the log as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.cli import logs

WORDS = (
    st.text(st.characters(codec="utf-8"), max_size=6) | st.text('ab= "\\\n', max_size=6) | st.text("az/.:-", max_size=6)
)
VALUES = WORDS | st.integers() | st.booleans() | st.none() | st.floats()


@given(st.dictionaries(st.sampled_from(["service", "why", "revision", "speed_in"]), VALUES))
def test_the_short_way_says_the_same(fields: dict[str, object]) -> None:
    """A line of plain words and numbers is what the library makes of it as well."""
    head = {"time": "2026-01-01T00:00:00Z", "level": "info", "event": "quota.decided"}
    whole = logs._as_text(None, "info", {**head, **fields})
    with_doubt = logs._as_text(None, "info", {**head, **fields, "doubt": None})
    assert f"{whole} doubt=" == with_doubt
    assert "\n" not in whole
