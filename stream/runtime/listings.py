"""One platform's lists, shared by whoever needs them: the collector each cycle, the enforcer after each write."""

from __future__ import annotations

import asyncio

from stream.ports import Clock, Listing, Platform


class Listings:
    """At most one list call is under way; everybody who can use its answer waits for it, and shares its error."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = platform
        self._clock = clock
        self._call: asyncio.Task[Listing] | None = None
        self.latest: Listing | None = None
        """The newest listing that arrived."""

    async def now(self) -> Listing:
        """A listing that begins at or after this call."""
        return await self.since(self._clock.now())

    async def since(self, instant: int) -> Listing:
        """A listing that began at or after `instant` (ms): the latest, the one under way, or a new one.

        `instant` must not lie after the present.  Raises Unavailable or Refused as Platform.list does.  To cancel a
        caller does not cancel the call, which others may wait for.
        """
        if self.latest is not None and self.latest.began_at >= instant:
            return self.latest
        under_way = self._call
        if under_way is not None and not under_way.done():
            listing = await asyncio.shield(under_way)
            if listing.began_at >= instant:
                return listing
        if self._call is None or self._call.done():
            self._call = asyncio.create_task(self._list(), name=f"list-{self._platform.name}")
            self._call.add_done_callback(_retrieve)
        return await asyncio.shield(self._call)  # began after we came, whatever the wall clock did meanwhile

    async def _list(self) -> Listing:
        self.latest = await self._platform.list()
        return self.latest

    async def close(self) -> None:
        """Give up a call that is under way."""
        if self._call is not None and not self._call.done():
            self._call.cancel()
            await asyncio.wait({self._call})


def _retrieve(call: asyncio.Task[Listing]) -> None:
    """An error that no caller waits for any more is nobody's loss: the next call meets it again."""
    if not call.cancelled():
        call.exception()
