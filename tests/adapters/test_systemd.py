"""What systemd says to us."""

from __future__ import annotations

import pytest

from stream.adapters.systemd import notify, watchdog_s


@pytest.mark.parametrize(
    ("allowed_us", "every_s"),
    [("30000000", 15.0), ("", None), ("soon", None), ("3\N{SUPERSCRIPT TWO}", None), ("9" * 5000, None)],
)
def test_how_often_it_wants_to_hear(allowed_us: str, every_s: float | None) -> None:
    """Half of what is allowed; what is no number is as if nothing were said."""
    assert watchdog_s({"WATCHDOG_USEC": allowed_us}) == every_s


def test_for_another_process() -> None:
    """A watchdog that is meant for another process is not ours."""
    assert watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None


@pytest.mark.parametrize("address", ["", "/nowhere", "@nowhere", "x" * 5000])
def test_nobody_listens(address: str) -> None:
    """A manager that is not there is no error."""
    assert not notify("READY=1", {"NOTIFY_SOCKET": address})
