"""`notify test`: whether who is to be told can be told."""

from __future__ import annotations

import click

from stream.adapters.clock import SystemClock
from stream.bootstrap import tell_test
from stream.cli.base import Command, Group, examples, pass_config, run
from stream.config.model import Config


@click.group("notify", cls=Group)
def notify() -> None:
    """Try whether who is to be told of what happens can be told."""


@notify.command("test", cls=Command, epilog=examples("quota-stream notify test"))
@pass_config
def test(config: Config) -> None:
    """Send one event of the type quota-stream.test, signed like all others."""
    run(tell_test(config, SystemClock()))
    click.echo("the receiver has taken it")
