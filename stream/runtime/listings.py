"""One platform's lists, shared by whoever needs them: the collector each cycle, the enforcer after each write."""

from __future__ import annotations

import asyncio
from typing import Protocol

from stream.core.errors import Unavailable
from stream.ports import Listing

DEADLINE_S = 600.0


class Lister(Protocol):
    """As much of a Platform as is needed here."""

    @property
    def name(self) -> str: ...

    async def list(self) -> Listing: ...


class Listings:
    """At most one list call is under way; all who can use its answer wait for it, and share its error."""

    def __init__(self, platform: Lister) -> None:
        self._platform = platform
        self._call: asyncio.Task[Listing] | None = None

    async def now(self) -> Listing:
        """A listing whose call begins after this one: it shows whatever was done before.

        That is a matter of the program's own order, not of any clock: a call that is under way already is waited for
        and not used; the next one is shared by all who came meanwhile.  Raises Unavailable or Refused as
        Platform.list does.  To cancel a caller does not cancel the call, for which others may wait.
        """
        former = self._call
        if former is not None and not former.done():
            await asyncio.wait({former})
        if self._call is former:
            self._call = asyncio.create_task(self._list(), name=f"list-{self._platform.name}")
            self._call.add_done_callback(_retrieve)
        assert self._call is not None
        return await asyncio.shield(self._call)

    async def _list(self) -> Listing:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._platform.list()
        except TimeoutError as error:
            raise Unavailable(f"{self._platform.name}: no list within {DEADLINE_S:g} s") from error

    async def close(self) -> None:
        """Give up a call that is under way."""
        if self._call is not None and not self._call.done():
            self._call.cancel()
            await asyncio.wait({self._call})


def _retrieve(call: asyncio.Task[Listing]) -> None:
    """An error that no caller waits for any more is nobody's loss: the next call meets it again."""
    if not call.cancelled():
        call.exception()
