"""The replies of a platform: a simulated one's answers, spoiled, over httpx to the adapter and to the survey."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import httpx

from stream import wire
from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.vmmanager import Credentials, Vmmanager
from stream.bootstrap import make_match
from stream.config.load import loads
from stream.core.errors import Refused, Unavailable
from stream.core.model import MAX_BYTES, Malformed, Record, Speed
from stream.ports import Listing, Traffic
from stream.simulator import Faults, Knobs, World, create_app
from tests.fuzz.mutation import Draw
from tests.survey import rig as survey_rig
from tests.vmmanager.rig import HOUR, MINUTE, SETTINGS, STEP, T0

CHUNK_BYTES = 64 * 1024
"""So much comes from a socket at once."""
KINDS = ("login", "list", "metrics", "total", "resource", "task", "logout")
ENDS = [T0 - HOUR, T0 - 10 * MINUTE]
CONFIG = loads(
    """\
log: "memory:"
platforms:
  vm1: {type: vmmanager, url: "http://vm1", timezone: Europe/Berlin, token_env: T, labels: [name, tag, account]}
plans:
  p: {window: {slide: 1h}, profiles: {full: {speed: original}}}
services:
  - {match: {platform: vm1}, plans: [p]}
""",
    Path("/etc/quota-stream.yaml"),
)

STATUSES = (200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 503, 599)

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


class Given(NamedTuple):
    kind: str
    answer: Answer


def kind_of(request: httpx.Request) -> str:
    path = request.url.path
    if path.startswith("/auth"):
        return "login" if request.method == "POST" else "logout"
    if path.endswith("/metrics"):
        return "total" if request.url.params.get("interval") == "1month" else "metrics"
    return "resource" if path.endswith("/resource") else "task" if path.endswith("/task") else "list"


class Recorder(httpx.AsyncBaseTransport):
    """Keeps what goes by."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.answers: dict[str, list[Answer]] = {kind: [] for kind in KINDS}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        body = b"".join([chunk async for chunk in response.stream])  # type: ignore[union-attr]
        self.answers[kind_of(request)].append(Answer(response.status_code, tuple(response.headers.raw), body))
        return httpx.Response(response.status_code, headers=response.headers, content=body)


def genuine() -> dict[str, list[Answer]]:
    """What platforms of several kinds answer."""
    found: dict[str, list[Answer]] = {kind: [] for kind in KINDS}
    for knobs in (
        Knobs(),
        Knobs(tags="objects", bandwidth="one", unlimited=None, immediate=True, no_data="datapoints"),
        Knobs(closed=("metrics", "resource"), wrong_password_status=403),
        Knobs(asleep=True, waking_requests=3, login_status=200),
    ):
        for kind, answers in run_warped(partial(_asked, knobs), start_ms=T0).items():
            found[kind] += dict.fromkeys(answers)
    return found


async def _asked(knobs: Knobs, clock: WarpClock) -> dict[str, list[Answer]]:
    world = World(clock.now, seed=3, step_ms=STEP)
    app = create_app(world, knobs, Faults(3))
    for number in range(3):
        limits = (100, None if number else 100)
        world.create(since=T0 - 3 * HOUR, limits=limits, tags=["vpn", "x"], account="7", name=f"vm{number}.example.com")
    recorder = Recorder(httpx.ASGITransport(app=app))
    platform = adapter(clock, recorder, app.access.password)
    machines = list((await platform.list()).machines)
    for kind in ("metrics", "total", "resource", "task"):
        try:
            await OPERATIONS[kind](platform, machines[0])
        except (Refused, Unavailable):
            continue
    await platform.close()
    return recorder.answers


def adapter(clock: WarpClock, transport: httpx.AsyncBaseTransport, password: str = "hunter2") -> Vmmanager:
    settings = replace(SETTINGS, verify=False, concurrency=1, suspended_s=5, timeout_s=5)
    secret = Credentials(email="admin@example.com", password=lambda: password)
    return Vmmanager("vm1", settings, secret, clock=clock, transport=transport)


# ---------------------------------------------------------------- what is asked, and what must hold of what comes


async def _list(platform: Vmmanager, _: str) -> None:
    check_listing(await platform.list())


async def _traffic(platform: Vmmanager, service: str) -> None:
    check_traffic(await platform.traffic(service, T0 - 2 * HOUR, ENDS))


async def _total(platform: Vmmanager, service: str) -> None:
    total = await platform.total(service, T0 - 2 * HOUR, T0)
    assert total is None or (total.end == T0 and 0 <= total.in_ < 1 << 63 and 0 <= total.out < 1 << 63)


async def _resource(platform: Vmmanager, service: str) -> None:
    task = await platform.set_speed(service, Speed(10_000_000, None))
    assert task is None or isinstance(task, str)
    if task is not None:
        await platform.task(task)


async def _task(platform: Vmmanager, _: str) -> None:
    assert await platform.task("500007") in ("running", "complete", "failed", "unknown")


OPERATIONS: dict[str, Callable[[Vmmanager, str], Coroutine[Any, Any, None]]] = {
    "login": _list,
    "list": _list,
    "metrics": _traffic,
    "total": _total,
    "resource": _resource,
    "task": _task,
    "logout": _list,
}


def check_listing(listing: Listing) -> None:
    """Machines as the rest of the program relies on them; each can be registered with all that it is called."""
    match = make_match(CONFIG, "vm1")
    for service, machine in listing.machines.items():
        assert service == machine.service
        assert service.removeprefix("vm1/").isdecimal()
        assert all(limit is None or 0 <= limit <= 10**15 for limit in machine.limits)
        words = [machine.name, *(word for words in machine.attributes.values() for word in words)]
        assert all(word.isprintable() and len(word) <= 200 for word in words), "a name that is no name"
        enrolment = match(machine)
        assert enrolment is not None
        message = wire.encode_registration(service, enrolment.plans, labels=enrolment.fitting().labels)
        [event] = wire.Decoder().decode([Record(0, T0, *message)])
        assert not isinstance(event, Malformed), f"it cannot be registered: {event.reason}"
    assert not listing.unreadable & listing.machines.keys()


def check_traffic(found: Sequence[Traffic] | None) -> None:
    ends = [each.end for each in found or ()]
    assert ends == sorted(set(ends))
    assert all(T0 - 2 * HOUR < end <= ENDS[-1] for end in ends)
    for each in found or ():
        assert type(each.in_) is type(each.out) is int
        assert 0 <= each.in_ <= MAX_BYTES
        assert 0 <= each.out <= MAX_BYTES


# ---------------------------------------------------------------- the subjects


class Spoiler:
    """Answers, spoiled."""

    def __init__(self) -> None:
        self.answers = genuine()
        self._bodies = {kind: [answer.body for answer in answers] for kind, answers in self.answers.items()}
        self._documents = {
            kind: [each for each in bodies if each[:1] in b"{["] for kind, bodies in self._bodies.items()
        }

    def answer(self, draw: Draw, kind: str) -> Answer:
        answer = draw.pick(self.answers[kind])
        body = draw.json(self._documents[kind]) if draw.chance(0.85) else draw.spoiled_bytes(answer.body)
        status = answer.status if draw.chance(0.7) else draw.pick(STATUSES)
        headers = answer.headers if draw.chance(0.8) else self._headers(draw)
        if (b"content-encoding", b"gzip") in headers and draw.chance(0.5):
            body = gzip.compress(body)
        return Answer(status, headers, body)

    @staticmethod
    def _headers(draw: Draw) -> Headers:
        known = (
            b"content-type",
            b"content-encoding",
            b"content-length",
            b"date",
            b"location",
            b"set-cookie",
            b"x",
            b"",
        )
        values = (
            b"application/json",
            b"gzip",
            b"deflate",
            b"br",
            b"0",
            b"-1",
            b"9" * 30,
            b"text/html; charset=x",
            b"\xff",
        )
        pairs = [(draw.pick(known), draw.pick(values)) for _ in range(1 + draw.below(4))]
        return tuple((name, value if draw.chance(0.7) else draw.spoiled_bytes(value)) for name, value in pairs)


class RepliesSubject:
    """One kind of reply is spoiled, the others are good."""

    def __init__(self) -> None:
        self._spoiler = Spoiler()

    def draw(self, draw: Draw) -> Given:
        kind = draw.pick(KINDS)
        return Given(kind, self._spoiler.answer(draw, kind))

    def take(self, given: Given) -> bool:
        def reply(request: httpx.Request) -> httpx.Response:
            kind = kind_of(request)
            return response(given.answer if kind == given.kind else self._spoiler.answers[kind][0])

        async def main(clock: WarpClock) -> None:
            platform = adapter(clock, httpx.MockTransport(reply))
            try:
                await OPERATIONS[given.kind](platform, "vm1/100")
            finally:
                await platform.close()

        run_warped(main, start_ms=T0)
        return True


def response(answer: Answer) -> httpx.Response:
    return httpx.Response(answer.status, headers=list(answer.headers), stream=_Chunks(answer.body))


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), CHUNK_BYTES):
            yield self._body[start : start + CHUNK_BYTES]


class SurveySubject:
    """`check --live`: now and then a reply is spoiled."""

    def __init__(self) -> None:
        os.environ["VM1_PASSWORD"] = survey_rig.PASSWORD
        self._config = survey_rig.config()

    def draw(self, draw: Draw) -> Draw:
        return draw

    def take(self, given: Draw) -> bool:
        share = given.pick((0.02, 0.2, 1.0))

        def wrap(inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
            async def reply(request: httpx.Request) -> httpx.Response:
                genuine = await inner.handle_async_request(request)
                if not given.chance(share):
                    return genuine
                body = b"".join([chunk async for chunk in genuine.stream])  # type: ignore[union-attr]
                spoiled = given.json([body]) if body[:1] in (b"{", b"[") else given.spoiled_bytes(body)
                return response(Answer(genuine.status_code, tuple(genuine.headers.raw), spoiled))

            return httpx.MockTransport(reply)

        found, _ = survey_rig.surveyed(None, self._config, _two, watch=False, most_judged=1, wrap=wrap)
        assert found.platforms
        return True


def _two(rig: survey_rig.Rig) -> None:
    survey_rig.some(rig, days=3)
