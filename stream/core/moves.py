"""Moves of many services at the ends of their deltas, where one ladder alone has something to judge.

Of a plan whose change empties the window and that warns of nothing, without credits and rests, that is little: a ladder
that is due rises, if its sum lets it; else it falls, if it is over its quota.  `Judged.judge` is the meaning of it all.
Both give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

from stream.core.batches import Group, Part
from stream.core.columns import as_numbers
from stream.core.judging import Cause, explained
from stream.core.ladder import NEVER, Step, most_within, shown, values_of, way_up
from stream.core.ladders import Entry, LadderTable
from stream.core.model import Decision, Reason
from stream.core.plan import Plan, Profile
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
    rows, places = as_numbers(group.rows), as_numbers(group.places).tolist()
    numbers, revisions = rows.tolist(), services.revision[rows].tolist()
    incarnations = services.incarnation[rows].tolist()
    others = [_speeds(table, as_numbers(own)) for table, own in group.parts if table is not part.table]
    quotas = list(map(services.quotas.get, numbers))
    found, entries = [], list[Entry]()
    for at, step, entry in _steps(part.table, as_numbers(part.rows), quotas, ends):
        entries.append(entry)
        revisions[at] += 1
        speed = reduce(Speed.least, [speeds[at] for speeds in others], step.to.speed)
        why = cause(places[at])
        decision = Decision(
            services.names.name(numbers[at]), incarnations[at], revisions[at], entry.at, step.reason, speed,
            why.plans_version, why.position, why.partition, *explained(part.table.plan, step),
        )  # fmt: skip
        found.append((places[at], decision))
    part.table.enter(entries)
    services.revision[rows] = revisions
    return found


def _steps(
    table: LadderTable, rows: Int64s, quotas: Sequence[int | None], ends: Int64s
) -> Iterator[tuple[int, Step, Entry]]:
    """(place, how it explains itself, what becomes of the row) of those that move.  Where the way up stays shut, the
    next edge is waited for."""
    profiles, slicer = table.plan.profiles, table.slicer
    columns = (table.profile, table.next_due, table.harmless, table.total, table.head)
    cells = zip(*(column[rows].tolist() for column in columns), table.ring[:, rows].T.tolist(), strict=True)
    for at, (end, row, own, cell) in enumerate(zip(ends.tolist(), rows.tolist(), quotas, cells, strict=True)):
        number, due, harmless, total, head, slices = cell
        here = profiles[number]
        quota = own if here.quota == "service" else here.quota
        target: int | None = None
        reason: Reason = "stay_over"
        newest = head
        if due <= end:
            newest = max(head, slicer.ordinal(end))
            target = way_up(here, quota, sum(values_of(slices, head, newest)))
            if target is None:
                table.next_due[row] = slicer.edge(slicer.ordinal(end) + 1)
        if falls := target is None:
            if total <= harmless or here.down is None:
                continue
            target, reason, newest = here.down, here.at, head
        values, to = values_of(slices, head, newest), profiles[target]
        step = Step(reason, here, to, sum(values) // 100, quota, shown(slicer, newest, values))
        yield at, step, _entry(row, target, to, own, end, as_of_before=falls)


def _entry(row: int, number: int, to: Profile, own: int | None, at: int, *, as_of_before: bool) -> Entry:
    """Of the profile `to`, which has that number; `own` is the service's own quota."""
    stay_end = NEVER if to.up is None or not isinstance(to.stay, int) else at + to.stay
    return Entry(row, number, at, as_of_before, stay_end, most_within(to, own if to.quota == "service" else to.quota))


def _speeds(table: LadderTable, rows: Int64s) -> list[Speed]:
    return [table.plan.profiles[number].speed for number in table.profile[rows].tolist()]
