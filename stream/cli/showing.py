"""`service list`, `show` and `history`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import click

from stream import bootstrap
from stream.cli.base import Command, examples, json_option, pass_config, print_json, print_table, run
from stream.cli.reading import Known, history_of, instant_text, known_of, plain, services_of
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import duration_text, plural, rounded_size_text, size_text, speed_text
from stream.core.enforced import Enforcement
from stream.core.forecast import forecast
from stream.core.model import Decision, QuotaWarning, Slice
from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.core.view import PlanView, ServiceView, is_slowed
from stream.web.foretelling import sentences

BAR = 40

Wanted: TypeAlias = Callable[[ServiceView, Mapping[str, Plan]], bool]
"""Whether a service is to be shown, by the plans in force."""


@click.command(
    "list",
    cls=Command,
    epilog=examples(
        "quota-stream service list",
        "quota-stream service list 'vm1/*' --plan vpn --profile 10Mbit",
        "quota-stream service list --slowed --json",
    ),
)
@click.argument("pattern", default="*")
@click.option("--plan", metavar="NAME", help="Only services with this plan.")
@click.option("--profile", metavar="NAME", help="Only services in this profile.")
@click.option("--slowed", is_flag=True, help="Only services that are due less than where their plans begin.")
@json_option
@pass_config
def list_services(
    config: Config, pattern: str, *, plan: str | None, profile: str | None, slowed: bool, as_json: bool
) -> None:
    """Services and what they are due.

    PATTERN is a glob over their ids, for example 'vm1/*'.  With --json a line each, by id, with all that is counted:
    of the same records always the same lines, so that `diff` compares two logs, or one before and after an upgrade.
    """

    def wanted(view: ServiceView, plans: Mapping[str, Plan]) -> bool:
        chosen = [one for one in view.plans if plan in (None, one.plan) and profile in (None, one.profile)]
        return (bool(chosen) or (plan is None and profile is None)) and not (slowed and not is_slowed(view, plans))

    views = run(_views(config, pattern, wanted))
    if as_json:
        print_json(*(plain(view) for view in views))
        return
    rows = [
        (view.service, speed_text(view.speed), ", ".join(map(_in_short, view.plans)) or "no plans",
         instant_text(view.time), " ".join(f"{name}={value}" for name, value in view.labels.items()))
        for view in views
    ]  # fmt: skip
    print_table(("SERVICE", "DUE", "PLANS", "COUNTED TO", "LABELS"), rows)


async def _views(config: Config, pattern: str, wanted: Wanted) -> list[ServiceView]:
    async with bootstrap.open_log(config) as log:
        found = [view async for view, plans in services_of(log, pattern) if wanted(view, plans)]
    return sorted(found, key=lambda view: view.service)


def _in_short(plan: PlanView) -> str:
    quota = "" if plan.quota_bytes is None else f" of {rounded_size_text(plan.quota_bytes)}"
    return f"{plan.plan}:{plan.profile} {rounded_size_text(plan.usage_bytes)}{quota}"


@click.command(
    "show",
    cls=Command,
    epilog=examples("quota-stream service show vm1/101", "quota-stream service show vm1/101 --json"),
)
@click.argument("service_id", metavar="ID")
@json_option
@pass_config
def show(config: Config, service_id: str, *, as_json: bool) -> None:
    """Everything about one service.

    What is due and why, its windows slice by slice, what comes, what the platform was told and shows.
    """
    known = run(_known(config, service_id))
    if as_json:
        print_json(plain(known.view) | {"month": known.comparison, "enforcement": plain(known.enforcement)})
        return
    for line in (*_described(known.view), *_foretold(known)):
        click.echo(printable(line))
    if known.comparison is not None:
        click.echo(_compared(known.comparison))
    for line in [] if known.enforcement is None else _enforcement_described(known.enforcement):
        click.echo(line)


async def _known(config: Config, service_id: str) -> Known:
    async with bootstrap.open_log(config) as log:
        return await known_of(log, service_id)


def _described(view: ServiceView) -> Iterator[str]:
    yield f"{view.service}: {speed_text(view.speed)} is due"
    labels = "".join(f", {name} {value}" for name, value in view.labels.items())
    yield f"  source {view.source}, incarnation {view.incarnation}, revision {view.revision}{labels}"
    backfill = ", being filled with numbers of the past" if view.backfilling else ""
    yield f"  counted to {instant_text(view.time)}{backfill}"
    accepted = f"in {size_text(view.accepted_in)}, out {size_text(view.accepted_out)}"
    stale = view.stale_in + view.stale_out
    yield f"  accepted: {accepted}{f'; out of order or repeated: {size_text(stale)}' if stale else ''}"
    for plan in view.plans:
        yield from _plan_described(plan)


def _plan_described(plan: PlanView) -> Iterator[str]:
    yield f"plan {plan.plan}: profile {plan.profile} ({speed_text(plan.speed)}) since {instant_text(plan.entered_at)}"
    if plan.quota_bytes is not None:
        share = f" ({100 * plan.usage_bytes // plan.quota_bytes} %)"
        yield f"  used {size_text(plan.usage_bytes)} of {size_text(plan.quota_bytes)}{share}"
    else:
        yield f"  used {size_text(plan.usage_bytes)}"
    if plan.stay_until is not None:
        yield f"  the way up opens at {instant_text(plan.stay_until)}"
    if plan.counted_from is not None:
        yield f"  counted from {instant_text(plan.counted_from)} on"
    for credit in plan.credits:
        yield f"  credit of {size_text(credit.bytes)} until {instant_text(credit.expires_at)}"
    if plan.exempt_until is not None:
        yield f"  exempt until {instant_text(plan.exempt_until)}"
    if plan.pinned is not None:
        yield f"  pinned to {plan.pinned} until {instant_text(plan.pinned_until) if plan.pinned_until else 'unpinned'}"
    yield from _window_drawn(plan.window)


def _window_drawn(window: tuple[Slice, ...]) -> Iterator[str]:
    most = max((part.bytes for part in window), default=0)
    for part in window:
        bar = "#" * (BAR * part.bytes // most) if most else ""
        length = duration_text(part.end - part.start)
        yield f"  {instant_text(part.start)} {length:>5}  {rounded_size_text(part.bytes):>8}  {bar}".rstrip()


def _foretold(known: Known) -> Iterator[str]:
    found = sentences(forecast(known.view, known.plans), instant_text)
    if found:
        yield "what comes, if nobody intervenes:"
    for sentence in found:
        yield f"  {sentence}"


def _compared(month: Mapping[str, Any]) -> str:
    ours, theirs = (month[f"{whose}_in"] + month[f"{whose}_out"] for whose in ("ours", "theirs"))
    span = f"from {instant_text(month['start'])} to {instant_text(month['end'])}"
    difference = f"difference {ours - theirs:+} {plural(abs(ours - theirs), 'byte')}"
    return f"platform's own count {span}: {size_text(theirs)}, ours {size_text(ours)}, {difference}"


def _enforcement_described(enforcement: Enforcement) -> Iterator[str]:
    yield f"platform: {_limit(enforcement.original)} before we touched it"
    if enforcement.intent is not None:
        state = "and it shows that" if enforcement.settled else "and does not show that yet"
        intent = enforcement.intent
        yield f"  asked for {_limit(intent.wanted)} at {instant_text(intent.at)} (revision {intent.revision}), {state}"
    for receipt in enforcement.receipts:
        shown = "" if receipt.shown is None else f", it shows {_limit(receipt.shown)}"
        yield f"  {instant_text(receipt.at)} {_limit(receipt.wanted)}: {receipt.result}{shown}"


def _limit(speed: Speed) -> str:
    """In speeds of the platform None means no limit."""
    return speed_text(speed).replace("original", "no limit")


@click.command(
    "history",
    cls=Command,
    epilog=examples("quota-stream service history vm1/101", "quota-stream service history vm1/101 --json"),
)
@click.argument("service_id", metavar="ID")
@json_option
@pass_config
def history(config: Config, service_id: str, *, as_json: bool) -> None:
    """Every change of speed and every warning, also of a service that is gone.

    With what it was decided upon and, for a correction, who made it and why.
    """
    outcomes = run(_history(config, service_id))
    if as_json:
        print_json(*map(plain, outcomes))
        return
    if not outcomes:
        click.echo(f"nothing was ever decided about {printable(service_id)}")
        return
    print_table(("TIME", "WHAT", "WHY", "USED", "DUE"), [_row(outcome) for outcome in outcomes])


async def _history(config: Config, service_id: str) -> list[Decision | QuotaWarning]:
    """Raises Misconfigured if nothing was ever decided and there is no such service."""
    async with bootstrap.open_log(config) as log:
        found = await history_of(log, service_id)
        if not found:
            await known_of(log, service_id)
    return found


def _row(outcome: Decision | QuotaWarning) -> tuple[str, str, str, str, str]:
    used = "" if outcome.usage_bytes is None else rounded_size_text(outcome.usage_bytes)
    quota = "" if outcome.quota_bytes is None else f" of {rounded_size_text(outcome.quota_bytes)}"
    if isinstance(outcome, QuotaWarning):
        return instant_text(outcome.at), f"{outcome.plan}: warning", f"{outcome.percent} % used", used + quota, ""
    move = f"{outcome.plan}: {outcome.from_} -> {outcome.to}" if outcome.plan else "service"
    by = f" by {outcome.adjustment['by']}: {outcome.adjustment.get('why', '')}" if outcome.adjustment else ""
    return instant_text(outcome.at), move, f"{outcome.reason}{by}", used + quota, speed_text(outcome.speed)
