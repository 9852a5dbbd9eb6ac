"""A survey as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stream.config.units import speed_text
from stream.core.speed import Speed
from stream.survey.findings import Finding, PlatformReport, Survey

MARKS = {"ok": "ok", "unknown": "?", "note": "note", "change": "CHANGE"}
MOST_LINES = 50
"""Of each list of machines."""


def lines_of(survey: Survey, file: Path) -> Iterator[str]:
    """Line by line; foreign words are in it, as they came."""
    yield _line(survey.log)
    for report in survey.platforms:
        yield ""
        yield f"{report.name} ({report.url}), {report.requests} requests"
        yield from map(_line, sorted(report.findings, key=lambda one: one.topic == "unseen"))
        yield from _slowed(report)
        yield from _unmatched(report)
    if survey.rules:
        yield ""
        yield from map(_line, survey.rules)
    yield from _snippet(survey, file)


def _line(finding: Finding) -> str:
    return f"  {MARKS[finding.level]:<7} {finding.topic:<11} {finding.text}"


def _slowed(report: PlatformReport) -> Iterator[str]:
    if report.slowed:
        yield "  would be slowed now:"
    for one in report.slowed[:MOST_LINES]:
        yield f"    {one.service}  {one.name}  {_speed(one.limits)} -> {_speed(one.due)}  ({'; '.join(one.why)})"
    yield from _more(len(report.slowed))


def _unmatched(report: PlatformReport) -> Iterator[str]:
    if report.unmatched:
        yield f"  matched by no rule, and left alone ({len(report.unmatched)}):"
    for service, name in report.unmatched[:MOST_LINES]:
        yield f"    {service}  {name}"
    yield from _more(len(report.unmatched))


def _more(count: int) -> Iterator[str]:
    if count > MOST_LINES:
        yield f"    and {count - MOST_LINES} more, which --json shows"


def _speed(speed: Speed) -> str:
    return speed_text(speed).replace("original", "no limit")


def _snippet(survey: Survey, file: Path) -> Iterator[str]:
    """The settings to change, ready to be pasted."""
    changed = [report for report in survey.platforms if report.settings]
    yield ""
    if changed:
        yield f"write into {file.name}:"
        yield "platforms:"
    for report in changed:
        yield f"  {report.name}:"
        yield from (f"    {key}: {value}" for key, value in report.settings.items())
    if survey.is_well:
        yield "all is well"
    elif not changed:
        yield "see what is marked CHANGE above"
