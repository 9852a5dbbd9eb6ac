"""The command line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple

import click

from stream import __version__
from stream.cli.base import Failure, Group, WrongUse, examples, shared_options
from stream.cli.logs import configure_logs


class Place(NamedTuple):
    """Where a command is; what it does stands here as well, so that the list of all needs none of them."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "run": Place("running", "run_command", "Count traffic, decide, and set speeds."),
    "collect": Place("running", "collect", "Read traffic from the platforms, on Kafka."),
    "track": Place("running", "track", "Count traffic and decide, on Kafka."),
    "enforce": Place("running", "enforce", "Set on the platforms what was decided, on Kafka."),
    "serve": Place("running", "serve", "Show it in a browser, and steer it."),
    "demo": Place("running", "demo", "Watch it work, faster than time, with an audit."),
    "init": Place("setup", "init", "Write a commented configuration to begin with."),
    "check": Place("setup", "check", "Find every mistake in the configuration."),
    "publish": Place("publish", "publish", "Put JSON lines from standard input into the log."),
    "tail": Place("tail", "tail", "Print a topic as JSON lines."),
    "status": Place("status", "status", "How everything is, on one screen."),
    "service": Place("service", "service", "Look at services, and correct what they are due."),
    "plans": Place("plans", "plans", "Bring the plans of the configuration into the log."),
    "topics": Place("topics", "topics", "Make the topics on a Kafka cluster, and look after them."),
    "platform": Place("platforms", "platform", "Open the brake, give speeds back, settle originals."),
    "token": Place("tokens", "token", "Say who may come in to the API and the pages."),
    "notify": Place("notifying", "notify", "Try whether who is to be told of what happens can be told."),
    "simulator": Place("simulator", "simulator", "Serve a VMmanager to try things on."),
    "backup": Place("backup", "backup", "Copy the log, also while it is in use."),
}


class Commands(Group):
    """Loads a command when it is used: most need much that the others do not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        place = COMMANDS[cmd_name]
        command = getattr(import_module(f"stream.cli.{place.module}"), place.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=examples("quota-stream demo", "quota-stream init && quota-stream check --live && quota-stream run")
    + "\n\nResults go to standard output, logs to standard error.  "
    "Exit status: 0 done, 1 failed, 2 wrong use or configuration.",
)
@click.version_option(__version__, prog_name="quota-stream")
def cli() -> None:
    """Traffic quotas over sliding windows: who overuses becomes slower, who calms down gets the speed back."""


cli.params += shared_options()


def main() -> None:
    """Entry point of `quota-stream`."""
    configure_logs("info")
    try:
        if strange := [one for one in sys.argv[1:] if not _is_utf8(one)]:
            WrongUse(f"{strange[0]!r} is not UTF-8; write it in that encoding").show()
            raise SystemExit(WrongUse.exit_code)
        cli(prog_name="quota-stream")
    except OSError as error:  # what no command maps: standard output that takes no more
        with suppress(OSError):
            Failure(f"{error.filename or 'input or output'}: {error.strerror or error}; mend that and repeat").show()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or else what is left in the buffer fails again at the end
        raise SystemExit(1) from error


def _is_utf8(argument: str) -> bool:
    """Python carries bytes of an argument that are not UTF-8 as halves of characters, which nothing else takes."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
