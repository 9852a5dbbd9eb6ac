"""What a platform's list shows: machines, how "no limit" looks, old fields, whether it is complete; and the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stream.adapters.vmmanager import replies
from stream.config.model import Config
from stream.config.platforms import Vmmanager
from stream.core.errors import Unavailable
from stream.ports import Machine
from stream.survey.findings import Finding, PlatformReport
from stream.survey.questions import Questions

LIMITS = ("net_in_mbitps", "net_out_mbitps")
OLD_LIMIT = "net_bandwidth_mbitps"
ROUND = frozenset({10, 20, 25, 30, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000})
"""Numbers of rows at which lists are cut."""
BEYOND = 4
"""So many ids after the greatest one are tried."""


def read(reply: Any, settings: Vmmanager, report: PlatformReport) -> replies.Rows:
    """What the list holds; what is found of it goes to the report."""
    rows = [row for row in reply["list"] if isinstance(row, dict)] if _has_list(reply) else []
    unlimited = _tell_unlimited(rows, settings, report)
    try:
        listed = replies.rows(reply, report.name, unlimited)
    except replies.Odd as error:
        raise Unavailable(f"{report.name}: list: {error}") from error
    report.machines = len(listed.machines)
    report.answers = True
    if not listed.machines and not listed.broken:
        report.add("list", "change", "it is empty; does the account see the machines? make it an administrator", 0)
    for service, cause in list(listed.broken.items())[:10]:
        report.add("row", "change", f"{service} cannot be read and will be left alone: {cause}", service)
    if len(listed.broken) > 10:
        report.add("row", "change", f"{len(listed.broken) - 10} more machines cannot be read", len(listed.broken))
    _tell_fields(rows, report)
    return listed


def _has_list(reply: Any) -> bool:
    return isinstance(reply, dict) and isinstance(reply.get("list"), list)


def _tell_unlimited(rows: Sequence[Mapping[str, Any]], settings: Vmmanager, report: PlatformReport) -> int | None:
    """What stands for "no limit": the one of 0 and null that occurs."""
    values = Counter(repr(row[field]) for row in rows for field in (*LIMITS, OLD_LIMIT) if field in row)
    seen = [number for number, shown in ((0, "0"), (None, "None")) if values[shown]]
    written = "null" if settings.unlimited is None else str(settings.unlimited)
    if len(seen) == 1:
        value = seen[0]
        text = "null" if value is None else "0"
        if value == settings.unlimited:
            report.add("unlimited", "ok", f"no limit is shown as {text}, as configured", text)
        else:
            report.settings["unlimited"] = text
            report.add("unlimited", "change", f"no limit is shown as {text}; the configuration says {written}", text)
        return value
    if seen:
        words = "both 0 and null stand for a limit; look at one machine of each in the platform's own pages"
        report.add("unlimited", "unknown", f"{words}, and set `unlimited`")
    elif rows:
        words = "every machine has a limit, so how none would look cannot be seen"
        report.add("unlimited", "unknown", f"{words}; make one without a limit, and check again")
    return settings.unlimited


def _tell_fields(rows: Sequence[Mapping[str, Any]], report: PlatformReport) -> None:
    old = sum(OLD_LIMIT in row and not any(field in row for field in LIMITS) for row in rows)
    if old:
        words = f"{old} machines have the old single field {OLD_LIMIT}; both directions are read from it"
        cure = "whether two limits can be set shows only by trying: begin with one machine, or upgrade the platform"
        report.add("bandwidth", "change", f"{words}; {cure}", "one")
    elif rows:
        report.add("bandwidth", "ok", "limits are shown for both directions", "two")
    if any(isinstance(tag, dict) for row in rows for tag in _things(row.get("tags"))):
        report.add("tags", "ok", "tags are objects with names, which is understood", "objects")


def _things(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


async def tell_complete(questions: Questions, rows: replies.Rows, report: PlatformReport) -> None:
    """Whether machines exist that the list does not have: some ids right after the greatest one are tried."""
    named = [*rows.machines, *(service for service in rows.broken if not service.startswith("#"))]
    numbers = {int(service.rpartition("/")[2]) for service in named}
    if not numbers:
        return
    inside = [number for number in range(min(numbers), max(numbers)) if number not in numbers][-BEYOND:]
    tried = [*inside, *range(max(numbers) + 1, max(numbers) + 1 + BEYOND)]
    hidden = [number for number in tried if await questions.exists(number)]
    count = f"{len(numbers)} machines"
    if hidden:
        words = f"{count}, and {report.name}/{hidden[0]} is there but not in it: the platform limits its list"
        report.add("list", "change", f"{words}; does the account see all machines?", len(numbers))
    elif len(numbers) in ROUND:
        words = f"exactly {count}, which looks like a limit; compare with the number in the platform's own pages"
        report.add("list", "note", words, len(numbers))
    else:
        words = f"{count}; {len(tried)} ids beside them were tried and are not there, so it looks complete"
        report.add("list", "ok", words, len(numbers))


def sort(config: Config, machines: Mapping[str, Machine], report: PlatformReport) -> list[Machine]:
    """The machines with plans, in the order of the list; which rule takes which goes to the report."""
    matched = []
    places = {id(rule): place for place, rule in enumerate(config.services)}
    for service, machine in machines.items():
        rule = config.services.match(machine, report.name)
        if rule is None:
            report.unmatched.append((service, machine.name))
            continue
        place = places[id(rule)]
        report.rules[place] = report.rules.get(place, 0) + 1
        if rule.plans:
            matched.append(machine)
    report.matched = len(matched)
    return matched


def idle_rules(config: Config, reports: Sequence[PlatformReport]) -> list[Finding]:
    """The rules that take no machine, as far as the platforms that they reach have answered."""
    found = []
    for place, rule in enumerate(config.services):
        reached = [report for report in reports if rule.reaches(report.name)]
        if any(report.rules.get(place) for report in reached) or not reached:
            continue
        given = ", ".join(f"{key}: {' '.join(patterns)}" for key, patterns in rule.match.given().items())
        silent = [report.name for report in reached if not report.answers]
        if silent:
            words = f"services[{place}] {{{given}}}: unknown, as {', '.join(silent)} did not answer"
            found.append(Finding("rule", "unknown", words, place))
        else:
            found.append(Finding("rule", "note", f"services[{place}] {{{given}}} takes no machine", place))
    return found
