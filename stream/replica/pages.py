"""One partition of `quota.state` as a tracker's last whole checkpoint left it: its pages as they were written.

records of the log ---> pending ---> named, when a meta record names them and all of them are whole
                                          |
                                          v  on demand, by the core's own code
                                        Decoded: one page as a small table of services
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from stream.core.errors import Corrupt
from stream.core.mapping import FieldMapping
from stream.core.page import Page
from stream.core.plan import Plan
from stream.core.services import Services
from stream.core.storing import MARKS, PLANS, plans_of, restore_page
from stream.core.view import ServiceView, view_of
from stream.ports import STATE, Record
from stream.runtime.checkpoint import META, OUT, Place, meta_of, page_at, part_key
from stream.runtime.comparison import Comparison

IDS = "ids/"
UNSHOWN = (OUT, IDS.encode(), b"notifier")
"""What keys begin with that nobody asks for."""
COMPARISON = b"comparison/"


class Parts(Mapping[bytes, bytes]):
    """Values of records by key, packed: columns have much in common."""

    def __init__(self) -> None:
        self._packed: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        return zlib.decompress(self._packed[key])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def put(self, key: bytes, value: bytes | None) -> None:
        """None removes it."""
        if value is None:
            self._packed.pop(key, None)
        else:
            self._packed[key] = zlib.compress(value, 1)

    def take_over(self, other: Parts) -> None:
        """All that the other one has; it is empty then."""
        self._packed |= other._packed
        other._packed.clear()

    def move_to(self, other: Parts, key: bytes) -> None:
        other._packed[key] = self._packed.pop(key)

    def clear(self) -> None:
        self._packed.clear()


class Decoded:
    """A page of services as a table of its own, in the page's order of rows."""

    def __init__(self, page: Page, plans: Mapping[str, Plan]) -> None:
        """Raises Corrupt."""
        self.number = int(page.key)
        count = len(page.columns["combination"])
        self.services = Services()
        self.services.rows.count = count
        self.services.reserve(count)
        restore_page(self.services, Page("0", page.columns, page.extras), plans)
        self.names = [self.services.names.name(row) for row in range(count)]
        """By row; empty for one in no use."""

    def view(self, row: int) -> ServiceView:
        """Of a row that has a service."""
        return view_of(self.services.take(row).service)


class Checkpoint(NamedTuple):
    """What a meta record says."""

    number: int
    next_offset: int
    services: int
    places: Mapping[str, Place]
    appended: int
    """When the meta record was appended, ms."""

    @property
    def numbers(self) -> list[int]:
        """Of its pages of services."""
        return [int(key) for key in self.places if key not in (PLANS, MARKS)]


class Fixed(NamedTuple):
    """What is there once in a partition."""

    plans_version: int
    plans: Mapping[str, Plan]
    mappings: Mapping[str, FieldMapping]
    marks: Mapping[str, int]


NOTHING = Checkpoint(0, 0, 0, {}, 0)


class Pages:
    """Take records in order; after a meta record, `read` what `changed`, and then `name` it.  In between, what was
    named before stays as it is."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.current = NOTHING
        self.fixed = Fixed(0, {}, {}, {})
        self._meta: Record | None = None
        self._named, self._waiting, self._pending = Parts(), Parts(), Parts()
        self._comparisons: dict[bytes, bytes] = {}

    def take(self, record: Record) -> None:
        key, value = record.key, record.value
        if key is None or key.startswith(UNSHOWN):
            return
        if key == META:
            self._meta = record if value is not None else None
            self._waiting.take_over(self._pending)
        elif not key.startswith(COMPARISON):
            self._pending.put(key, value)
        elif value is None:
            self._comparisons.pop(key, None)
        else:
            self._comparisons[key] = value

    def announced(self) -> Checkpoint | None:
        """The newest checkpoint that is not named yet.  Raises Corrupt."""
        if self._meta is None or self._meta.value is None:
            return None
        record, self._meta = self._meta, None
        try:
            meta = meta_of(self._meta_value(record))
            places = {key: Place(*place) for key, place in meta["pages"].items() if not key.startswith(IDS)}
            tracker = meta["tracker"]
            return Checkpoint(meta["checkpoint"], meta["next_offset"], tracker["services"], places, record.timestamp)
        except (Corrupt, ValueError, LookupError, TypeError, AttributeError) as error:
            raise Corrupt(f"{STATE}/{self.partition}: the meta record cannot be read: {error}") from error

    @staticmethod
    def _meta_value(record: Record) -> bytes:
        assert record.value is not None
        return record.value

    @property
    def is_empty(self) -> bool:
        """Nothing was taken but what nobody asks for."""
        return not (self._meta or self._pending or self._waiting or self._named)

    def changed(self, checkpoint: Checkpoint) -> list[int]:
        """The pages of services that it names and that are others than those named so far."""
        former = self.current.places
        return [number for number in checkpoint.numbers if checkpoint.places[str(number)] != former.get(str(number))]

    def read_fixed(self, checkpoint: Checkpoint) -> Fixed:
        """Raises Corrupt."""
        plans, marks = (self._new_page(checkpoint, key) for key in (PLANS, MARKS))
        try:
            at = dict(zip(marks.extras["sources"], marks.columns["at"].tolist(), strict=True))
        except (LookupError, TypeError, ValueError) as error:
            raise Corrupt(f"{STATE}/{self.partition}: the page of watermarks is damaged: {error!r}") from error
        version, by_name, mappings = plans_of(plans)
        if (version, by_name) == (self.fixed.plans_version, self.fixed.plans):
            by_name = dict(self.fixed.plans)  # the same objects
        return Fixed(version, by_name, mappings, at)

    def read(self, checkpoint: Checkpoint, number: int, fixed: Fixed) -> Decoded:
        """A page that a checkpoint names.  Raises Corrupt."""
        return self._decoded(self._new_page(checkpoint, str(number)), fixed)

    def name(self, checkpoint: Checkpoint, fixed: Fixed) -> None:
        """From now on this is what is shown: all that it names can be read."""
        for key, place in checkpoint.places.items():
            former = self.current.places.get(key)
            if place == former:
                continue
            if former is not None:
                for part in range(former.parts):
                    self._named.put(part_key(key, former.slot, part), None)
            for part in range(place.parts):
                self._waiting.move_to(self._named, part_key(key, place.slot, part))
        self._waiting.clear()
        self.current, self.fixed = checkpoint, fixed

    def page(self, number: int) -> Decoded:
        """Of those that are named."""
        key = str(number)
        return self._decoded(page_at(self._named, key, self.current.places[key]), self.fixed)

    def comparison(self, service: str) -> Mapping[str, Any] | None:
        """None if there is none, or nothing that one could read: it is for people alone."""
        value = self._comparisons.get(COMPARISON + service.encode())
        if value is None:
            return None
        try:
            document = orjson.loads(value)
            numbers = [document[name] for name in Comparison._fields if name != "service"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            return None
        return document if all(type(number) is int for number in numbers) else None

    def _new_page(self, checkpoint: Checkpoint, key: str) -> Page:
        place = checkpoint.places.get(key)
        if place is None:
            raise Corrupt(f"{STATE}/{self.partition}: page {key} is missing")
        parts = self._named if place == self.current.places.get(key) else self._waiting
        try:
            return page_at(parts, key, place)
        except Corrupt as error:
            raise Corrupt(f"{STATE}/{self.partition}: {error}") from error

    def _decoded(self, page: Page, fixed: Fixed) -> Decoded:
        try:
            decoded = Decoded(page, fixed.plans)
        except (Corrupt, LookupError, TypeError, ValueError) as error:
            raise Corrupt(f"{STATE}/{self.partition}: page {page.key}: {error}") from error
        decoded.services.marks = dict(fixed.marks)
        return decoded
