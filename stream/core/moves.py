"""Moves of many services at the ends of their deltas, where one ladder alone has something to judge.

Of a plan whose change empties the window and that warns of nothing, without credits and rests, that is little: a ladder
that is due rises, if its sum lets it; else it falls, if it is over its quota.  `Judged.judge` is the meaning of it all.
Both give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from stream.core.batches import Group, Part
from stream.core.columns import as_numbers
from stream.core.judging import Cause, explained
from stream.core.ladders import LadderTable
from stream.core.model import Decision
from stream.core.plan import Plan
from stream.core.services import Services
from stream.core.speed import Speed
from stream.core.window import Int64s


def moves_plainly(plan: Plan) -> bool:
    """Whether its ladders can be judged here."""
    lasting = all(profile.stay != "period" for profile in plan.profiles)
    return lasting and not plan.keep and plan.warn is None


def move(
    services: Services, group: Group, part: Part, ends: Int64s, cause: Callable[[int], Cause]
) -> list[tuple[int, Decision]]:
    """(place in the batch, decision).  The deltas of `group`, up to `ends`, are counted; of each service the ladder of
    `part`, and no other, is due or over its quota.  `cause` is that of a place."""
    rows, ladder_rows, places = as_numbers(group.rows), as_numbers(part.rows), as_numbers(group.places).tolist()
    numbers, revisions = rows.tolist(), services.revision[rows].tolist()
    incarnations = services.incarnation[rows].tolist()
    ladders = part.table.load_all(ladder_rows, [services.quotas.get(row) for row in numbers])
    others = [_speeds(table, as_numbers(own)) for table, own in group.parts if table is not part.table]
    found = []
    for at, (ladder, end) in enumerate(zip(ladders, ends.tolist(), strict=True)):
        step = ladder.rise(end) or next(ladder.fall(end, end - 1), None)
        if step is not None:
            revisions[at] += 1
            speed = reduce(Speed.least, [speeds[at] for speeds in others], ladder.due)
            why = cause(places[at])
            decision = Decision(
                services.names.name(numbers[at]), incarnations[at], revisions[at], end, step.reason, speed,
                why.plans_version, why.position, why.partition, *explained(ladder, step),
            )  # fmt: skip
            found.append((places[at], decision))
    part.table.store_all(ladder_rows, ladders)
    services.revision[rows] = revisions
    return found


def _speeds(table: LadderTable, rows: Int64s) -> list[Speed]:
    return [table.plan.profiles[number].speed for number in table.profile[rows].tolist()]
