"""What only the parts together show: rules against plans and platforms, rules against each other, secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TypeAlias

from stream.config.document import Document
from stream.config.platforms import MBIT, Vmmanager, inexpressible
from stream.config.rules import Rule, resting_on, shadowed
from stream.config.secrets import exposed
from stream.config.units import nearest, shown, speed_text
from stream.core.plan import MOST_PLANS_OF_SERVICE, Plan
from stream.core.reading import Path, Problem
from stream.core.speed import Speed

Plans = Mapping[str, Plan | None]
Platforms = Mapping[str, Vmmanager | None]
"""By name; None: it is there and could not be read."""


def check_rules(
    errors: Document, warnings: Document, rules: Sequence[Rule | None], plans: Plans, platforms: Platforms
) -> None:
    """Add what is wrong with the rules, and with the plans as the rules use them."""
    used: dict[str, list[str]] = {}  # plan -> platforms whose machines may get it
    for place, rule in enumerate(rules):
        if rule is None:
            continue
        path = ("services", place)
        _check_names(errors, path, rule, plans, platforms)
        _check_needs(errors, path, rule, plans)
        earlier = next((i for i, one in enumerate(rules[:place]) if one and shadowed(rule, one, list(platforms))), None)
        if platforms and earlier is not None:
            what = f"this rule never matches: the rule on line {errors.line(('services', earlier))} takes all before it"
            warnings.add(Problem(path, what, "put it before that rule, or remove it"))
        reached = [name for name in platforms if rule.reaches(name)]
        _check_editable(warnings, path, rule, [platform for name in reached if (platform := platforms[name])])
        for plan_name in rule.plans:
            used.setdefault(plan_name, []).extend(reached)
    for name in platforms:
        if not any(rule is None or rule.reaches(name) for rule in rules):
            what = "no rule reaches this platform: none of its machines is ever touched"
            warnings.add(Problem(("platforms", name), what, f"add a rule under services with `platform: {name}`"))
    for name, plan in plans.items():
        if plan is not None:
            _check_speeds(errors, plan, used.get(name, ()))


Files: TypeAlias = Iterable[tuple[Path, FilePath]]
"""Files that the configuration names, each with its place there."""


def check_files(errors: Document, files: Files) -> None:
    """Add those that are not there for this user to read."""
    for path, file in files:
        if not (file.is_file() and os.access(file, os.R_OK)):
            what = f"the file {file} does not exist or cannot be read"
            errors.add(Problem(path, what, "create it, readable by the user who runs this"))


def check_secrets(problems: Document, secrets: Files, environ: Mapping[str, str]) -> None:
    """Add the secret files that others may read."""
    for path, file in secrets:
        if found := exposed(file, environ):
            what, _, cure = found.partition("; ")
            problems.add(Problem(path, what, cure))


def _check_names(errors: Document, path: Path, rule: Rule, plans: Plans, platforms: Platforms) -> None:
    for pattern in rule.match.platform:
        if not any(rule.reaches(name, pattern) for name in platforms):
            errors.add(_unknown((*path, "match", "platform"), "platform", pattern, platforms))
    for number, plan in enumerate(rule.plans):
        if plan not in plans:
            errors.add(_unknown((*path, "plans", number), "plan", plan, plans))
        elif plan in rule.plans[:number]:
            errors.add(Problem((*path, "plans", number), f"{shown(plan)} is there twice", "name each plan once"))
    if len(rule.plans) > MOST_PLANS_OF_SERVICE:
        what = f"there are {len(rule.plans)} plans"
        errors.add(Problem((*path, "plans"), what, f"a service has at most {MOST_PLANS_OF_SERVICE}"))


def _check_needs(errors: Document, path: Path, rule: Rule, plans: Plans) -> None:
    known = [plan for name in rule.plans if (plan := plans.get(name))]
    needs_quota = [plan.name for plan in known if plan.needs_quota]
    needs_day = [plan.name for plan in known if plan.needs_anchor_day]
    if needs_quota and rule.quota is None:
        what = f"plan {needs_quota[0]} takes its quota from the service, and this rule gives none"
        errors.add(Problem(path, what, "write for example `quota: 1 TiB` into the rule"))
    if needs_day and rule.anchor_day is None:
        what = f"plan {needs_day[0]} takes its anchor day from the service, and this rule gives none"
        errors.add(Problem(path, what, "write for example `anchor_day: 1` into the rule"))


def _check_editable(warnings: Document, path: Path, rule: Rule, platforms: Sequence[Vmmanager]) -> None:
    keys = dict.fromkeys(key for platform in platforms for key in resting_on(rule, platform.customers_edit))
    if keys:
        what = f"the rule rests on {' and '.join(keys)}, which customers may be able to change"
        cure = "match something that only you can change, or say with the platform's customers_edit that they cannot"
        warnings.add(Problem((*path, "match", next(iter(keys))), what, cure))


def _check_speeds(errors: Document, plan: Plan, platforms: Sequence[str]) -> None:
    """All platforms there are today are VMmanagers, which know whole Mbit/s only."""
    for profile in plan.profiles:
        if platforms and inexpressible(profile.speed):
            what = (
                f"{speed_text(profile.speed)} cannot be set on {platforms[0]}: VMmanager takes whole Mbit/s, at least 1"
            )
            path = ("plans", plan.name, "profiles", profile.name, "speed")
            errors.add(Problem(path, what, f"write {speed_text(_expressible(profile.speed))}"))


def _expressible(speed: Speed) -> Speed:
    """The nearest speed that VMmanager knows, not faster where there is one."""
    return Speed(*(None if bits is None else max(MBIT, bits // MBIT * MBIT) for bits in speed))


def _unknown(path: Path, noun: str, name: str, known: Mapping[str, object]) -> Problem:
    meant = nearest(name, list(known))
    cure = f"write {meant}" if meant else f"write one of {', '.join(known)}" if known else f"add it under {noun}s"
    return Problem(path, f"there is no {noun} {shown(name)}", cure)
