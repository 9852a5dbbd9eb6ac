"""`backup`: a consistent copy of the embedded log."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stream.adapters import sqlite_file
from stream.cli.base import Command, examples, pass_config
from stream.config.model import Config
from stream.core.errors import Misconfigured


@click.command(
    "backup",
    cls=Command,
    epilog=examples(
        "quota-stream backup /var/backups/quota-stream-$(date +%F).db",
        "# restore: stop run, remove the log and its -wal and -shm, put the copy in its place, start run",
    ),
)
@click.argument("target", type=click.Path(path_type=Path))
@pass_config
def backup(config: Config, target: Path) -> None:
    """Copy the log, also while it is in use.

    The copy is as of one instant and was checked when the command ends.  To restore: stop `run`, remove the log's file
    and the ones beside it that end in -wal and -shm, put the copy in its place, start `run`.
    """
    if config.log.kind == "kafka":
        raise Misconfigured(f"{config.file}: the brokers' replicas are the copies of a log on Kafka; see `replication`")
    if config.log.path is None:
        raise Misconfigured(f"{config.file}: a log in memory cannot be copied; write log: sqlite:quota-stream.db")
    with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, whole: int) -> None:
            bar.length = whole
            bar.update(done - bar.pos)

        sqlite_file.backup(config.log.path, target, progress)
    click.echo(f"wrote {target}")
