"""The trackers side by side: the same topic, the same job, CPU seconds of each per million deltas."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import orjson

from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, TOPICS
from tests.bench.kafka.contenders import CONTENDERS, OURS, Contender, Form
from tests.bench.kafka.filling import changes, drop_topics, fill, make_topic, make_topics
from tests.bench.kafka.processes import ended
from tests.bench.kafka.workload import Change, Fleet, as_batches, as_singles, introductions, quotas_by_name
from tests.bench.measuring import Result
from tests.kafka.fetch import ROOT

PARTITIONS = 4
ROUNDS: Mapping[Form, int] = {"singles": 60, "batches": 300}
LIMIT_S = 300.0
COMMITTED_S = 60.0
"""After the last delta every change must be committed and seen within this time."""
AIMS = {
    ("batches", "aiokafka + orjson.loads"): "<= 3",
    ("batches", "Kafka Streams"): "<= 1/4",
    ("batches", "Kafka Streams, single deltas"): "<= 1/10",
    ("batches", "Quix Streams, single deltas"): "<= 1/40",
    ("singles", "Kafka Streams"): "<= 1",
    ("singles", "Bytewax"): "<= 1/3",
}
_numbers = count(1)


class Mark(NamedTuple):
    count: int
    wall_s: float
    cpu_s: float


class Score(NamedTuple):
    """Of one run, per million deltas between the two marks."""

    cpu_s: float
    wall_s: float
    verdict: str
    """Whether the changes were right; empty if none are made."""


@dataclass(frozen=True)
class Course:
    """A topic that is filled, and what must come of it."""

    servers: str
    form: Form
    prefix: str
    fleet: Fleet
    deltas: int
    records: int
    introductions: int
    changes: Counter[Change]


async def laid(servers: str, form: Form, rounds: int) -> Course:
    fleet = Fleet(PARTITIONS)
    prefix = f"{form}-{os.getpid()}."
    settings = KafkaSettings(servers=servers, topic_prefix=prefix)
    await make_topics(settings, PARTITIONS)
    first = await fill(settings, DELTAS, introductions(fleet))
    records = as_singles(fleet, rounds) if form == "singles" else as_batches(fleet, rounds)
    written = await fill(settings, DELTAS, records)
    deltas = fleet.singles(rounds) if form == "singles" else rounds * fleet.services
    return Course(servers, form, prefix, fleet, deltas, written, first, fleet.changes(rounds))


async def run(course: Course, contender: Contender, profile: Path | None = None) -> Score:
    """From nothing until the contender has counted everything and its changes are seen; then it is ended."""
    name = f"bench-{os.getpid()}-{next(_numbers)}"
    if contender.ours:
        await drop_topics(course.servers, *(f"{course.prefix}{each}" for each in TOPICS if each != DELTAS))
        for topic in (STATE, CHANGES, ENFORCEMENTS, DEAD_LETTERS):
            policy = "compact" if topic in (STATE, ENFORCEMENTS) else "delete"
            await make_topic(course.servers, f"{course.prefix}{topic}", PARTITIONS, policy)
        out = f"{course.prefix}{CHANGES}"
    else:
        out = f"{name}-changes"
        await make_topic(course.servers, out, PARTITIONS)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        process, marks = _started(stack, Path(folder), course, contender, name, out, profile)
        await _counted(process, marks, contender, Path(folder))
        verdict = await _verdict(course, out) if contender.decides else ""
        begin, end = (Mark(**orjson.loads(line)) for line in marks.read_text().splitlines())
    millions = (end.count - begin.count) / 1e6
    return Score((end.cpu_s - begin.cpu_s) / millions, (end.wall_s - begin.wall_s) / millions, verdict)


def _started(
    stack: ExitStack, folder: Path, course: Course, contender: Contender, name: str, out: str, profile: Path | None
) -> tuple[subprocess.Popen[bytes], Path]:
    quotas, state, marks = folder / "quotas.json", folder / "state", folder / "marks"
    quotas.write_bytes(orjson.dumps(quotas_by_name(course.fleet)))
    state.mkdir()
    told = {
        "BROKER": course.servers, "PREFIX": course.prefix, "IN_TOPIC": f"{course.prefix}{DELTAS}", "OUT_TOPIC": out,
        "APP_ID": name, "QUOTAS": str(quotas), "STATE_DIR": str(state), "MARKS": str(marks),
        "TOTAL": str(course.deltas), "SKIPPED": str(course.introductions),
        "WEIGHT": str(course.deltas / course.records), **contender.environ,
    }  # fmt: skip
    environ = {**os.environ, **told}
    words, before = (
        [word.replace("{STATE_DIR}", str(state)) for word in command]
        for command in (contender.command, contender.before)
    )
    if profile is not None:
        words = [str(Path(sys.executable).with_name("py-spy")), "record", "--rate", "500", "--format", "speedscope",
                 "--output", str(profile), "--", *words]  # fmt: skip
    log = stack.enter_context((folder / "log").open("wb"))
    if before:
        subprocess.run(before, env=environ, cwd=ROOT, stdout=log, stderr=log, check=True)
    process = subprocess.Popen(words, env=environ, cwd=ROOT, stdout=log, stderr=log)
    stack.callback(ended, process, signal.SIGTERM)
    return process, marks


async def _counted(process: subprocess.Popen[bytes], marks: Path, contender: Contender, folder: Path) -> None:
    limit = time.monotonic() + LIMIT_S
    while True:
        over = process.poll() is not None or time.monotonic() > limit
        if marks.exists() and len(marks.read_text().splitlines()) == 2:
            return
        if over:
            said = (folder / "log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{contender.name} did not count everything; it said:\n{said}")
        await asyncio.sleep(0.1)


async def _verdict(course: Course, out: str) -> str:
    limit = time.monotonic() + COMMITTED_S
    while True:
        found = await changes(course.servers, out, PARTITIONS)
        missing, more = (course.changes - found).total(), (found - course.changes).total()
        if not missing or time.monotonic() > limit:
            return "" if not missing and not more else f"{missing} changes missing, {more} too many"
        await asyncio.sleep(0.5)


# ---------------------------------------------------------------- all of them


async def contest(servers: str, form: Form, times: int, only: str = "") -> Mapping[str, list[Score]]:
    """Each as many times, one after the other and then again, so that no neighbour troubles one of them alone."""
    course = await laid(servers, form, ROUNDS[form])
    scores: dict[str, list[Score]] = {}
    for turn in range(times):
        for contender in CONTENDERS[form]:
            if (contender.slow and turn) or only not in contender.name:
                continue
            score = await run(course, contender)
            print(f"{form}: {contender.name}: {score.cpu_s:.3f} s CPU a million {score.verdict}", file=sys.stderr)
            scores.setdefault(contender.name, []).append(score)
    await drop_topics(servers, *(f"{course.prefix}{each}" for each in TOPICS))
    return scores


def results(scores: Mapping[Form, Mapping[str, list[Score]]]) -> Iterator[Result]:
    for form, found in scores.items():
        cpu_s = {name: median(score.cpu_s for score in runs) for name, runs in found.items()}
        if form == "batches" and "singles" in scores:
            others = {
                name: runs for name, runs in scores["singles"].items() if name in ("Kafka Streams", "Quix Streams")
            }
            cpu_s |= {f"{name}, single deltas": median(score.cpu_s for score in runs) for name, runs in others.items()}
        ours = cpu_s.get(OURS)
        for name, cost in cpu_s.items():
            verdicts = {score.verdict for score in found.get(name, ()) if score.verdict}
            ratio = None if ours is None or name == OURS else ours / cost
            note = "; ".join(sorted(verdicts))
            yield Result("kafka", f"{form}: {name}", cost, "s CPU/M", None, ratio, AIMS.get((form, name), ""), note)
