"""The section `notify`: what it means, and every mistake with its line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.load import load
from stream.core.errors import Misconfigured
from tests.config.texts import FILE, config, problems

WEBHOOK = "  webhook: {url: 'https://billing.example.com/quota', secret_file: notify.secret}"


def notify(*lines: str) -> str:
    """The lines of the section begin on line 3."""
    return "log: sqlite:q.db\nnotify:\n" + "\n".join(lines) + "\n"


def test_a_webhook() -> None:
    """Paths are relative to the file; all events, unless it says less."""
    found = config(notify(WEBHOOK)).notify
    assert found is not None
    assert found.webhook is not None
    assert (found.webhook.url, found.webhook.secret_file) == (
        "https://billing.example.com/quota",
        FILE.parent / "notify.secret",
    )
    assert found.events == ("change", "return", "warning", "alarm")


def test_a_command() -> None:
    """A program with or without arguments, its time limit, and only what is wanted."""
    found = config(notify("  command: /usr/local/bin/tell", "  timeout: 5s", "  events: alarm")).notify
    assert found is not None
    assert (found.command, found.timeout, found.events) == (("/usr/local/bin/tell",), 5000, ("alarm",))
    assert config("log: sqlite:q.db\n").notify is None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("  events: [alarm]",), "2: notify: there is nobody to be told; write either `webhook: {url: ..., "
         "secret_file: ...}` or `command: [PROGRAM]`"),
        ((WEBHOOK, "  command: [x]"), "2: notify: there are two receivers; write either `webhook: {url: ..., "
         "secret_file: ...}` or `command: [PROGRAM]`"),
        (("  webhook: {url: 'ftp://x', secret_file: s}",), "3: notify.webhook.url: 'ftp://x' is no web address; write "
         "for example https://vm.example.com"),
        (("  webhook: {url: 'https://x'}",), "3: notify.webhook: `secret_file` is missing; write `secret_file: "
         "notify.secret`"),
        ((WEBHOOK, "  events: [changes]"), "4: notify.events.1: 'changes' is not possible; write 'change', 'return', "
         "'warning' or 'alarm'"),
    ],
)  # fmt: skip
def test_mistakes(lines: tuple[str, ...], problem: str) -> None:
    """Each is told by line, key and cure."""
    assert problems(notify(*lines)) == [problem]


def test_the_secret_must_be_there_and_for_nobody_else(tmp_path: Path) -> None:
    """A missing file is an error; one that others may read is a warning."""
    file = tmp_path / "quota-stream.yaml"
    file.write_text(notify(WEBHOOK))
    with pytest.raises(Misconfigured, match=r"notify\.secret"):
        load(file, with_files=True)
    (tmp_path / "notify.secret").write_text("s")
    (tmp_path / "notify.secret").chmod(0o644)
    assert any("notify.secret" in warning for warning in load(file, with_files=True).warnings)
