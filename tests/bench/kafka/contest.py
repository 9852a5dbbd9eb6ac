"""The trackers side by side: the same topic, the same job, CPU seconds of each per million deltas."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import orjson

from stream.adapters.kafka import topics
from stream.adapters.kafka.settings import KafkaSettings
from stream.ports import CHANGES, DELTAS, TOPICS
from tests.bench.kafka.contenders import CONTENDERS, OURS, Contender, Form
from tests.bench.kafka.filling import changes, drop_topics, fill, make_topic
from tests.bench.kafka.installation import settings_of
from tests.bench.kafka.processes import ended
from tests.bench.kafka.workload import BUSY, CALM, Change, Fleet, as_batches, as_singles, introductions, quotas_by_name
from tests.bench.measuring import Result
from tests.kafka.cluster import until
from tests.kafka.fetch import ROOT

PARTITIONS = 4
ROUNDS: Mapping[Form, int] = {"singles": 200, "batches": 1000}
CASES: Mapping[str, tuple[Form, int]] = {
    "batches": ("batches", BUSY),
    "singles": ("singles", BUSY),
    "calm-batches": ("batches", CALM),
    "calm-singles": ("singles", CALM),
}
"""In which form the deltas come, and how many services change."""
LIMIT_S = 300.0
COMMITTED_S = 60.0
"""After the last delta every change must be committed and seen within this time."""
AIMS = {
    ("batches", "aiokafka + orjson.loads"): "<= 3",
    ("batches", "Kafka Streams"): "<= 0.25",
    ("batches", "Kafka Streams, single deltas"): "<= 0.1",
    ("batches", "Quix Streams, single deltas"): "<= 0.025",
    ("singles", "Kafka Streams"): "<= 1",
    ("singles", "Bytewax"): "<= 0.33",
}
BESIDE = ("Kafka Streams", "Quix Streams")
"""Whose single deltas are compared with our batches, too."""
_numbers = count(1)


class Mark(NamedTuple):
    deltas: int
    wall_s: float
    cpu_s: float


class Score(NamedTuple):
    """Of one run, per million deltas between the two marks."""

    cpu_s: float
    wall_s: float
    verdict: str
    """What is wrong with the changes; empty if nothing."""


@dataclass(frozen=True)
class Course:
    """A topic that is filled, and what must come of it."""

    settings: KafkaSettings
    fleet: Fleet
    introductions: int
    """Records that come before the first delta."""
    records: int
    deltas: int
    changes: Counter[Change]


async def laid(servers: str, form: Form, often_over: int) -> Course:
    fleet, settings, rounds = Fleet(PARTITIONS, often_over=often_over), settings_of(servers, PARTITIONS), ROUNDS[form]
    await topics.create(settings)
    first = await fill(settings, DELTAS, introductions(fleet))
    records = as_singles(fleet, rounds) if form == "singles" else as_batches(fleet, rounds)
    written = await fill(settings, DELTAS, records)
    deltas = fleet.singles(rounds) if form == "singles" else rounds * fleet.services
    return Course(settings, fleet, first, written, deltas, fleet.changes(rounds))


# ---------------------------------------------------------------- one run


async def run(course: Course, contender: Contender, profile: Path | None = None) -> Score:
    """From nothing until the contender has counted everything and its changes are seen; then it is ended."""
    name = f"bench-{os.getpid()}-run-{next(_numbers)}"
    servers = course.settings.servers
    if contender.ours:
        out = course.settings.topic(CHANGES)
        await drop_topics(servers, *(course.settings.topic(topic) for topic in TOPICS if topic != DELTAS))
        await topics.create(course.settings)
    else:
        out = f"{name}-changes"
        await make_topic(servers, out, PARTITIONS)
    with TemporaryDirectory() as folder, _started(Path(folder), course, contender, name, out, profile) as running:
        await until(running.is_over, LIMIT_S)
        verdict = await _verdict(course, out) if contender.decides else ""
        begin, end = running.marks()
    millions = (end.deltas - begin.deltas) / 1e6
    return Score((end.cpu_s - begin.cpu_s) / millions, (end.wall_s - begin.wall_s) / millions, verdict)


class _Running:
    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder, self._process = folder, process

    def marks(self) -> list[Mark]:
        path = self._folder / "marks"
        return [Mark(**orjson.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    async def is_over(self) -> bool:
        has_ended = self._process.poll() is not None
        if len(self.marks()) == 2:
            return True
        if has_ended:
            said = (self._folder / "log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"it ended before it had counted everything; it said:\n{said}")
        return False


@contextmanager
def _started(
    folder: Path, course: Course, contender: Contender, name: str, out: str, profile: Path | None
) -> Iterator[_Running]:
    state = folder / "state"
    state.mkdir()
    (folder / "quotas").write_bytes(orjson.dumps(quotas_by_name(course.fleet)))
    told = {
        "BROKER": course.settings.servers,
        "PREFIX": course.settings.topic_prefix,
        "IN_TOPIC": course.settings.topic(DELTAS),
        "OUT_TOPIC": out,
        "APP_ID": name,
        "QUOTAS": str(folder / "quotas"),
        "STATE_DIR": str(state),
        "MARKS": str(folder / "marks"),
        "TOTAL": str(course.deltas),
        "SKIPPED": str(course.introductions),
        "WEIGHT": str(course.deltas / course.records),
    }
    environ = {**os.environ, **told, **contender.environ}
    with (folder / "log").open("wb") as log:
        for command in filter(None, (contender.before,)):
            words = _words(command, state)
            subprocess.run(words, env=environ, cwd=ROOT, stdout=log, stderr=log, check=True)
        words = _words(contender.command, state)
        process = subprocess.Popen(words, env=environ, cwd=ROOT, stdout=log, stderr=log)
        with _watched(process, profile):
            try:
                yield _Running(folder, process)
            finally:
                ended(process)


def _words(command: Sequence[str], state: Path) -> list[str]:
    return [word.replace("{STATE_DIR}", str(state)) for word in command]


@contextmanager
def _watched(process: subprocess.Popen[bytes], profile: Path | None) -> Iterator[None]:
    """By a profiler that lives as long as the process."""
    if profile is None:
        yield
        return
    program = Path(sys.executable).with_name("py-spy")
    words = ["record", "--pid", str(process.pid), "--rate", "500", "--format", "raw", "--output", str(profile)]
    watching = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    yield
    watching.wait()


async def _verdict(course: Course, out: str) -> str:
    """Waits for changes that are not yet seen."""
    found: Counter[Change] = Counter()

    async def all_there() -> bool:
        nonlocal found
        found = await changes(course.settings.servers, out, PARTITIONS)
        return not course.changes - found

    try:
        await until(all_there, COMMITTED_S)
    except TimeoutError:
        return f"{(course.changes - found).total()} changes are missing"
    more = (found - course.changes).total()
    return f"{more} changes too many" if more else ""


# ---------------------------------------------------------------- all of them


async def contest(
    servers: str, case: str, times: int, *, only: str = "", profile: Path | None = None
) -> Mapping[str, list[Score]]:
    """Each so many times, one after the other and then again, so that no neighbour troubles one of them alone."""
    form, often_over = CASES[case]
    course = await laid(servers, form, often_over)
    scores: dict[str, list[Score]] = {}
    for turn in range(times):
        for contender in CONTENDERS[form]:
            if (contender.slow and turn) or only not in contender.name:
                continue
            score = await run(course, contender, profile if contender.name == OURS else None)
            said = f"{case}: {contender.name}: {score.cpu_s:.3f} s CPU, {score.wall_s:.3f} s a million {score.verdict}"
            print(said, file=sys.stderr, flush=True)
            scores.setdefault(contender.name, []).append(score)
    await drop_topics(servers, *map(course.settings.topic, TOPICS))
    return scores


def results(scores: Mapping[str, Mapping[str, list[Score]]]) -> Iterator[Result]:
    """Ours beside each of the others."""
    for case, found in scores.items():
        costs = {name: median(score.cpu_s for score in runs) for name, runs in found.items()}
        ours, form = costs.get(OURS), CASES[case][0]
        if form == "batches":
            beside = scores.get(case.replace("batches", "singles"), {})
            costs |= {
                f"{name}, single deltas": median(run.cpu_s for run in beside[name]) for name in BESIDE if name in beside
            }
        for name, cost in costs.items():
            note = "; ".join(sorted({score.verdict for score in found.get(name, ()) if score.verdict}))
            what, unit = f"{case}: {name}", "s CPU/M"
            if ours is None or name.startswith(OURS):
                yield Result("kafka", what, cost, unit, note=note)
            else:
                yield Result("kafka", what, ours, unit, cost, ours / cost, AIMS.get((form, name), ""), note)
