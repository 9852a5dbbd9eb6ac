"""Counting many deltas at once, where nothing else happens.

A group's deltas (each service once) are looked at column by column.  Those that begin anew or grow, and before whose
end nothing happens, are counted by vector operations; where their end may change a profile it is left to
`Judged.judge_counted`.  Every other delta is left to `Service.delta`, which is the meaning of it all.  Both give the
same result.  Where all deltas agree on a number it is a plain int.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from stream.core.batches import Group, Part
from stream.core.columns import Rows, as_numbers, chosen
from stream.core.counting import Tally
from stream.core.judging import Cause
from stream.core.ladder import MOST_IN_WINDOW
from stream.core.ladders import LadderTable
from stream.core.model import Decision, Deltas
from stream.core.moves import move, moves_plainly
from stream.core.plan import CalendarWindow
from stream.core.services import PAGE_ROWS, Services, Taken
from stream.core.window import MOST_VECTOR_SPAN_MS, Flags, Int64s, Slicer, parts

Numbers: TypeAlias = int | Int64s

_EXACT_SUM: Final = 4096
"""So many numbers up to 2^51 sum up within 64 bits."""


class Left(NamedTuple):
    """What is left of a group, and what was decided of the others."""

    to_count: Sequence[tuple[int, Taken]]
    """(place in the batch, the service taken out)."""
    moves: Sequence[tuple[int, Decision]] = ()
    """(place, decision) of those that are done."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The deltas of one group."""

    start: Numbers
    end: Numbers
    in_: Int64s
    out: Int64s
    backfill: bool

    @classmethod
    def of(cls, deltas: Deltas, places: Rows) -> Columns:
        start, end = (each if isinstance(each, int) else agreed(each[places]) for each in (deltas.start, deltas.end))
        return cls(start, end, deltas.in_[places], deltas.out[places], deltas.backfill)

    def only(self, places: Int64s) -> Columns:
        start, end = (each if isinstance(each, int) else agreed(each[places]) for each in (self.start, self.end))
        return Columns(start, end, self.in_[places], self.out[places], self.backfill)


def agreed(numbers: Int64s) -> Numbers:
    """One number for all, if they are alike."""
    first = numbers[0]
    return int(first) if (numbers == first).all() else numbers


def count(services: Services, tally: Tally, group: Group, columns: Columns, cause: Callable[[int], Cause]) -> Left:
    """Counts what it can, and returns the rest.  `cause` is that of a place in the batch."""
    current_end = services.current_end[group.rows]
    begins = np.greater_equal(columns.start, current_end)
    if begins.all():
        return _Step(services, tally, group, columns, current_end).begin(cause)
    grows = services.current_start[group.rows] == columns.start
    behind = np.less(columns.end, current_end)
    if grows.all() and not behind.any():
        return _Step(services, tally, group, columns, current_end).grow(cause)
    to_count, moves = [*take(services, group, np.flatnonzero(~(begins | grows)))], list[tuple[int, Decision]]()
    for kind, way in ((begins, _Step.begin), (grows & ~behind, _Step.grow), (grows & behind, _Step.repeat)):
        places = np.flatnonzero(kind)
        if len(places):
            left = way(_Step(services, tally, group.only(places), columns.only(places), current_end[places]), cause)
            to_count += left.to_count
            moves += left.moves
    return Left(to_count, moves)


def take(services: Services, group: Group, places: Int64s | None = None) -> Sequence[tuple[int, Taken]]:
    """The services at some places of a group (all of them): (place in the batch, the service taken out)."""
    places = np.arange(len(group)) if places is None else places
    in_batch, rows = chosen(group.places, places).tolist(), chosen(group.rows, places).tolist()
    return [(place, services.take(row)) for place, row in zip(in_batch, rows, strict=True)]


class _Step:
    """Deltas of one kind."""

    def __init__(self, services: Services, tally: Tally, group: Group, columns: Columns, current_end: Int64s) -> None:
        self.services, self.tally, self.group, self.columns = services, tally, group, columns
        self.rows = group.rows
        self.current_end = agreed(current_end)
        mark: Numbers = -1
        if services.marks:
            mark = agreed(services.mark_of_source[services.source[self.rows]])
        self.before: Numbers = _most(self.current_end, mark)
        """The services' time; of those with a floor it may be later."""

    # ------------------------------------------------------------ the kinds

    def begin(self, cause: Callable[[int], Cause]) -> Left:
        services, rows, columns = self.services, self.rows, self.columns
        more_in, more_out = columns.in_.copy(), columns.out.copy()
        left, counted, moving = self._split(columns.start, more_in, more_out)
        gap = np.where(np.less(self.current_end, 0), 0, np.subtract(columns.start, self.current_end))
        if gap.any():
            gap = gap * counted
            self.tally.add("gaps", int(np.count_nonzero(gap)))
            self.tally.add("gap_ms", exact_sum(gap))
        for name in ("start", "end", "in", "out"):
            getattr(services, f"previous_{name}")[rows] = getattr(services, f"current_{name}")[rows]
        services.current_start[rows] = columns.start
        services.current_in[rows] = columns.in_
        services.current_out[rows] = columns.out
        self._commit(columns.start, more_in, more_out)
        self.tally.add("deltas_new", int(np.count_nonzero(counted)))
        return Left(left, self._move(moving, cause))

    def grow(self, cause: Callable[[int], Cause]) -> Left:
        services, rows, columns = self.services, self.rows, self.columns
        since = _least(self.current_end, np.subtract(columns.end, 1))
        former_in, former_out = services.current_in[rows], services.current_out[rows]
        more_in, more_out = columns.in_ - former_in, columns.out - former_out
        shrunk = (more_in < 0) | (more_out < 0)
        greatest_in, greatest_out = columns.in_, columns.out
        if shrunk.any():
            greatest_in, greatest_out = np.maximum(former_in, greatest_in), np.maximum(former_out, greatest_out)
            np.maximum(more_in, 0, out=more_in)
            np.maximum(more_out, 0, out=more_out)
        left, counted, moving = self._split(since, more_in, more_out)
        services.current_in[rows], services.current_out[rows] = greatest_in, greatest_out
        grown = int(np.count_nonzero(more_in | more_out))
        self._commit(since, more_in, more_out)
        self.tally.add("deltas_grown", grown)
        self.tally.add("deltas_repeated", int(np.count_nonzero(counted)) - grown)
        self.tally.add("deltas_shrunk", int(np.count_nonzero(shrunk & counted)))
        return Left(left, self._move(moving, cause))

    def repeat(self, _cause: Callable[[int], Cause]) -> Left:
        """An earlier end under the same start: nothing, unless something is waiting for the next delta."""
        waiting = self._waiting(self.before + 1)
        if self.columns.backfill:
            self.services.backfilling[self.rows] = True
            self._mark_dirty()
        self.tally.add("deltas_repeated", int(np.count_nonzero(~waiting)))
        return Left(take(self.services, self.group, np.flatnonzero(waiting)))

    # ------------------------------------------------------------ what is not counted here

    def _split(
        self, since: Numbers, more_in: Int64s, more_out: Int64s
    ) -> tuple[Sequence[tuple[int, Taken]], Flags, Sequence[Int64s]]:
        """Takes out the services that are to be counted one by one, and counts nothing for them here.  Returns them,
        which others are counted, and for each part the places of those of which just that ladder may move at the end.

        Whatever is still written to the rows of those taken out is overwritten when they are stored.
        """
        now = _most(self.before, self.columns.end)
        adds = (more_in | more_out) > 0
        special, stirred = self._waiting(now), list[Flags]()
        for part in self.group.parts:
            table, rows = part
            value = _amount(table, more_in, more_out)
            reached = table.total[rows] + value
            special |= self._may_matter(part, since, value, reached, adds)
            if not self.columns.backfill:
                due = table.next_due[rows] == now
                stirred.append((due | (reached > table.harmless[rows])) & adds)
                special |= due & ~adds
        if stirred:
            special |= self._stirs_more(stirred)
        left = take(self.services, self.group, np.flatnonzero(special))
        if left:
            more_in[special] = 0
            more_out[special] = 0
        counted = ~special
        return left, counted, [np.flatnonzero(each & counted) for each in stirred]

    def _stirs_more(self, stirred: Sequence[Flags]) -> Flags:
        """Where the end of a delta, which stirs these ladders, does more than to move one of them plainly."""
        more, all_ = np.zeros(len(self.group), np.bool_), np.zeros(len(self.group), np.bool_)
        for flags, (table, _) in zip(stirred, self.group.parts, strict=True):
            more |= flags & all_ if moves_plainly(table.plan) else flags
            all_ |= flags
        more |= all_ & np.less_equal(self.columns.end, self.before)
        places = np.flatnonzero(all_)
        for table, rows in self.group.parts:
            more[places] |= table.adjusted(chosen(rows, places))
        return more

    def _waiting(self, until: Numbers) -> Flags:
        """Rows with something to be judged before an instant, or of which the columns do not tell the time."""
        waiting = self.services.floored[self.rows].copy()
        if not self.columns.backfill:
            waiting |= self.services.backfilling[self.rows]
            for table, rows in self.group.parts:
                waiting |= table.next_due[rows] < until
        return waiting

    def _may_matter(self, part: Part, since: Numbers, value: Int64s, reached: Int64s, adds: Flags) -> Flags | bool:
        """Where an amount may do more than grow a sum: clipped, late, or out of the reach of 64 bits."""
        table, rows = part
        end = self.columns.end
        first, last = _ordinals(table.slicer, since), _ordinals(table.slicer, np.subtract(end, 1))
        head = table.head[rows]
        matters = _beyond(reached, MOST_IN_WINDOW) | _beyond(table.clip[rows], since) | _beyond(head, last)
        if np.any(np.greater(self.before, since)):
            time = _ordinals(table.slicer, np.maximum(np.subtract(self.before, 1), 0))
            matters |= np.greater(self.before, since) & np.less_equal(first, np.subtract(time, table.plan.slices))
        if not np.array_equal(first, last):
            matters |= np.greater(np.subtract(end, since), MOST_VECTOR_SPAN_MS)
        if matters is not False:
            matters = matters & (value > 0)
        if isinstance(table.plan.window, CalendarWindow):
            matters |= table.warned[rows] & ((head != last) | (adds & np.less_equal(end, self.before)))
        return matters

    # ------------------------------------------------------------ what is

    def _move(self, moving: Sequence[Int64s], cause: Callable[[int], Cause]) -> list[tuple[int, Decision]]:
        end, found = self.columns.end, list[tuple[int, Decision]]()
        for at, places in enumerate(moving):
            if len(places):
                group = self.group.only(places)
                ends = np.full(len(places), end) if isinstance(end, int) else end[places]
                found += move(self.services, group, group.parts[at], ends, cause)
        return found

    def _commit(self, since: Numbers, more_in: Int64s, more_out: Int64s) -> None:
        services, rows, end = self.services, self.rows, self.columns.end
        services.current_end[rows] = end
        services.accepted_in[rows] += more_in
        services.accepted_out[rows] += more_out
        if self.columns.backfill:
            services.backfilling[rows] = True
        for table, ladder_rows in self.group.parts:
            pour(table, ladder_rows, _amount(table, more_in, more_out), since, end)
        self._mark_dirty()
        self.tally.add("accepted_bytes", exact_sum(more_in) + exact_sum(more_out))

    def _mark_dirty(self) -> None:
        rows = self.rows
        pages = (
            slice(rows.start // PAGE_ROWS, (rows.stop - 1) // PAGE_ROWS + 1)
            if isinstance(rows, slice)
            else rows // PAGE_ROWS
        )
        self.services.dirty[pages] = True


def pour(table: LadderTable, rows: Rows, value: Int64s, since: Numbers, end: Numbers) -> None:
    """Adds amounts over `[since, end)` to the rings, which move on to the slice of the last millisecond."""
    count = table.plan.slices
    first, last = _ordinals(table.slicer, since), _ordinals(table.slicer, np.subtract(end, 1))
    head = agreed(table.head[rows])
    if isinstance(head, int) and isinstance(last, int) and np.array_equal(first, last) and last == head:
        table.ring[last % count][rows] += value
        table.total[rows] += value
        return
    numbers = as_numbers(rows)
    _advance(table, numbers, np.broadcast_to(head, numbers.shape), np.broadcast_to(last, numbers.shape))
    for ordinal, share in _shares(table.slicer, count, value, since, end, first, last):
        table.ring[np.remainder(ordinal, count), numbers] += share
        table.total[numbers] += share


def _advance(table: LadderTable, rows: Int64s, head: Int64s, last: Int64s) -> None:
    """Empties what has slid out of the windows."""
    count = table.plan.slices
    steps = np.minimum(last - head, count)
    for step in range(1, int(steps.max()) + 1):
        moved = np.flatnonzero(steps >= step)
        at = (head[moved] + step) % count, rows[moved]
        table.total[rows[moved]] -= table.ring[at]
        table.ring[at] = 0
    table.head[rows] = np.maximum(head, last)


def _shares(
    slicer: Slicer, count: int, value: Int64s, since: Numbers, end: Numbers, first: Numbers, last: Numbers
) -> Iterator[tuple[Numbers, Int64s]]:
    """(ordinals, amounts) slice by slice, from the newest back, as far as the window reaches."""
    if np.array_equal(first, last):
        yield last, value
        return
    for back in range(min(count, int(np.max(np.subtract(last, first))) + 1)):
        ordinal = np.subtract(last, back)
        ordinal = int(ordinal) if np.ndim(ordinal) == 0 else ordinal
        yield ordinal, parts(value, since, end, _edges(slicer, ordinal), _edges(slicer, np.add(ordinal, 1)))


def _beyond(numbers: Int64s, limit: Numbers) -> Flags | bool:
    """Which of them exceed the limit; False if none does."""
    if isinstance(limit, int) and np.maximum.reduce(numbers) <= limit:
        return False
    return numbers > limit


def _amount(table: LadderTable, in_: Int64s, out: Int64s) -> Int64s:
    """In hundredths of a byte."""
    weight_in, weight_out = table.plan.weight_in, table.plan.weight_out
    return (in_ + out) * weight_in if weight_in == weight_out else in_ * weight_in + out * weight_out


def _ordinals(slicer: Slicer, instants: Numbers | np.int64) -> Numbers:
    if isinstance(instants, np.ndarray) and instants.ndim:
        return agreed(slicer.ordinals(instants))
    return slicer.ordinal(int(instants))


def _edges(slicer: Slicer, ordinals: Numbers | np.int64) -> Numbers:
    if isinstance(ordinals, np.ndarray) and ordinals.ndim:
        return slicer.edges(ordinals)
    return slicer.edge(int(ordinals))


def _most(one: Numbers, two: Numbers) -> Numbers:
    return max(one, two) if isinstance(one, int) and isinstance(two, int) else np.maximum(one, two)


def _least(one: Numbers, two: Numbers | np.int64) -> Numbers:
    least = np.minimum(one, two)
    return least if np.ndim(least) else int(least)


def exact_sum(numbers: Int64s) -> int:
    return sum(int(np.add.reduce(numbers[at : at + _EXACT_SUM])) for at in range(0, len(numbers), _EXACT_SUM))
