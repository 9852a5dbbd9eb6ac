"""VMmanager's functions in our words: what it lists, what its machines sent and received, what they are allowed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import httpx
import structlog

from stream.adapters.vmmanager import replies
from stream.adapters.vmmanager.access import Access
from stream.adapters.vmmanager.client import Client, DateObserver, Request, RequestObserver, Unauthorized
from stream.adapters.vmmanager.settings import Credentials, LongLivedToken, VmmanagerSettings
from stream.core.errors import Refused, Unavailable
from stream.core.model import MAX_BYTES, Speed
from stream.ports import Clock, Listing, TaskState, Traffic

log = structlog.get_logger()

MARGIN_MS = 90 * 60_000
"""By how much more is asked than is wanted, on both sides: an hour that the clocks show twice, plus a boundary."""
MOST_REPORTED = 20
"""Rows of one list that are logged one by one."""
NUMBER = re.compile("0|[1-9][0-9]{0,17}")
"""An id as we write it: no other service is the same machine as well."""
TASK_ID = re.compile(r"[\w.:-]{1,200}", re.ASCII)

Meaning = TypeVar("Meaning")
Points: TypeAlias = list[replies.Point]
Numbers: TypeAlias = list[int]
Totals: TypeAlias = list[Traffic]  # inside the class, `list` is its method


class Vmmanager:
    """A `ports.Platform`.  `transport` is for tests; `observe` is told of each request sent, `dated` of what the
    platform's clock shows."""

    def __init__(
        self,
        name: str,
        settings: VmmanagerSettings,
        secret: Credentials | LongLivedToken,
        *,
        clock: Clock,
        observe: RequestObserver = lambda platform, kind, outcome, seconds: None,
        dated: DateObserver = lambda platform, date: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._client = Client(name, settings, observe, transport, dated)
        self._access = Access(self._client, secret)
        self._reported: dict[str, str] = {}
        zone = ZoneInfo(settings.timezone)
        self._local = lru_cache(1024)(lambda instant: f"{datetime.fromtimestamp(instant / 1000, zone):%H:%M_%Y%m%d}")

    @property
    def name(self) -> str:
        return self._name

    @property
    def sampling_ms(self) -> int:
        return self._settings.sampling_ms

    async def list(self) -> Listing:
        """Everything in one request.  A row that cannot be read is logged when it first appears, and left out."""
        began_at = self._clock.now()
        rows = await self._ask(
            Request("list", "GET", "/vm/v3/host"),
            lambda reply: replies.rows(reply, self._name, self._settings.unlimited),
        )
        self._report(rows.broken)
        unreadable = frozenset(row for row in rows.broken if not row.startswith("#")) - rows.machines.keys()
        return Listing(began_at, rows.machines, unreadable)

    def _report(self, broken: dict[str, str]) -> None:
        """Each of the first that are new, then how many more."""
        new = [(row, cause) for row, cause in broken.items() if self._reported.get(row) != cause]
        for row, cause in new[:MOST_REPORTED]:
            log.warning("platform.row_unreadable", platform=self._name, row=row, cause=cause)
        if len(new) > MOST_REPORTED:
            log.warning("platform.rows_unreadable", platform=self._name, more=len(new) - MOST_REPORTED)
        self._reported = broken

    async def traffic(self, service: str, start: int, ends: Sequence[int]) -> Totals | None:
        """One request per direction over more than `[start, ends[-1])`; the points are chosen by their stamps.

        What counts as known reaches up to the newest point that both directions have.  A null before it is a gap that
        may be filled later; nulls after it, an empty series or none at all say nothing: they are never zero.  So
        shortly after `start`, before the first step is closed, the answer is None.
        """
        in_ = await self._points(service, "net_rx_summary", start, ends[-1])
        out = await self._points(service, "net_tx_summary", start, ends[-1])
        if not in_ or not out:
            return None
        step = self._settings.sampling_ms
        known = min(in_[-1][0], out[-1][0]) // step * step + step
        reached = sorted({min(end, known) for end in ends if min(end, known) > start})
        sums = zip(reached, self._sums(service, in_, reached), self._sums(service, out, reached), strict=True)
        return [Traffic(end, received, sent) for end, received, sent in sums]

    async def total(self, service: str, start: int, end: int) -> Traffic | None:
        """As the vendor's script asks: in steps of 30 days, of which all that come are added up."""
        in_, out = [
            await self._ask(self._metrics("total", service, target, start, end, "1month"), replies.total)
            for target in ("net_rx_summary", "net_tx_summary")
        ]
        return None if in_ is None or out is None else Traffic(end, in_, out)

    async def set_speed(self, service: str, speed: Speed) -> str | None:
        """Posts the two limits and nothing else."""
        limits = {"net_in_mbitps": self._mbit(speed.in_), "net_out_mbitps": self._mbit(speed.out)}
        request = Request("resource", "POST", f"/vm/v3/host/{self._number(service)}/resource", json=limits)
        return await self._ask(request, replies.task_of)

    async def task(self, task_id: str) -> TaskState:
        if not TASK_ID.fullmatch(task_id):
            raise Refused(f"{self._name}: {replies.text(task_id)!r} is not the id of a task")
        where = f"where=((consul_id+EQ+'{task_id}')+AND+(name+EQ+'host_change_params'))"
        return await self._ask(Request("task", "GET", "/vm/v3/task", where), replies.task_state)

    def express(self, speed: Speed) -> Speed:
        return Speed(_whole(speed.in_), _whole(speed.out))

    async def close(self) -> None:
        """Log out and close all connections."""
        await self._access.close()
        await self._client.close()

    async def _points(self, service: str, target: str, start: int, end: int) -> Points:
        """The points whose steps lie in `[start, end)`, oldest first."""
        step = self._settings.sampling_ms
        margin = -(-MARGIN_MS // step) * step
        interval = f"{step // 60_000}min" if step % 60_000 == 0 else f"{step // 1000}s"
        request = self._metrics("metrics", service, target, start - margin, end + margin, interval)
        at_end = self._settings.stamp == "end"
        return await self._ask(request, lambda reply: replies.points(reply, start, end, stamped_at_end=at_end))

    def _sums(self, service: str, points: Points, ends: Numbers) -> Numbers:
        """The bytes of all steps before each of `ends`."""
        sums: Numbers = []
        done = running = 0
        for end in ends:
            upto = bisect_left(points, (end, 0), done)
            running += sum(value for _, value in points[done:upto])
            sums.append(running)
            done = upto
        if running > MAX_BYTES:
            raise Unavailable(f"{self._name}: {service}: an impossible number of bytes within a day: {running}")
        return sums

    def _metrics(self, kind: str, service: str, target: str, start: int, end: int, interval: str) -> Request:
        path = f"/vm/v3/host/{self._number(service)}/metrics"
        times = f"from={self._local(start)}&until={self._local(end)}"
        return Request(kind, "GET", path, f"target={target}&{times}&output=single&interval={interval}")

    async def _ask(self, request: Request, meaning: Callable[[Any], Meaning]) -> Meaning:
        """What the reply to a request means; with a new token once, if the one in use is no longer good."""
        token = await self._access.token()
        try:
            reply = await self._client.call(request, token)
        except Unauthorized:
            token = await self._access.renew(token)
            try:
                reply = await self._client.call(request, token)
            except Unauthorized as error:
                refused = Refused(f"{error} (right after a login)")
                self._access.distrust(refused)
                raise refused from error
        try:
            return meaning(reply)
        except replies.Odd as error:
            raise Unavailable(f"{self._name}: {request}: {error}") from error

    def _number(self, service: str) -> int:
        """The machine's id on the platform."""
        platform, _, number = service.rpartition("/")
        if platform != self._name or not NUMBER.fullmatch(number):
            raise Refused(f"{self._name}: {service!r} is none of its machines")
        return int(number)

    def _mbit(self, bits_per_second: int | None) -> int | None:
        return self._settings.unlimited if bits_per_second is None else bits_per_second // replies.MBIT


def _whole(bits_per_second: int | None) -> int | None:
    return None if bits_per_second is None else max(1, bits_per_second // replies.MBIT) * replies.MBIT
