"""What the benches have in common: stopwatches, processes of their own, and results."""

from __future__ import annotations

import gc
import mmap
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Result(NamedTuple):
    """One line of the table."""

    bench: str
    case: str
    ours: float
    unit: str
    bare: float | None = None
    """What the same costs (or achieves) without us, measured in the same run."""
    ratio: float | None = None
    target: str = ""
    note: str = ""


@dataclass(slots=True)
class Stopwatch:
    """CPU seconds of this process and wall seconds, summed over all uses of `running`."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        yield
        self.cpu_s += time.process_time() - cpu_s
        self.wall_s += time.perf_counter() - wall_s


class Block(NamedTuple):
    """One stretch of a comparison: CPU seconds per unit of work, ours and without us."""

    ours_s: float
    bare_s: float


def compared(
    bench: str, case: str, blocks: Iterable[Block], scale: float, unit: str, *, target: str = "", note: str = ""
) -> Result:
    """The medians over all blocks; the ratio is the median of ratios, which a busy neighbour does least to."""
    measured = list(blocks)
    ours, bare = median(each.ours_s for each in measured), median(each.bare_s for each in measured)
    ratio = median(each.ours_s / each.bare_s for each in measured)
    return Result(bench, case, ours * scale, unit, bare * scale, ratio, target, note)


def alone(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, from a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *args, **kwargs).result()


def warm_memory(size: int) -> None:
    """Takes so many bytes and gives them back, so that the system has them at hand.  Where it is a guest itself, its
    host hands out memory slowly (0.6 s for 200 MB were seen), which has nothing to do with what is measured."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for place in range(0, size, mmap.PAGESIZE):
            memory[place] = 1


def resident_bytes() -> int:
    """What this process has in memory now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
