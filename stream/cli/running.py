"""`run` and `demo`: the whole line in one process."""

from __future__ import annotations

import math

import click

from stream import bootstrap
from stream.cli.base import Command, Invocation, examples, pass_config, pass_invocation, run
from stream.cli.logs import configure_logs
from stream.config.model import Config


@click.command(
    "run",
    cls=Command,
    epilog=examples(
        "quota-stream run",
        "quota-stream run --config /etc/quota-stream/quota-stream.yaml",
        "quota-stream publish < deltas.jsonl && quota-stream run --drain && quota-stream tail quota.profile-changes",
    ),
)
@click.option("--drain", is_flag=True, help="Work off what is in the log, then exit; platforms are left alone.")
@pass_config
def run_command(config: Config, *, drain: bool) -> None:
    """Count traffic, decide, and set speeds.

    One process does everything until SIGTERM or Ctrl-C.  Kill it at any time: it goes on where it was.  With
    `shadow: true` in the configuration nothing is changed on a platform.
    """
    run(bootstrap.run(config, drained=drain))


@click.command(
    "demo",
    cls=Command,
    epilog=examples(
        "quota-stream demo",
        "quota-stream demo --services 50 --hours 48 --seed 7",
        "quota-stream demo --json | tail -1",
    ),
)
@click.option("--services", type=click.IntRange(1, 10_000), default=12, show_default=True, help="How many VMs.")
@click.option("--hours", type=click.FloatRange(1, 10_000), default=30.0, show_default=True, help="Of simulated time.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same traffic and faults."
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object.")
@pass_invocation
def demo(invocation: Invocation, *, services: int, hours: float, seed: int, as_json: bool) -> None:
    """Watch it work, faster than time, with an audit.

    It runs against a simulated VMmanager; nothing is needed and nothing is left behind.  Exit status 1 if the audit
    finds a byte or a limit that is wrong.
    """
    if math.isnan(hours):
        raise click.BadParameter("nan is no number of hours", param_hint="--hours")
    from stream import demo as shown  # it brings the simulator along, which no other command needs

    if invocation.level is None:
        configure_logs("error")  # its own lines tell what happens
    if not shown.demo(services=services, hours=hours, seed=seed, as_json=as_json):
        raise SystemExit(1)
