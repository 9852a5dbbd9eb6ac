"""What a target is, and what is done with one input."""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
import signal
import tempfile
import time
import traceback
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import structlog

from tests.fuzz.mutation import Draw

T = TypeVar("T")

SLOWEST_S = 20.0
"""No input takes longer, even on a machine that has other things to do."""
MEASURED_BYTES = 16 * 1024
"""The memory that longer inputs take is always measured, that of others now and then: it makes everything slow."""
MEASURE_EVERY = 64
MIB = 1 << 20
MOST_BYTES = 3 << 30
"""Of memory, for a whole process."""


class Subject(Protocol):
    """What reads foreign bytes, with whatever it needs around it.  Every input finds it in the same state."""

    def draw(self, draw: Draw) -> Any:
        """An input."""
        ...

    def take(self, given: Any) -> bool:
        """Whether the input was accepted; a refusal may also be raised, as the target says.

        Asserts what the input must not have changed, and what must hold of that which was read.
        """
        ...


class Loop:
    """An event loop of a subject's own, which ends with it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        weakref.finalize(self, self._runner.close)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.get_loop().run_until_complete(work)


def folder_of(subject: object) -> Path:
    """A new folder that ends with the subject."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    weakref.finalize(subject, shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    name: str
    comes_in: str
    """What is not ours."""
    entry: str
    """Who reads it."""
    refusals: tuple[type[Exception], ...]
    """All that may be raised."""
    holds: str
    """What is asserted besides."""
    subject: Callable[[], Subject]
    weight: int
    """Its share in the inputs: cheap ones get more."""
    most_mib: int = 8
    """The memory that any input may take at once, beside that in proportion to its size ..."""
    per_byte: int = 160
    """... which is so many bytes for each of its own."""


class TooSlow(BaseException):
    """One input took longer than SLOWEST_S; no Exception, so that nobody catches it on the way."""


@dataclass(slots=True)
class Violation:
    """The first input that broke a promise in one way, and how many did."""

    number: int
    story: str
    times: int = 1


@dataclass(slots=True)
class Result:
    """What came of some inputs of one target."""

    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    violations: dict[str, Violation] = field(default_factory=dict)
    """By where and how."""

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused + sum(each.times for each in self.violations.values())

    def add(self, other: Result) -> None:
        self.accepted += other.accepted
        self.refused += other.refused
        self.seconds += other.seconds
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        for place, violation in other.violations.items():
            known = self.violations.setdefault(place, violation)
            if known is not violation:
                known.times += violation.times


def fuzz(target: Target, seed: int, numbers: Iterable[int]) -> Result:
    """Give a target the inputs of these numbers."""
    result = Result()
    began = time.perf_counter()
    with _silence():
        for number in numbers:
            try:
                if _one(target, seed, number, result):
                    result.accepted += 1
                else:
                    result.refused += 1
            except (Exception, TooSlow) as error:
                place = _place(error)
                result.violations.setdefault(place, Violation(number, _story(error), 0)).times += 1
                _subject.cache_clear()  # whatever it was left in
    result.seconds = time.perf_counter() - began
    return result


@contextmanager
def _silence() -> Iterator[None]:
    """A line in the log for each record that is passed over is too many."""
    former = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**former)


def _one(target: Target, seed: int, number: int, result: Result) -> bool:
    subject = _subject(target.subject)
    given = subject.draw(Draw(f"{seed}/{target.name}/{number}"))
    size = size_of(given)
    began = time.perf_counter()
    try:
        if size <= MEASURED_BYTES and number % MEASURE_EVERY:
            with _deadline():
                return _accepted(target, subject, given)
        tracemalloc.start()
        try:
            with _deadline():
                return _accepted(target, subject, given)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            result.peak_bytes = max(result.peak_bytes, peak)
            most = target.most_mib * MIB + target.per_byte * size
            assert peak <= most, f"{peak} bytes of memory for an input of {size}; at most {most} are allowed"
    finally:
        result.slowest_s = max(result.slowest_s, time.perf_counter() - began)


def _accepted(target: Target, subject: Subject, given: Any) -> bool:
    try:
        return subject.take(given)
    except target.refusals as refusal:
        if not str(refusal):
            raise AssertionError("a refusal without a word") from refusal
        return False


@cache
def _subject(make: Callable[[], Subject]) -> Subject:
    return make()


def limit_memory() -> None:
    """From now on what wants more than a machine can spare gets a MemoryError, and is told."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


def size_of(given: Any) -> int:
    """Bytes of an input, roughly."""
    if isinstance(given, bytes | str):
        return len(given)
    if isinstance(given, Mapping):
        return sum(size_of(key) + size_of(value) for key, value in given.items())
    return sum(map(size_of, given)) if isinstance(given, tuple | list) else 8


@contextmanager
def _deadline() -> Iterator[None]:
    """Raises TooSlow in the middle of what hangs; not where somebody else (pytest) has an alarm of his own."""
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    former = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _too_slow(_: int, __: FrameType | None) -> None:
    raise TooSlow(f"longer than {SLOWEST_S:g} s")


def _place(error: BaseException) -> str:
    """Its kind, and the innermost line of ours that it came through: the same for the same fault."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/stream/" in frame.filename or "/tests/fuzz/" in frame.filename]
    frame = ours[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _story(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]
