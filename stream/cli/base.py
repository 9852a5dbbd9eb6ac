"""What all commands share: the configuration, logs on standard error, errors as one line, exit status 0, 1 or 2."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click
import structlog

from stream.cli.logs import configure_logs
from stream.cli.text import printable
from stream.core.errors import Misconfigured, QuotaStreamError

if TYPE_CHECKING:
    from stream.config.model import Config

log = structlog.get_logger()

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

FILE_VARIABLE = "QUOTA_STREAM_CONFIG"
DEFAULT_FILE = Path("quota-stream.yaml")
LEVELS = ("debug", "info", "warning", "error")


@dataclass
class Invocation:
    """What the command line says for all commands."""

    file: Path = field(default_factory=lambda: Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE))
    level: str | None = None

    @cached_property
    def config(self) -> Config:
        """The configuration; its warnings go to the log.  Raises Misconfigured."""
        from stream.config.load import load  # a third of a second that `--help` does not need

        config = load(self.file)
        configure_logs(self.level or config.log_level, config.log_format)
        for warning in config.warnings:
            log.warning("configuration.warning", message=warning)
        return config


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


class Failure(click.ClickException):
    """One of our errors: its lines on standard error, and exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"{click.style('error:', fg='red')} {printable(line)}", err=True, file=file)


class WrongUse(Failure):
    """The configuration or the arguments are wrong: exit status 2.  Lines begin with FILE:LINE, for editors."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(printable(line), err=True, file=file)


class Command(click.Command):
    """A command that takes the options which all take."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options()


class Group(click.Group):
    """Commands of ours.  Listed in the order in which they were added."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Misconfigured as error:
            raise WrongUse(str(error)) from error
        except QuotaStreamError as error:
            raise Failure(str(error)) from error


def shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"], type=click.Path(path_type=Path), metavar="FILE", expose_value=False, callback=_set_file,
            help=f"The configuration.  [default: ${FILE_VARIABLE} or {DEFAULT_FILE}]",
        ),
        click.Option(
            ["--log-level"], type=click.Choice(LEVELS), expose_value=False, callback=_set_level,
            help="What to log on standard error.  [default: as configured]",
        ),
    ]  # fmt: skip


def _set_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).file = value


def _set_level(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).level = value
        configure_logs(value)


def pass_config(function: Function) -> Function:
    """The command's first argument is the configuration."""

    @wraps(function)
    def with_config(*args: Any, **kwargs: Any) -> Any:
        return function(click.get_current_context().ensure_object(Invocation).config, *args, **kwargs)

    return cast("Function", with_config)


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(work)


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


def print_json(*values: object) -> None:
    """One line each.  What cannot be seen is escaped, as JSON allows, so that it cannot control a terminal."""
    if values:
        click.echo("\n".join(map(json_line, values)))


def json_line(value: object) -> str:
    """One line."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what stands in them; nothing in them can control the terminal."""
    lines = [head, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
