"""The adapter on a simulated platform in process, in time that jumps; or on a few lines of ASGI that say anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.vmmanager import Credentials, LongLivedToken, Outcome, Vmmanager, VmmanagerSettings
from stream.simulator import Faults, Knobs, Simulator, World, create_app

MINUTE = 60_000
STEP = 5 * MINUTE
HOUR = 60 * MINUTE
T0 = 1_773_532_800_000
"""2026-03-15 00:00 UTC."""

SETTINGS = VmmanagerSettings(url="http://vm1", timezone="Europe/Berlin", max_requests_per_second=1000)

_T = TypeVar("_T")


class Seen:
    """What the adapter says of its requests."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()

    def __call__(self, platform: str, kind: str, outcome: Outcome, seconds: float) -> None:
        assert platform == "vm1"
        assert seconds >= 0
        self.outcomes[kind, outcome] += 1


class Rig:
    """A simulator, and the adapter that asks it."""

    def __init__(
        self,
        clock: WarpClock,
        knobs: Knobs | None = None,
        secret: Credentials | LongLivedToken | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock
        self.world = World(clock.now, seed=3, step_ms=STEP)
        self.app: Simulator = create_app(self.world, knobs or Knobs(), Faults(3))
        self.passwords_read = 0
        self.seen = Seen()
        self.platform = Vmmanager(
            "vm1",
            replace(SETTINGS, **settings),
            secret or Credentials(email=self.app.access.email, password=self._password),
            clock=clock,
            observe=self.seen,
            transport=httpx.ASGITransport(app=self.app),
        )

    def _password(self) -> str:
        self.passwords_read += 1
        return self.app.access.password

    def called(self, path: str) -> list[int]:
        """When (ms) a path was called."""
        return [at for at, call, _ in self.app.calls if call.path == path]


def warped(main: Callable[[WarpClock], Coroutine[Any, Any, _T]], start_ms: int = T0) -> _T:
    return run_warped(main, start_ms=start_ms)


class Parrot:
    """A platform that answers every login well, and everything else with one fixed reply.

    `body` may depend on the query's `target`.
    """

    def __init__(
        self, body: bytes | dict[str, bytes], status: int = 200, content_type: str = "application/json"
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/auth/v4/public/token":
            return httpx.Response(201, json={"id": "1", "token": "sesame", "expires_at": None, "confirmed": True})
        body = self.body if isinstance(self.body, bytes) else self.body[request.url.params["target"]]
        return httpx.Response(self.status, content=body, headers={"content-type": self.content_type})

    def platform(self, clock: WarpClock, **settings: Any) -> Vmmanager:
        secret = Credentials(email="a@example.com", password=lambda: "hunter2")
        transport = httpx.MockTransport(self)
        return Vmmanager("vm1", replace(SETTINGS, **settings), secret, clock=clock, transport=transport)
