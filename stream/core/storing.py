"""The tables as pages, and back: 256 rows of services a page, each with the rows of its plans.

The plans have a page of their own, which comes before those of services, and so have the watermarks.

columns   "<column>" of the services; "<t>/<column>" of the t-th plan's table: the rows of those services of the page
          that have the plan, in the services' order
extras    names (a line each; an empty one: a row in no use), sources, tables, sets of plans, and what lies beside the
          columns, by row
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.core import ladders, services
from stream.core.errors import Corrupt, Rejected
from stream.core.ladders import LadderTable, Rare
from stream.core.mapping import FieldMapping
from stream.core.page import Page
from stream.core.plan import Plan
from stream.core.services import PAGE_ROWS, Services
from stream.core.window import Int64s

PLANS: Final = "plans"
MARKS: Final = "marks"

OWN: Final = ("source", "combination")
"""Columns of numbers that mean something within a page only."""

LADDER_COLUMNS: Final = tuple(name for name in ladders.COLUMNS if name != "service")
_BY_ROW: Final = ("floors", "quotas", "anchor_days", "labels")
_PAIRS: Final = ("carried", "stale")
BESIDE: Final = (*_BY_ROW, *_PAIRS)


def plans_page(version: int, plans: Mapping[str, Plan], mappings: Mapping[str, FieldMapping]) -> Page:
    extras: dict[str, Any] = {"version": version, "plans": {name: plan.to_json() for name, plan in plans.items()}}
    if mappings:
        extras["mappings"] = {name: mapping.to_json() for name, mapping in mappings.items()}
    return Page(PLANS, {}, extras)


def plans_of(page: Page) -> tuple[int, dict[str, Plan], dict[str, FieldMapping]]:
    """(version, plans, mappings).  Raises Corrupt."""
    try:
        plans = {name: Plan.from_json(name, plan) for name, plan in page.extras["plans"].items()}
        described = page.extras.get("mappings", {})
        mappings = {name: FieldMapping.from_json(name, mapping) for name, mapping in described.items()}
        return int(page.extras["version"]), plans, mappings
    except (Rejected, LookupError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"the stored plans cannot be read: {error}; restore a backup") from error


def marks_page(held: Services) -> Page:
    marks = held.marks
    return Page(MARKS, {"at": np.fromiter(marks.values(), np.int64, len(marks))}, {"sources": list(marks)})


def page_of(held: Services, number: int) -> Page:
    first = number * PAGE_ROWS
    end = min(first + PAGE_ROWS, held.rows.count)
    rows = np.arange(first, end)
    columns: dict[str, NDArray[Any]] = {
        name: getattr(held, name)[first:end].copy() for name in services.COLUMNS if name not in OWN
    }
    sources, columns["source"] = _distinct(held.source[first:end])
    sets, columns["combination"] = _distinct(held.combination[first:end])
    tables = list(dict.fromkeys(table for each in sets for table in held.combinations[each]))
    extras: dict[str, Any] = {
        "names": held.names.lines(first, end),
        "sources": [held.sources[each] for each in sources] if held.sources else [],
        "tables": [[table.plan.name, table.anchor_day] for table in tables],
        "sets": [[tables.index(table) for table in held.combinations[each]] for each in sets],
        "rare": [],
    }
    for place, table in enumerate(tables):
        own = ladder_rows_of(held, rows, table)
        assert (table.total[own] == table.ring[:, own].sum(axis=0)).all(), f"sums of {table.plan.name} are off"
        columns |= {f"{place}/{name}": getattr(table, name)[..., own] for name in LADDER_COLUMNS}
        rare = table.rare
        extras["rare"].append(
            [[at, rare[row].to_json()] for at, row in enumerate(own.tolist()) if row in rare] if rare else []
        )
    for name in BESIDE:
        beside = getattr(held, name)
        found = [[row - first, beside[row]] for row in range(first, end) if row in beside] if beside else []
        extras[name] = [[row, [str(each) for each in pair]] for row, pair in found] if name in _PAIRS else found
    return Page(str(number), columns, extras)


def lines_of(page: Page) -> str:
    """Its names, a line each."""
    names = page.extras["names"]
    return names if isinstance(names, str) else "".join(f"{name or ''}\n" for name in names)  # a list of format 1


def ladder_rows_of(held: Services, rows: Int64s, table: LadderTable) -> Int64s:
    """The rows that these services have in a plan's table, in their order."""
    parts = list(_having(held, rows, table))
    having = np.concatenate([places for places, _ in parts])
    found = np.concatenate([held.ladder_rows[at][rows[places]] for places, at in parts])
    return (found if len(parts) == 1 else found[np.argsort(having)]).astype(np.int64)


def _having(held: Services, rows: Int64s, table: LadderTable) -> Iterator[tuple[Int64s, int]]:
    """Which of these services have a plan (their places), and as their how-many-th."""
    combinations = held.combination[rows]
    for number in _distinct(combinations)[0]:
        if table in held.combinations[number]:
            yield np.flatnonzero(combinations == number), held.combinations[number].index(table)


def _distinct(numbers: NDArray[Any]) -> tuple[list[int], NDArray[np.uint8]]:
    """The different ones (at most 256), ascending, and which of them stands where."""
    if len(numbers) and (numbers == numbers[0]).all():  # mostly: and it takes a tenth of the time
        return [int(numbers[0])], np.zeros(len(numbers), np.uint8)
    found, places = np.unique(numbers, return_inverse=True)
    return found.tolist(), places.astype(np.uint8)


def restore_page(held: Services, page: Page, plans: Mapping[str, Plan]) -> None:
    """Into tables that have room for it.  Raises Corrupt where a page does not fit plans, meta record, or itself."""
    try:
        if page.key == MARKS:
            _restore_marks(held, page)
        else:
            _restore_page(held, page, plans)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise Corrupt(f"page {_name_of(page)} does not fit together ({error!r}); restore a backup") from error


def _name_of(page: Page) -> str:
    """Its key; of several that were put together the first and the last one's."""
    more = (len(page.columns.get("combination", ())) - 1) // PAGE_ROWS
    return f"{page.key} to {int(page.key) + more}" if more > 0 else page.key


def _restore_marks(held: Services, page: Page) -> None:
    for source, at in zip(page.extras["sources"], page.columns["at"].tolist(), strict=True):
        held.set_mark(source, at)


def _restore_page(held: Services, page: Page, plans: Mapping[str, Plan]) -> None:
    first, extras, columns = int(page.key) * PAGE_ROWS, page.extras, page.columns
    end = first + len(columns["combination"])
    if end > held.rows.count:
        raise ValueError(f"rows beyond {held.rows.count}, the number that meta names")
    for name in services.COLUMNS:
        if name not in OWN:
            getattr(held, name)[first:end] = columns[name]
    held.rows.free += held.names.put_lines(lines_of(page), first, end).tolist()
    if extras["sources"]:
        sources = np.array([held.source_number(source) for source in extras["sources"]], np.int32)
        held.source[first:end] = sources[columns["source"]]
    tables = [held.table(plans[plan], anchor_day) for plan, anchor_day in extras["tables"]]
    sets = [held.combination_number(tuple(tables[place] for place in each)) for each in extras["sets"]]
    held.combination[first:end] = np.array(sets, np.int32)[columns["combination"]]
    for place, table in enumerate(tables):
        parts = [(rows, each.index(place)) for rows, each in _parts(columns, extras["sets"]) if place in each]
        base = table.rows.count
        _restore_ladders(held, first, parts, table, {name: columns[f"{place}/{name}"] for name in LADDER_COLUMNS})
        table.rare |= {base + row: Rare.from_json(rare) for row, rare in extras["rare"][place]}
    for name in _BY_ROW:
        getattr(held, name).update({first + row: value for row, value in extras[name]})
    for name in _PAIRS:
        getattr(held, name).update({first + row: (int(one), int(two)) for row, (one, two) in extras[name]})


def _parts(
    columns: Mapping[str, NDArray[Any]], sets: Sequence[Sequence[int]]
) -> Iterator[tuple[Int64s, Sequence[int]]]:
    """The rows of a page that have the same plans, and which those are."""
    which = columns["combination"]
    if len(sets) == 1:  # mostly
        yield np.arange(len(which)), sets[0]
        return
    for number, each in enumerate(sets):
        yield np.flatnonzero(which == number), each


def _restore_ladders(
    held: Services,
    first: int,
    parts: Sequence[tuple[Int64s, int]],
    table: LadderTable,
    columns: Mapping[str, NDArray[Any]],
) -> None:
    """The page's rows of a plan, after those that the table has.  `parts`: the services of the page that have it, and
    as their how-many-th plan."""
    owners = parts[0][0] if len(parts) == 1 else np.sort(np.concatenate([own for own, _ in parts]))
    base, count = table.rows.count, len(owners)
    table.rows.count += count
    table.reserve(held.rows.count)  # mostly every service has the plan, and what is too much takes no memory
    for name, values in columns.items():
        if values.shape[-1] != count:
            raise ValueError(f"{values.shape[-1]} rows of {count} in column {name}")
        getattr(table, name)[..., base : base + count] = values
    table.service[base : base + count] = first + owners
    for own, at in parts:
        held.ladder_rows[at][first + own] = base + np.searchsorted(owners, own)
