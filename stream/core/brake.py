"""The brake: many services slowed at once is more likely a mistake than a month's end, so somebody should look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeRule:
    """At most the greater of `percent` of a platform's services and `at_least` are slowed within `within_ms`."""

    percent: int = 10
    at_least: int = 5
    within_ms: int = 600_000

    def __post_init__(self) -> None:
        if not (0 <= self.percent <= 100 and self.at_least >= 0 and self.within_ms > 0):
            raise ValueError(f"no such brake: {self}")

    def limit(self, population: int) -> int:
        """How many of so many services."""
        return max(self.at_least, population * self.percent // 100)


class Brake:
    """One platform's, in one process.  Once it holds it goes on holding until it is opened by hand.

    Several processes share a platform as they share the partitions, and nobody counts over all of them: each may slow
    as large a part of the limit as it serves of the partitions.  Together that is no more than the limit, and one more
    for each process whose part is less than one; and no more than what was allowed before and after it while
    partitions go from one to another.  What was slowed counts where its partition is: see `remember` and `forget`.
    """

    def __init__(self, rule: BrakeRule) -> None:
        self._rule = rule
        self._slowed: dict[str, int] = {}
        self.share = (1, 1)
        """How many of how many partitions are served here."""
        self.holds = False
        self.open_until = 0
        """Before this instant (ms) it lets everything pass."""
        self.waiting: set[str] = set()
        """The services whose slowing it holds up."""

    def admits(self, service: str, population: int, now: int) -> bool:
        """May this service be slowed now?  `population` is the number of the platform's services.

        A service counts once however often it is asked for: what was admitted may be tried again.
        """
        admitted = now < self.open_until or self._counts(service, population, now)
        (self.waiting.discard if admitted else self.waiting.add)(service)
        return admitted

    def _counts(self, service: str, population: int, now: int) -> bool:
        after = now - self._rule.within_ms
        self._slowed = {known: at for known, at in self._slowed.items() if at > after}
        if service in self._slowed:
            return True
        self.holds = self.holds or len(self._slowed) >= self._limit(population)
        if not self.holds:
            self._slowed[service] = now
        return not self.holds

    def _limit(self, population: int) -> int:
        """This process's share of it, rounded down, but at least 1 of a limit that is not 0."""
        limit, (served, partitions) = self._rule.limit(population), self.share
        return min(limit, max(1, limit * served // partitions))

    def forget(self, service: str) -> None:
        """The service is somebody else's now, who remembers it."""
        self._slowed.pop(service, None)
        self.waiting.discard(service)

    def remember(self, service: str, at: int | None) -> None:
        """The service was last slowed at `at`, before a restart or by another process."""
        if at is not None and at >= self.open_until:
            self._slowed[service] = max(at, self._slowed.get(service, at))

    def restore(self, holds: bool, open_until: int) -> None:
        """As it was set before a restart."""
        self.holds = self.holds or holds
        self.open_until = max(self.open_until, open_until)

    def open(self, until: int) -> None:
        """Somebody has looked: let everything pass until then, and count anew."""
        self.open_until = max(self.open_until, until)
        self.holds = False
        self._slowed.clear()
        self.waiting.clear()
