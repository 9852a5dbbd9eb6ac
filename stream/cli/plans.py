"""`plans apply`, `diff` and `show`: the plans and mappings in the log against those of the configuration."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence

import click

from stream import bootstrap
from stream.cli.base import Group, examples, json_option, pass_config, print_json, run
from stream.cli.text import printable
from stream.cli.words import describe, describe_mapping
from stream.config.model import Config
from stream.core.errors import Misconfigured
from stream.runtime.plans import InForce, apply, in_force


@click.group("plans", cls=Group)
def plans() -> None:
    """Bring the plans of the configuration into the log."""


@plans.command("apply", epilog=examples("quota-stream plans diff; quota-stream plans apply"))
@json_option
@pass_config
def apply_plans(config: Config, *, as_json: bool) -> None:
    """Put the plans and mappings of the configuration in force.

    They travel in the log and act where they stand in it.  A service loses a plan that is gone, and a profile that is
    gone becomes the first one; what was used stays counted.  `run` and `publish` do this by themselves.
    """
    if not config.plans:
        raise Misconfigured(f"{config.file}: there are no plans, which would take every service's away; write some")
    before, version = run(_apply(config))
    if as_json:
        print_json({"version": version, "changed": version != before})
    else:
        click.echo(f"version {version} is in force{'' if version != before else ' already'}")


async def _apply(config: Config) -> tuple[int, int]:
    async with bootstrap.open_log(config, create=True) as log:
        before = max(each.version for each in await in_force(log))
        return before, await apply(log, config.plans, config.mappings)


@plans.command("diff", epilog=examples("quota-stream plans diff", "quota-stream plans diff --json"))
@json_option
@pass_config
def diff(config: Config, *, as_json: bool) -> None:
    """What `plans apply` would change.  Exit status 1 if anything."""
    present = run(_in_force(config))
    newest = max(present, key=lambda each: each.version)
    lines = list(_changes(newest, InForce(newest.version, config.plans, config.mappings)))
    behind = [partition for partition, each in enumerate(present) if each.version != newest.version]
    if as_json:
        print_json({"version": newest.version, "partitions_behind": behind, "changes": lines})
    for line in [] if as_json else lines:
        click.echo(printable(line))
    if behind and not as_json:
        click.echo(f"partitions {', '.join(map(str, behind))} have not got version {newest.version} yet")
    if lines or behind:
        raise SystemExit(1)
    if not as_json:
        click.echo(f"version {newest.version} is what the configuration says")


def _changes(present: InForce, wanted: InForce) -> Iterator[str]:
    """In words, as a diff; an order that differs alone is a change as well."""
    if present.are(wanted.plans, wanted.mappings):
        return
    for told in (_in_words, _in_full):
        changes = list(difflib.unified_diff(told(present), told(wanted), "in force", "configuration", n=1, lineterm=""))
        if changes:
            yield from changes
            return


def _in_words(plans: InForce) -> Sequence[str]:
    lines = [line for plan in plans.plans.values() for line in describe(plan)]
    return lines + [describe_mapping(mapping) for mapping in plans.mappings.values()]


def _in_full(plans: InForce) -> Sequence[str]:
    """For what the words do not tell."""
    return json.dumps(plans.to_json(), indent=2).splitlines()


async def _in_force(config: Config) -> list[InForce]:
    async with bootstrap.open_log(config) as log:
        return await in_force(log)


@plans.command("show", epilog=examples("quota-stream plans show", "quota-stream plans show --json"))
@json_option
@pass_config
def show(config: Config, *, as_json: bool) -> None:
    """The plans and mappings in force, and which partition has which version."""
    present = run(_in_force(config))
    newest = max(present, key=lambda each: each.version)
    if as_json:
        print_json({"partitions": [each.version for each in present], **newest.to_json()})
        return
    for line in _in_words(newest):
        click.echo(printable(line))
    for version in sorted({each.version for each in present}, reverse=True):
        having = [str(partition) for partition, each in enumerate(present) if each.version == version]
        click.echo(f"version {version or 'none'}: partitions {', '.join(having)}")
