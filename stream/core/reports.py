"""What is asked of all services at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stream.core.services import Services
from stream.core.speed import ORIGINAL, Speed
from stream.core.view import Counted


def due(services: Services) -> Iterator[tuple[str, int, int, Speed]]:
    for row in services.in_use().tolist():
        yield (
            services.names.name(row),
            int(services.incarnation[row]),
            int(services.revision[row]),
            _speed(services, row),
        )


def _speed(services: Services, row: int) -> Speed:
    speed = ORIGINAL
    for place, table in enumerate(services.combinations[services.combination[row]]):
        ladder_row = int(services.ladder_rows[place][row])
        if ladder_row in table.rare:
            speed = speed.least(table.load(ladder_row, None).due)
        else:
            speed = speed.least(table.plan.profiles[table.profile[ladder_row]].speed)
    return speed


def counted(services: Services) -> Iterator[Counted]:
    for row in services.in_use().tolist():
        yield Counted(
            services.names.name(row),
            services.sources[services.source[row]],
            tuple(table.plan.name for table in services.combinations[services.combination[row]]),
            services.current(row),
            services.previous(row),
            services.quotas.get(row),
            services.anchor_days.get(row),
            services.labels.get(row, {}),
            bool(services.backfilling[row]),
        )


def population(services: Services) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for table in services.tables.values():
        counts = np.bincount(table.profile[table.in_use()], minlength=len(table.plan.profiles)).tolist()
        for profile, count in zip(table.plan.profiles, counts, strict=True):
            key = table.plan.name, profile.name
            found[key] = found.get(key, 0) + count
    return found


def sources(services: Services) -> dict[str, tuple[int | None, int]]:
    rows = services.in_use()
    numbers, ends = services.source[rows], services.current_end[rows]
    has_plans = np.array([bool(tables) for tables in services.combinations])[services.combination[rows]]
    counts = (ends >= 0) & has_plans  # without plans nothing is read any more: its end stays where it is
    found = {}
    for number in np.unique(numbers).tolist():
        own = numbers == number
        reached = ends[own & counts]
        found[services.sources[number]] = (int(reached.min()) if len(reached) else None, int(own.sum()))
    return found
