"""The process's log says in one line what was decided."""

from __future__ import annotations

from structlog.testing import capture_logs

from stream.core.model import Decision, Position, QuotaWarning, Slice, Speed
from stream.runtime.telling import teller

AT = 1_764_547_260_000


def test_each_outcome_is_a_line() -> None:
    """Who moved from where to where, and why; a warning has its own word."""
    decision = Decision(
        "vm1/101", 7, 3, AT, "exceeded", Speed(10, 10), 1, Position(5), 0, plan="vpn", from_="full", to="slow"
    )
    window = (Slice(AT - 60_000, AT, 9),)
    warning = QuotaWarning("vm1/101", 7, "vpn", "full", AT, 80, 9, 10, window, 1, Position(6), 0)
    with capture_logs() as lines:
        tell = teller()
        for outcome in (decision, warning):
            tell(outcome)
    assert [(line["event"], line["service"], line["plan"], line["at"]) for line in lines] == [
        ("quota.decided", "vm1/101", "vpn", "2025-12-01T00:01:00+00:00"),
        ("quota.warning", "vm1/101", "vpn", "2025-12-01T00:01:00+00:00"),
    ]
    assert (lines[0]["speed_in"], lines[0]["speed_out"]) == (10, 10)
    assert (lines[0]["from"], lines[0]["to"], lines[0]["reason"], lines[0]["revision"]) == (
        "full",
        "slow",
        "exceeded",
        3,
    )
    assert (lines[1]["percent"], lines[1]["usage_bytes"], lines[1]["quota_bytes"]) == (80, 9, 10)
