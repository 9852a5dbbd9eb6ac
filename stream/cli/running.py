"""`run`, `collect`, `track`, `enforce` and `demo`: what serves until it is told to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar

import click

from stream import bootstrap
from stream.cli.base import Command, Invocation, examples, pass_config, pass_invocation, run
from stream.cli.logs import configure_logs
from stream.config import fields
from stream.config.fields import Address
from stream.config.model import Config
from stream.config.units import Wrong
from stream.ports import Role

Function = TypeVar("Function", bound=Callable[..., Any])


def _listen(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any]:
    """What of the configuration the option replaces."""
    try:
        return {} if value is None else {"listen": fields.listen(value)}
    except Wrong as wrong:
        raise click.BadParameter(str(wrong)) from wrong


listen_option = click.option(
    "--listen", "replaced", callback=_listen, metavar="HOST:PORT|off",
    help="Where metrics and health are served: another one for each process of a machine.  [default: as configured]",
)  # fmt: skip


class Elsewhere(NamedTuple):
    """Where an option puts the web; None: nowhere."""

    listen: Address | None


def _web(_: click.Context, __: click.Parameter, value: str | None) -> Elsewhere | None:
    """None: it stays where the configuration says."""
    try:
        return None if value is None else Elsewhere(fields.listen(value))
    except Wrong as wrong:
        raise click.BadParameter(str(wrong)) from wrong


web_option = click.option(
    "--web", callback=_web, metavar="HOST:PORT|off",
    help="Where pages and API are served, with the settings of `web`.  [default: as configured]",
)  # fmt: skip
drain_option = click.option(
    "--drain",
    is_flag=True,
    help="Exit when all that is in the log now is counted; beside others: by whoever counts it.",
)
accept_loss_option = click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on where the log begins, although it no longer has all that is to be counted.",
)


@click.command(
    "run",
    cls=Command,
    epilog=examples(
        "quota-stream run",
        "quota-stream run --config /etc/quota-stream/quota-stream.yaml",
        "quota-stream publish < deltas.jsonl && quota-stream run --drain && quota-stream tail quota.profile-changes",
    ),
)
@drain_option
@accept_loss_option
@listen_option
@web_option
@pass_config
def run_command(
    config: Config, *, drain: bool, accept_loss: bool, replaced: dict[str, Any], web: Elsewhere | None
) -> None:
    """Count traffic, decide, and set speeds.

    One process does everything until SIGTERM or Ctrl-C; with --drain platforms are left alone.  Kill it at any time: it
    goes on where it was.  With `shadow: true` in the configuration nothing is changed on a platform; with a section
    `web` it serves pages and API as well.  On Kafka several of them share the work, beside any number of `collect`,
    `track`, `enforce` and `serve`.
    """
    _serve(_with_web(config, web), bootstrap.ALL_ROLES, replaced, drained=drain, accept_loss=accept_loss)


@click.command(
    "collect",
    cls=Command,
    epilog=examples("quota-stream collect", "QUOTA_STREAM_INSTANCE_ID=collector-1 quota-stream collect --listen off"),
)
@listen_option
@pass_config
def collect(config: Config, *, replaced: dict[str, Any]) -> None:
    """Read traffic from the platforms, on Kafka.

    Any number of processes share the services; one that dies is replaced by the others within a session time-out.
    """
    _serve(config, ["collector"], replaced)


@click.command(
    "track",
    cls=Command,
    epilog=examples("quota-stream track", "quota-stream track --listen 127.0.0.1:9465", "quota-stream track --drain"),
)
@drain_option
@accept_loss_option
@listen_option
@pass_config
def track(config: Config, *, drain: bool, accept_loss: bool, replaced: dict[str, Any]) -> None:
    """Count traffic and decide, on Kafka.

    Any number of processes, up to that of partitions, share the partitions.  The plans are those in the log: `plans
    apply` brings them there; a warning says when the configuration has others.
    """
    _serve(config, ["tracker"], replaced, drained=drain, accept_loss=accept_loss)


@click.command("enforce", cls=Command, epilog=examples("quota-stream enforce", "quota-stream enforce --listen off"))
@listen_option
@pass_config
def enforce(config: Config, *, replaced: dict[str, Any]) -> None:
    """Set on the platforms what was decided, on Kafka.

    Any number of processes share the services.  With `shadow: true` in the configuration nothing is changed.
    """
    _serve(config, ["enforcer"], replaced)


@click.command(
    "serve",
    cls=Command,
    epilog=examples("quota-stream serve", "quota-stream serve --web 127.0.0.1:8481 --listen off"),
)
@listen_option
@web_option
@pass_config
def serve(config: Config, *, replaced: dict[str, Any], web: Elsewhere | None) -> None:
    """Show it in a browser, and steer it.

    Pages and API, beside whatever works on the log: on Kafka, or on the file of a running `run`, which serves them by
    itself (or not, with `run --web off`).  It reads what trackers and enforcers made durable, and keeps a history of
    its own that can be deleted at any time.
    """
    run(bootstrap.serve(_with_web(config, web).model_copy(update=replaced)))


def _with_web(config: Config, elsewhere: Elsewhere | None) -> Config:
    """Raises Misconfigured when there is no web to put elsewhere."""
    if elsewhere is None or (elsewhere.listen is None and config.web is None):
        return config
    return config.model_copy(
        update={"web": bootstrap.web_section(config).model_copy(update={"listen": elsewhere.listen})}
    )


def _serve(config: Config, roles: Collection[Role], replaced: dict[str, Any], **how: bool) -> None:
    run(bootstrap.run(config.model_copy(update=replaced), roles=roles, **how))


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
