"""A platform in memory behind the port: small, honest, and as unreliable as it is told to be."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from stream.core.errors import Refused, Unavailable
from stream.core.speed import Speed
from stream.ports import Clock, Listing, Machine, TaskState, Traffic
from tests.enforcement.speeds import express

Call: TypeAlias = Literal["list", "set_speed", "task"]
Effect: TypeAlias = Literal[
    "unavailable", "refused", "hangs", "unanswered", "late", "task fails", "task endless", "ignored"
]
"""`unanswered`: the work is done, the answer is lost.  `late`: the answer is lost, the work is done a minute later.
`ignored`: it says that the work is done, and does nothing."""


class Post(NamedTuple):
    at: int
    service: str
    speed: Speed


class MemoryPlatform:
    """Machines and their limits.  `effects[call]` are what the next calls suffer, oldest first."""

    def __init__(self, clock: Clock, name: str = "vm1", *, task_s: float = 0.0, list_s: float = 0.0) -> None:
        self._clock = clock
        self._name = name
        self.task_s, self.list_s, self.call_s = task_s, list_s, 0.0
        self.limits: dict[str, Speed] = {}
        self.hidden: set[str] = set()
        """What lists lack although it is there."""
        self.unreadable: set[str] = set()
        self.posts: list[Post] = []
        self.calls: list[tuple[int, Call]] = []
        self.effects: defaultdict[Call, deque[Effect]] = defaultdict(deque)
        self.down = False
        self.before_post: Callable[[Post], None] = lambda post: None
        self.at_call: Callable[[Call], Awaitable[None]] = _nothing
        self._tasks: dict[str, TaskState] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def sampling_ms(self) -> int:
        return 300_000

    async def list(self) -> Listing:
        """As of the call, however long the answer takes."""
        await self._suffer("list")
        began_at = self._clock.now()
        machines = {
            service: Machine(service, service, True, limits)
            for service, limits in self.limits.items()
            if service not in self.hidden | self.unreadable
        }
        await asyncio.sleep(self.list_s)
        await self.at_call("list")
        return Listing(began_at, machines, frozenset(self.unreadable & self.limits.keys()))

    async def set_speed(self, service: str, speed: Speed) -> str | None:
        post = Post(self._clock.now(), service, speed)
        self.before_post(post)
        self.posts.append(post)
        effect = await self._suffer("set_speed")
        loop = asyncio.get_running_loop()
        if effect == "late":
            loop.call_later(60.0, self._take_effect, post, "")
        elif (self.task_s == 0 and effect != "ignored") or effect == "unanswered":
            self._take_effect(post, "")
        task = f"{service}#{len(self.posts)}"
        if self.task_s and effect is None:
            self._tasks[task] = "running"
            loop.call_later(self.task_s, self._take_effect, post, task)
        if effect == "ignored":
            self._tasks[task] = "complete"
        if effect == "task fails":
            self._tasks[task] = "failed"
        if effect == "task endless":
            self._tasks[task] = "running"
        await self.at_call("set_speed")
        if effect in ("unanswered", "late"):
            raise Unavailable(f"{self._name}: no answer")
        return task if self.task_s else None

    async def task(self, task_id: str) -> TaskState:
        await self._suffer("task")
        await self.at_call("task")
        return self._tasks.get(task_id, "unknown")

    def express(self, speed: Speed) -> Speed:
        return express(speed)

    async def traffic(self, service: str, start: int, ends: Sequence[int]) -> Sequence[Traffic] | None:
        return None

    async def total(self, service: str, start: int, end: int) -> Traffic | None:
        return None

    async def close(self) -> None:
        pass

    def count(self, call: Call) -> int:
        return sum(1 for _, made in self.calls if made == call)

    async def _suffer(self, call: Call) -> Effect | None:
        self.calls.append((self._clock.now(), call))
        await self.at_call(call)
        await asyncio.sleep(0.0 if call == "list" else self.call_s)
        effect = self.effects[call].popleft() if self.effects[call] else None
        if self.down or effect == "unavailable":
            raise Unavailable(f"{self._name}: out of order")
        if effect == "refused":
            raise Refused(f"{self._name}: no")
        if effect == "hangs":
            await asyncio.Event().wait()
        return effect

    def _take_effect(self, post: Post, task: str) -> None:
        if post.service in self.limits:
            self.limits[post.service] = post.speed
        self._tasks[task] = "complete"


async def _nothing(call: Call) -> None:
    await asyncio.sleep(0)
