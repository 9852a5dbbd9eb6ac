"""The command line."""

from __future__ import annotations

import click

from stream import __version__
from stream.cli.base import Group, examples, shared_options
from stream.cli.logs import configure_logs
from stream.cli.publish import publish
from stream.cli.running import demo, run_command
from stream.cli.setup import check, init
from stream.cli.tail import tail
from stream.simulator.command import simulator


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=examples("quota-stream demo", "quota-stream init && quota-stream check --live && quota-stream run")
    + "\n\nResults go to standard output, logs to standard error.  "
    "Exit status: 0 done, 1 failed, 2 wrong use or configuration.",
)
@click.version_option(__version__, prog_name="quota-stream")
def cli() -> None:
    """Traffic quotas over sliding windows: who overuses becomes slower, who calms down gets the speed back."""


cli.params += shared_options()
simulator.params += shared_options()
for command in (run_command, demo, init, check, publish, tail, simulator):
    cli.add_command(command)


def main() -> None:
    """Entry point of `quota-stream`."""
    configure_logs("info")
    cli(prog_name="quota-stream")
