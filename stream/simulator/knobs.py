"""Everything that `facts` leaves open about a VMmanager, as one frozen record.

The defaults are a likely installation; each knob is a way in which a real one may differ.  Instants and lengths are
in the simulated world's milliseconds, except where a name ends in `_s`: those are seconds of the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    timezone: str = "Europe/Berlin"
    """The server's own zone: `from` and `until` are read in it."""

    # --- metrics
    stamp: Literal["start", "end"] = "start"
    """Whether a point carries the beginning or the end of what it covers."""
    from_included: bool = True
    """Whether a point stamped exactly `from` belongs to the answer."""
    until_included: bool = False
    """Whether a point stamped exactly `until` belongs to the answer."""
    lag_ms: int = 0
    """A point can be read this long after the end of what it covers."""
    late_percent: int = 0
    """So many of a hundred points can be read only `late_ms` later still (the same ones for the same world)."""
    late_ms: int = 30 * MINUTE_MS
    retention_ms: int | None = None
    """Older points are gone."""
    epoch_seconds: bool = True
    """Whether `from` and `until` may be seconds since the epoch (else: an error, invented code)."""
    ambiguous: Literal["first", "second"] = "first"
    """Which of the two instants a local time means that occurs twice."""
    no_data: Literal["list", "datapoints"] = "list"
    """How "no data" looks: `[]`, or a series with empty datapoints."""
    stopped: Literal["null", "zero"] = "null"
    """What the points of a stopped VM hold."""
    view: Literal["vm", "tap"] = "vm"
    """Whose rx it is: the VM's (its incoming traffic) or the tap's (what the VM sends)."""
    reused_id: Literal["fresh", "continued"] = "fresh"
    """Whether a VM that gets a deleted one's id starts a series of its own or goes on with the old one."""
    most_points: int = 100_000
    """A longer answer is refused (invented code)."""

    # --- the list
    bandwidth: Literal["two", "one"] = "two"
    """`net_in_mbitps` and `net_out_mbitps`, or the old single field `net_bandwidth_mbitps`."""
    unlimited: int | None = 0
    """How "no limit" is shown and asked for."""
    tags: Literal["names", "objects"] = "names"
    list_limit: int | None = None
    """A silent limit on the number of rows (none is known)."""
    filters: Literal["all", "id"] = "all"
    """With `id`, a filter on any other field is answered with HTTP 500, as one client saw it."""

    # --- changes of limits
    task_ms: int = 20_000
    """From the request to the change in force."""
    task_absent_ms: int = 2_000
    """So long the task's record is not found yet."""
    immediate: bool = False
    """Changes are done when the reply comes, and it holds no task."""
    failed: Literal["fail", "failed"] = "fail"
    """The word for a task that failed."""
    busy: Literal["queue", "refuse"] = "queue"
    """What becomes of a change while another one of the same VM is under way (the refusal's code is invented)."""
    slowest_mbitps: int = 1
    fastest_mbitps: int = 100_000
    """Values outside are refused (invented code)."""

    # --- access
    login_status: int = 201
    wrong_password_status: int = 401
    expired_status: int = 401
    """The HTTP status of code 1000."""
    cookie_alone: bool = True
    """Whether the cookie `ses6` is enough without the header `x-xsrf-token`."""
    token_life_ms: int = HOUR_MS
    """Of inactivity."""
    closed: tuple[str, ...] = ()
    """Regular expressions on `METHOD /path`: functions closed to outside callers (403, code 3001)."""
    requests_per_second: int | None = None
    """More in one second (of the world) are answered with 429.  None has been seen so far."""

    # --- replies
    content_type: str = "application/json"
    suspend_after_ms: int | None = None
    """An installation that nobody called for so long falls asleep and must be woken."""
    waking_requests: int = 3
    """So many requests are answered with 503 before it is awake."""
    asleep: bool = False
    """Whether it is asleep at the beginning."""
    latency_s: float = 0.0
    latency_jitter_s: float = 0.0
    """A reply takes between `latency_s` and that much more."""

    def __post_init__(self) -> None:
        ZoneInfo(self.timezone)
        percents_and_lengths = (self.late_percent, self.lag_ms, self.late_ms, self.task_ms, self.task_absent_ms)
        if min(percents_and_lengths) < 0 or self.late_percent > 100:
            raise ValueError("a knob is out of range: lengths are at least 0, percents at most 100")

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
