"""`service credit`, `exempt`, `pin`, `unpin` and `reset`: records in the log, and waiting until they are counted."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import click

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.base import Command, examples, json_option, pass_config, print_json, run
from stream.cli.reading import history_of, known_of, plain
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import Wrong, duration_ms, size_bytes, speed_text
from stream.core.errors import Unavailable
from stream.core.model import Decision
from stream.core.view import ServiceView
from stream.ports import Log
from stream.runtime.operating import Operating, Outcome, Wish, another, is_same

Function = TypeVar("Function", bound=Callable[..., Any])


def quantity(read: Callable[[object], int]) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """Reads an option or argument as a size or a duration."""

    def callback(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
        try:
            return None if value is None else read(value)
        except Wrong as wrong:
            raise click.BadParameter(str(wrong)) from wrong

    return callback


def instant(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Reads a time: ISO 8601, without an offset in the time zone of this machine."""
    if value is None:
        return None
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(f"{value!r} is no time; write for example 2026-03-01T12:00") from error


def adjustment_options(function: Function) -> Function:
    """What all adjustments take."""
    for decorate in reversed(
        (
            click.argument("service_id", metavar="ID"),
            click.option("--plan", metavar="NAME", help="Of this plan alone.  [default: all plans of the service]"),
            click.option("--why", default="", metavar="TEXT", help="Kept with it, and shown in the history."),
            click.option("--id", "identity", metavar="TEXT", help="Repeating it does nothing.  [default: a new one]"),
            click.option("--at", callback=instant, metavar="TIME", help="[default: now]"),
            click.option("--wait", "wait_ms", default="10s", callback=quantity(duration_ms), show_default=True,
                         help="How long to wait until it is counted."),
            click.option("--no-wait", is_flag=True, help="Only put it into the log."),
            json_option,
            pass_config,
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def until_options(function: Function) -> Function:
    end = click.option("--until", callback=instant, metavar="TIME", help="For example 2026-03-01T12:00.")
    span = click.option("--for", "for_ms", callback=quantity(duration_ms), metavar="DURATION", help="For example 2h.")
    return end(span(function))


def ending(until: int | None, for_ms: int | None, at: int | None) -> int | None:
    if until is not None and for_ms is not None:
        raise click.UsageError("--until and --for exclude each other")
    return until if for_ms is None else (at or SystemClock().now()) + for_ms


@click.command("credit", cls=Command, epilog=examples("quota-stream service credit vm1/101 '50 GiB' --why 'ticket 12'"))
@adjustment_options
@click.argument("size", callback=quantity(size_bytes))
def credit(config: Config, service_id: str, size: int, **common: Any) -> None:
    """Raise a quota for once.

    It holds until the window has moved past now or, for a calendar window, until the period is over.
    """
    _adjust(config, service_id, "credit", {"bytes": size}, **common)


@click.command(
    "exempt",
    cls=Command,
    epilog=examples(
        "quota-stream service exempt vm1/101 --for 2h --why outage",
        "quota-stream service exempt vm1/101 --until 2026-03-01T12:00+01:00",
    ),
)
@adjustment_options
@until_options
def exempt(config: Config, service_id: str, *, until: int | None, for_ms: int | None, **common: Any) -> None:
    """Give the original speed back for a while.

    Counting goes on; when the time is over the plans are judged at once.
    """
    end = ending(until, for_ms, common["at"])
    if end is None:
        raise click.UsageError("say until when: --until TIME or --for DURATION")
    _adjust(config, service_id, "exempt", {"until": end}, **common)


@click.command(
    "pin",
    cls=Command,
    epilog=examples(
        "quota-stream service pin vm1/101 10Mbit --plan vpn --why abuse",
        "quota-stream service pin vm1/101 10Mbit --plan vpn --until 2026-03-01",
    ),
)
@adjustment_options
@click.argument("profile")
@until_options
def pin(config: Config, service_id: str, profile: str, *, until: int | None, for_ms: int | None, **common: Any) -> None:
    """Hold a plan in one profile.

    Until it is unpinned or the time is over; counting goes on.
    """
    if common["plan"] is None:
        raise click.UsageError("say of which plan: --plan NAME")
    _adjust(config, service_id, "pin", {"profile": profile, "until": ending(until, for_ms, common["at"])}, **common)


@click.command("unpin", cls=Command, epilog=examples("quota-stream service unpin vm1/101 --plan vpn"))
@adjustment_options
def unpin(config: Config, service_id: str, **common: Any) -> None:
    """Let a pinned plan move again."""
    _adjust(config, service_id, "unpin", {}, **common)


@click.command(
    "reset", cls=Command, epilog=examples("quota-stream service reset vm1/101 --plan vpn --why 'our mistake'")
)
@adjustment_options
def reset(config: Config, service_id: str, **common: Any) -> None:
    """Empty the window and go back to the first profile."""
    _adjust(config, service_id, "reset", {}, **common)


def _adjust(
    config: Config, service_id: str, kind: str, what: dict[str, Any], *, identity: str | None, plan: str | None,
    why: str, at: int | None, wait_ms: int, no_wait: bool, as_json: bool,
) -> None:  # fmt: skip
    wish = Wish(service=service_id, kind=kind, id=identity, plan=plan, why=why, at=at, **what)
    outcome, view = run(_append(config, wish, None if no_wait else wait_ms / 1000))
    if as_json:
        told = {"id": outcome.id, "counted": outcome.counted, "repeated": outcome.repeated}
        print_json({**told, "service": plain(view)})
    elif view is None:
        click.echo(printable(f"{kind} {outcome.id} is in the log"))
    else:
        again = f"{outcome.id} was already counted, and does nothing again"
        done = again if outcome.repeated else f"{kind} counted"
        click.echo(printable(f"{view.service}: {done}; {speed_text(view.speed)} is due"))


def system_user() -> str:
    """Who does it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def _append(config: Config, wish: Wish, wait_s: float | None) -> tuple[Outcome, ServiceView | None]:
    """Put it into the log; then the service as it is afterwards, unless nobody wants to wait.  Raises Rejected."""
    async with bootstrap.open_log(config) as log:
        operating = Operating(log, clock=SystemClock(), max_ahead_ms=config.max_ahead)
        outcome = await operating.adjust(wish, by=system_user(), wait_s=wait_s)
        if wait_s is None:
            return outcome, None
        if not outcome.counted:
            raise Unavailable(
                f"it is in the log (partition {outcome.partition}, offset {outcome.offset}), but was not counted "
                f"within {wait_s:g} s; it will be when `quota-stream run` runs"
            )
        if outcome.repeated:
            await _refuse_another(log, wish)
        return outcome, (await known_of(log, wish.service)).view


async def _refuse_another(log: Log, wish: Wish) -> None:
    """Raises Rejected if what was counted of this service with its id is something else; ends, which often are so long
    from now, may differ."""
    decisions = [one for one in await history_of(log, wish.service) if isinstance(one, Decision)]
    counted = [one.adjustment for one in decisions if one.adjustment and one.adjustment.get("id") == wish.id]
    if counted and not any(is_same(replace(wish, until=one.get("until")), wish.service, one) for one in counted):
        raise another(wish.service, counted[0])
