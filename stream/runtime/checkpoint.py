"""What of a tracker is durable, and how: pages in two slots, an outbox, and one meta record that names them.

    quota.state, one partition         value
    meta                               checkpoint number, number of partitions, next offset, where pages lie, outbox,
                                       tracker.meta(), digest
    <page>/<a|b>/<part>                a page, cut below the record limit
    out/<n>                            a decision or warning that may not be published yet, as it is to be published

A checkpoint writes each dirty page to the slot that the last meta does *not* name, then the new outbox entries, then
meta, then the removal of published outbox entries.  Whatever prefix of that survives, the meta in the log names only
what is whole: the former checkpoint's before meta, this one's after it.  Each of these records carries a digest of its
content, so that a damaged one is refused.  Format 1 had none in meta and outbox, and early meta records of format 2
did not name the number of partitions; they are read all the same.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from stream import wire
from stream.core.errors import Corrupt, Misconfigured
from stream.core.mapping import FieldMapping
from stream.core.page import Page
from stream.core.plan import Plan
from stream.core.services import PAGE_ROWS
from stream.core.storing import PLANS, plans_of
from stream.core.tracker import Tracker
from stream.ports import MAX_RECORD_BYTES, STATE, Log, Message, Record
from stream.runtime.deadlines import answering

META = b"meta"
OUT = b"out/"
FORMAT = 2
DEADLINE_S = 30.0
"""For each call on the log."""
PART_BYTES = MAX_RECORD_BYTES - 1024
OTHER = {"a": "b", "b": "a"}
SECOND = re.compile(rb"((ids/)?\d+|plans|marks)/b/\d+")
"""Keys that the first checkpoint does not write."""


class Place(NamedTuple):
    """Where a page lies: its slot, the checkpoint that wrote it, and into how many parts it is cut."""

    slot: str
    checkpoint: int
    parts: int


class State:
    """A tracker and what surrounds it in `quota.state`, of a log of so many partitions.  `stage` and
    `staged_is_durable` take turns."""

    def __init__(self, tracker: Tracker, partitions: int) -> None:
        self.tracker = tracker
        self.partitions = partitions
        self.checkpoint = 0
        self.places: dict[str, Place] = {}
        self.outbox: deque[Message] = deque()
        """What is durable but perhaps not published, oldest first."""
        self.outbox_start = 0
        """The number of outbox[0]."""
        self._published: list[bytes] = []  # keys that the next checkpoint removes
        self._staged: tuple[dict[str, Place], list[Message]] | None = None

    def stage(self, outcomes: Iterable[Message]) -> Iterator[Message]:
        """The records of the next checkpoint, in the order in which they must be written; take all of them, before
        anything is applied.  What is applied afterwards belongs to the checkpoint after it.

        `outcomes` are the decisions and warnings, encoded, that came since the last one.
        """
        assert self._staged is None, "the former checkpoint is still being written"
        number = self.checkpoint + 1
        places = dict(self.places)
        for page in self.tracker.dirty_pages():
            slot = OTHER[places[page.key].slot] if page.key in places else "a"
            parts = _cut(wire.encode_page(page, number))
            places[page.key] = Place(slot, number, len(parts))
            for part, data in enumerate(parts):
                yield Message(part_key(page.key, slot, part), data)
        new = list(outcomes)
        first_new = self.outbox_start + len(self.outbox)
        for place, message in enumerate(new, first_new):
            key = _out_key(place)
            yield Message(key, _pack(key, message))
        yield Message(META, self._meta(number, places, first_new + len(new)))
        for key in self._published:
            yield Message(key, None)
        self._staged = (places, new)
        self.tracker.clean()

    def staged_is_durable(self) -> None:
        """What `stage` returned has been written.  If it cannot be, nothing here is of use any more."""
        assert self._staged is not None, "nothing was staged"
        self.places, new = self._staged
        self.outbox.extend(new)
        self.checkpoint += 1
        self._published.clear()
        self._staged = None

    def published(self, count: int) -> None:
        """The first `count` of the outbox are in `quota.profile-changes`; the next checkpoint forgets them."""
        for _ in range(count):
            self.outbox.popleft()
            self._published.append(_out_key(self.outbox_start))
            self.outbox_start += 1

    def forget(self, keys: Iterable[bytes]) -> None:
        """Published entries of a checkpoint that was torn before it removed them; the next one does."""
        self._published.extend(keys)

    def _meta(self, number: int, places: Mapping[str, Place], outbox_end: int) -> bytes:
        return sealed(
            {
                "version": FORMAT,
                "checkpoint": number,
                "partitions": self.partitions,
                "next_offset": self.tracker.next_offset,
                "pages": {key: list(place) for key, place in places.items()},
                "outbox": [self.outbox_start, outbox_end],
                "tracker": self.tracker.meta(),
            }
        )


def restore(
    snapshot: Mapping[bytes, bytes], partition: int, partition_of: Callable[[str], int], partitions: int
) -> State:
    """The state that the snapshot's meta names, and exactly that.

    Raises Corrupt if anything is missing or differs, Misconfigured if it is the state of a log that had more or fewer
    than `partitions`.
    """
    with _named(partition):
        if META in snapshot:
            meta = meta_of(snapshot[META])
            _check_count(meta, partition, partitions)
            return _restore(meta, snapshot, partition, partition_of, partitions)
        if any(SECOND.fullmatch(key) for key in snapshot):  # a torn first checkpoint leaves none of these
            raise Corrupt("pages of a later checkpoint but no meta record; restore a backup")
        return State(Tracker(partition, partition_of), partitions)


async def check_partitions(log: Log) -> None:
    """Raises Misconfigured if the state was made for a log of more or fewer partitions, Unavailable.

    For every process, before anything else: who serves new partitions only would find no state there, and begin.
    """
    async with answering():
        snapshot = await log.snapshot(STATE, 0)
    with _named(0):
        if META in snapshot:
            _check_count(meta_of(snapshot[META]), 0, log.partitions)


def _check_count(meta: Mapping[str, Any], partition: int, partitions: int) -> None:
    made_for = meta.get("partitions", partitions)
    if made_for != partitions:
        raise Misconfigured(
            f"{STATE}/{partition}: the state was made for {made_for} partitions, and the log has {partitions}, so that "
            "services would be counted in others than theirs; more or fewer partitions for a running installation are "
            f"not supported yet: use the log with {made_for} partitions again, or begin anew with a log of its own "
            "(on Kafka: another `topic_prefix` and `application`)"
        )


@contextmanager
def _named(partition: int) -> Iterator[None]:
    """Whatever is wrong with a partition's state is Corrupt, and says where."""
    try:
        yield
    except Corrupt as error:
        raise Corrupt(f"{STATE}/{partition}: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Corrupt(f"{STATE}/{partition}: the meta record is damaged ({error!r}); restore a backup") from error


def _restore(
    meta: Mapping[str, Any],
    snapshot: Mapping[bytes, bytes],
    partition: int,
    partition_of: Callable[[str], int],
    partitions: int,
) -> State:
    places = {key: Place(*place) for key, place in meta["pages"].items()}
    if meta["tracker"]["rows"] > PAGE_ROWS * len(places):
        raise Corrupt(f"meta names {meta['tracker']['rows']} rows, which {len(places)} pages cannot hold")
    pages = (page_at(snapshot, key, place) for key, place in places.items())
    state = State(Tracker.restore(partition, partition_of, meta["tracker"], pages), partitions)
    if state.tracker.next_offset != meta["next_offset"]:
        raise Corrupt("meta disagrees with itself about the next offset")
    state.checkpoint, state.places = meta["checkpoint"], places
    state.outbox_start, outbox_end = meta["outbox"]
    for number in range(state.outbox_start, outbox_end):
        packed = snapshot.get(_out_key(number))
        if packed is None:
            raise Corrupt(f"meta names outbox entry {number}, which is missing")
        state.outbox.append(_unpack(_out_key(number), packed, meta["version"]))
    state.forget(key for key in snapshot if key.startswith(OUT) and int(key[len(OUT) :]) < state.outbox_start)
    return state


class Plans(NamedTuple):
    """What a partition's tracker had read when it was last made durable."""

    next_offset: int
    version: int
    plans: Mapping[str, Plan]
    mappings: Mapping[str, FieldMapping]


async def load_plans(log: Log, partition: int) -> Plans:
    """The plans as of the last checkpoint (version 0 before the first); no other page is looked at."""
    snapshot = await log.snapshot(STATE, partition)
    with _named(partition):
        if META not in snapshot:
            return Plans(0, 0, {}, {})
        meta = meta_of(snapshot[META])
        version, plans, mappings = plans_of(page_at(snapshot, PLANS, Place(*meta["pages"][PLANS])))
        return Plans(meta["next_offset"], version, plans, mappings)


async def until_counted(log: Log, partition: int, offset: int) -> None:
    """Wait until everything before that offset of the input is counted and durable, whoever owns the partition.

    Raises Unavailable or TimeoutError when the log does not answer.
    """
    async with asyncio.timeout(DEADLINE_S):
        first, _ = await log.bounds(STATE, partition)
    async with aclosing(log.read(STATE, partition, first, wait_s=DEADLINE_S)) as fetches:
        counted = 0
        while counted < offset:
            async with asyncio.timeout(2 * DEADLINE_S):
                fetched = await anext(fetches)
            metas = [record.value for record in fetched.records if record.key == META and record.value is not None]
            with _named(partition):
                counted = meta_of(metas[-1])["next_offset"] if metas else counted


async def load(log: Log, partition: int, partition_of: Callable[[str], int]) -> Tracker:
    """A tracker as of its last checkpoint, to look at: not owned, not to be applied to."""
    return restore(await log.snapshot(STATE, partition), partition, partition_of, log.partitions).tracker


def sealed(meta: Mapping[str, Any]) -> bytes:
    """A meta record: its fields, and a digest of them."""
    return orjson.dumps({**meta, "digest": _digest(META, orjson.dumps(meta))})


def meta_of(raw: bytes) -> dict[str, Any]:
    """What a meta record says.  Raises Corrupt or ValueError, LookupError, TypeError."""
    meta: dict[str, Any] = orjson.loads(raw)
    if meta["version"] > FORMAT:
        raise Corrupt(f"format {meta['version']} is newer than this program's ({FORMAT}); upgrade it")
    digest = meta.pop("digest", None)
    if (meta["version"] > 1 or digest is not None) and digest != _digest(META, orjson.dumps(meta)):
        raise Corrupt("the meta record is damaged: its digest differs; restore a backup")
    return meta


def _digest(key: bytes, content: bytes) -> str:
    """Of a record's content, and of where it stands."""
    return blake2b(content, digest_size=16, key=key).hexdigest()


def page_at(snapshot: Mapping[bytes, bytes], key: str, place: Place) -> Page:
    """The page that a meta record says lies there.  Raises Corrupt."""
    parts: list[bytes] = []
    for part in range(place.parts):
        data = snapshot.get(part_key(key, place.slot, part))
        if data is None:
            raise Corrupt(f"page {key}/{place.slot} is incomplete; restore a backup")
        parts.append(data)
    try:
        page, checkpoint = wire.decode_page(b"".join(parts))
    except Corrupt as error:
        raise Corrupt(f"page {key}/{place.slot}: {error}") from error
    if (page.key, checkpoint) != (key, place.checkpoint):
        raise Corrupt(f"page {key}/{place.slot} is of checkpoint {checkpoint}, meta names {place.checkpoint}")
    return page


def _cut(data: bytes) -> list[bytes]:
    return [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]


def part_key(page: str, slot: str, part: int) -> bytes:
    return f"{page}/{slot}/{part}".encode()


def _out_key(number: int) -> bytes:
    return OUT + b"%d" % number


def outcome_in(record: Record) -> Message | None:
    """The outcome that a record of `quota.state` holds until it is published; None if it is another record, or gone."""
    if record.key is None or not record.key.startswith(OUT) or record.value is None:
        return None
    return _unpack(record.key, record.value, 1)  # whoever restores from it looks at its digest


def _pack(at: bytes, message: Message) -> bytes:
    key, value, headers = message
    assert key is not None
    assert value is not None
    content = orjson.dumps([key.decode(), value.decode(), [[name, text.decode()] for name, text in headers]])
    return b'%b,"%b"]' % (content[:-1], _digest(at, content).encode())


def _unpack(at: bytes, packed: bytes, version: int) -> Message:
    content = orjson.loads(packed)
    if version > 1 and content.pop() != _digest(at, orjson.dumps(content)):
        raise Corrupt(f"outbox entry {at.decode()} is damaged: its digest differs; restore a backup")
    key, value, headers = content[:3]
    return Message(key.encode(), value.encode(), tuple((name, text.encode()) for name, text in headers))
