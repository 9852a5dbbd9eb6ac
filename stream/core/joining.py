"""Pages that follow each other, put together into one of more rows: thousands of small ones take a good deal longer to
be restored."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from stream.core import services
from stream.core.errors import Corrupt
from stream.core.page import Page
from stream.core.services import PAGE_ROWS
from stream.core.storing import BESIDE, LADDER_COLUMNS, OWN, lines_of
from stream.core.window import Int64s

_MOST_DIGITS: Final = 10
MOST_TOGETHER: Final = 32
"""Pages: as many as the processor's nearer memory holds."""


def joined(pages: Iterable[Page]) -> Iterator[Page]:
    """The same rows in the same order, in fewer pages.  Raises Corrupt where a page does not fit together."""
    run: list[Page] = []
    for page in pages:
        if run and (len(run) == MOST_TOGETHER or not _continues(run[-1], page)):
            yield _joined(run)
            run = []
        run.append(page)
    if run:
        yield _joined(run)


def _continues(former: Page, page: Page) -> bool:
    """Whether it has the next rows, and the former one all that it has room for."""
    if not (former.key.isdecimal() and len(former.key) < _MOST_DIGITS and page.key == str(int(former.key) + 1)):
        return False
    return len(former.columns.get("combination", ())) == PAGE_ROWS


def _joined(run: Sequence[Page]) -> Page:
    if len(run) == 1:
        return run[0]
    try:
        return _as_one(run)
    except (LookupError, TypeError, ValueError) as error:
        keys = f"{run[0].key} to {run[-1].key}"
        raise Corrupt(f"one of the pages {keys} does not fit together ({error!r}); restore a backup") from error


def _as_one(run: Sequence[Page]) -> Page:
    for page in run:
        _check(page)
    names = [name for name in services.COLUMNS if name not in OWN]
    columns = {name: np.concatenate([page.columns[name] for page in run]) for name in names}
    sources, tables, sets = _Numbers(), _Numbers(), _Numbers()
    of_sources, combinations, parts = [], [], dict[int, list[tuple[Page, int]]]()
    for page in run:
        source_numbers = sources.of(page.extras["sources"])
        table_numbers = tables.of(map(tuple, page.extras["tables"])).tolist()
        set_numbers = sets.of(tuple(table_numbers[place] for place in each) for each in page.extras["sets"])
        of_sources.append(source_numbers[page.columns["source"]] if len(source_numbers) else page.columns["source"])
        combinations.append(set_numbers[page.columns["combination"]])
        for place, number in enumerate(table_numbers):
            parts.setdefault(number, []).append((page, place))
    columns |= {"source": np.concatenate(of_sources), "combination": np.concatenate(combinations)}
    extras: dict[str, Any] = {
        "names": "".join(map(lines_of, run)),
        "sources": list(sources.found),
        "tables": list(tables.found),
        "sets": list(sets.found),
        "rare": [],
    }
    for number in range(len(tables.found)):
        having = parts[number]
        for name in LADDER_COLUMNS:
            columns[f"{number}/{name}"] = np.concatenate([page.columns[f"{at}/{name}"] for page, at in having], axis=-1)
        sizes = [page.columns[f"{at}/profile"].shape[-1] for page, at in having]
        extras["rare"].append(_moved([page.extras["rare"][at] for page, at in having], sizes))
    for name in BESIDE:
        extras[name] = _moved([page.extras[name] for page in run], [PAGE_ROWS] * len(run))
    return Page(run[0].key, columns, extras)


def _check(page: Page) -> None:
    """Raises ValueError where what one page has too little would be taken from the next one."""
    columns, names = page.columns, lines_of(page)
    rows = len(columns["combination"])
    if names.count("\n") != rows or not names.endswith("\n"):
        raise ValueError(f"page {page.key}: other than {rows} lines of names")
    if any(columns[name].shape != (rows,) for name in services.COLUMNS):
        raise ValueError(f"page {page.key}: a column that has not {rows} rows")
    for place in range(len(page.extras["tables"])):
        if len({columns[f"{place}/{name}"].shape[-1] for name in LADDER_COLUMNS}) > 1:
            raise ValueError(f"page {page.key}: columns of different length of its plan {place}")
    if len(set(map(tuple, page.extras["tables"]))) < len(page.extras["tables"]):
        raise ValueError(f"page {page.key}: a plan that stands twice")


class _Numbers:
    """Different things, by number."""

    def __init__(self) -> None:
        self.found: dict[Hashable, int] = {}

    def of(self, things: Iterable[Hashable]) -> Int64s:
        return np.array([self.found.setdefault(thing, len(self.found)) for thing in things], np.int64)


def _moved(lists: Sequence[Sequence[Sequence[Any]]], sizes: Sequence[int]) -> list[tuple[int, Any]]:
    """What is known by row, of pages that have so many rows."""
    found, base = list[tuple[int, Any]](), 0
    for known, size in zip(lists, sizes, strict=True):
        found += [(base + row, value) for row, value in known]
        base += size
    return found
