"""`quota-stream check --live`: asks the platforms, read-only, and measures what nobody has documented of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.adapters.clock import SystemClock
from stream.bootstrap import kafka_settings, open_log
from stream.config.model import Config
from stream.core.errors import QuotaStreamError
from stream.ports import DELTAS, Clock
from stream.survey.findings import Finding, PlatformReport, Survey
from stream.survey.listed import idle_rules
from stream.survey.platform import PlatformSurvey, Told
from stream.survey.text import lines_of

__all__ = ["Survey", "lines_of", "survey"]


async def survey(
    config: Config,
    *,
    watch: bool = True,
    most_judged: int = 200,
    clock: Clock | None = None,
    transports: Mapping[str, httpx.AsyncBaseTransport] | None = None,
) -> Survey:
    """Look at the log and at all platforms at once; what one of them cannot do does not hide the others.

    `watch`: wait for a new point, up to a sampling step, to see how late it comes.  `most_judged`: so many machines of
    each platform are asked what their plans would do now, with two requests each.  `transports` lead elsewhere than
    the platforms' URLs.
    """
    clock, transports = clock or SystemClock(), transports or {}

    async def look(name: str, told: Told) -> PlatformReport:
        try:
            one = PlatformSurvey(config, name, clock, transports.get(name), told)
        except QuotaStreamError as error:  # a CA file that is none
            report = PlatformReport(name, config.platforms[name].url)
            report.add("answer", "change", str(error))
            return report
        return await one.run(watch=watch, most_judged=most_judged)

    with _progress() as told:
        log = await _try_log(config)
        reports = await asyncio.gather(*(look(name, told) for name in config.platforms))
    return Survey(log, idle_rules(config, reports), reports)


async def _try_log(config: Config) -> Finding:
    """Open it if it is there; else see whether it could be made."""
    if config.log.kind == "kafka":
        return await _try_cluster(config)
    path = config.log.path
    if path is None:
        return Finding("log", "ok", "in memory: everything is forgotten when the process ends")
    if not path.exists():
        folder = path.parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return Finding("log", "ok", f"{path} is not there yet and can be made")
        return Finding("log", "change", f"{path} cannot be made: {folder} is no folder that this user may write to")
    try:
        async with open_log(config) as log:
            await log.bounds(DELTAS, 0)
    except QuotaStreamError as error:
        return Finding("log", "change", str(error))
    return Finding("log", "ok", f"{path} can be opened")


async def _try_cluster(config: Config) -> Finding:
    """Log in, and look at the topics."""
    from stream.adapters.kafka.topics import verify  # it brings aiokafka, which no other log needs

    try:
        differences = await verify(kafka_settings(config))
    except QuotaStreamError as error:
        return Finding("log", "change", str(error))
    if differences:
        told = f"{config.log} answers, and of its topics {len(differences)} things should be different"
        return Finding("log", "change", f"{told}: see `quota-stream topics verify`", list(map(str, differences)))
    return Finding("log", "ok", f"{config.log} answers, and its topics are as they should be")


@contextmanager
def _progress() -> Iterator[Told]:
    """What is going on, on standard error, where somebody can see it."""
    if not sys.stderr.isatty():
        yield lambda platform, doing: None
        return
    columns = BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        tasks = {}

        def told(platform: str, doing: str) -> None:
            if platform not in tasks:
                tasks[platform] = progress.add_task("", total=None)
            progress.update(tasks[platform], description=f"{platform}: {doing}")

        yield told
