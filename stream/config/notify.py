"""The section `notify`: who is told of what happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

from pydantic import Field, field_validator

from stream.config.document import Document
from stream.config.fields import DurationMs, File, SecretFile, Section, Text, Url, several
from stream.core.notices import NoticeKind
from stream.core.reading import Problem

SECTION = ("notify",)


class WebhookSetting(Section):
    """Where CloudEvents are posted to."""

    url: Url = Field(examples=["https://billing.example.com/quota"])
    secret_file: SecretFile = Field(examples=["notify.secret"])
    """With it they are signed."""
    timeout: DurationMs = 10_000
    ca_file: File | None = None
    """None: the authorities that this machine trusts."""


class Notify(Section):
    """The section `notify`.  Without it nobody is told of anything."""

    webhook: WebhookSetting | None = None
    command: tuple[Text, ...] = ()
    """A program and its arguments: it gets each event as JSON on its standard input."""
    timeout: DurationMs = 30_000
    """Of the command."""
    alarm_after: DurationMs = 300_000
    """A problem that lasts so long is an alarm."""
    events: tuple[NoticeKind, ...] = ("change", "return", "warning", "alarm")

    @field_validator("command", "events", mode="before")
    @classmethod
    def _single_is_a_list(cls, value: object) -> object:
        return several(value)

    def files(self) -> Iterator[tuple[tuple[str | int, ...], FilePath, bool]]:
        """Key and place of each file that must be there, and whether it is a secret."""
        if self.webhook is not None:
            yield ("webhook", "secret_file"), self.webhook.secret_file, True
            if self.webhook.ca_file is not None:
                yield ("webhook", "ca_file"), self.webhook.ca_file, False


def check_notify(errors: Document, notify: Notify) -> None:
    """Add what its settings have wrong together."""
    if (notify.webhook is None) == (not notify.command):
        what = "there are two receivers" if notify.command else "there is nobody to be told"
        cure = "write either `webhook: {url: ..., secret_file: ...}` or `command: [PROGRAM]`"
        errors.add(Problem(SECTION, what, cure))
