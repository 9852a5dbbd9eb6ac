"""With exactly the rights that the README lists each role works; without any one of them it says which is missing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream import bootstrap, wire
from stream.adapters.clock import SystemClock
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import create
from stream.bootstrap.notifying import notifying
from stream.bootstrap.web import shown
from stream.config.fields import Address
from stream.config.load import load
from stream.config.model import Config
from stream.core.errors import Misconfigured
from stream.core.model import Decision, Position
from stream.core.speed import ORIGINAL
from stream.metrics import Metrics
from stream.ports import CHANGES, DELTAS, STATE, TOPICS, Message, Role, Traffic
from stream.runtime import plans
from stream.runtime.notifier import KEY
from stream.web.access.tokens import TokensFile
from tests.enforcement.platform import MemoryPlatform
from tests.kafka.cluster import PASSWORDS, WORKER, Cluster, until
from tests.kafka.rights import Operation, Right, Worker, grant, rights_of, take_back
from tests.processes.running import called

DEADLINE_S = 60.0
T0 = 1764547200000

CONFIG = """
log: kafka://{servers}
listen: off
partitions: 1
kafka:
  topic_prefix: {prefix}
  application: {application}
  ssl_ca_file: {authority}
  sasl_username: {user}
  sasl_password_file: password
platforms:
  vm1: {{type: vmmanager, url: "http://127.0.0.1:1", token_env: NOBODY, timezone: UTC, poll: 1s, settle: 1s}}
plans:
  hour:
    window: {{slide: 1h}}
    profiles:
      fast: {{speed: 100 Mbit/s, quota: 1000, down: slow}}
      slow: {{speed: 10 Mbit/s, stay: 1h, up: fast}}
services:
  - {{match: {{}}, plans: [hour]}}
notify: {{command: [tee, --append, {folder}/told], events: [change]}}
web: {{}}
"""


class BusyPlatform(MemoryPlatform):
    """Every machine of it has sent something."""

    async def traffic(self, service: str, start: int, ends: Sequence[int]) -> Sequence[Traffic]:
        return [Traffic(end, end - start, 0) for end in ends]


class Scene:
    """One partition, in which each call of `work` finds work of every kind for a role."""

    def __init__(self, cluster: Cluster, settings: KafkaSettings, folder: Path) -> None:
        self.settings = settings
        secure = cluster.settings(security_protocol="SASL_SSL")
        (folder / "password").write_text(PASSWORDS[WORKER])
        (folder / "password").chmod(0o600)
        file = folder / "quota-stream.yaml"
        file.write_text(
            CONFIG.format(
                servers=secure.servers, prefix=settings.topic_prefix, application=settings.application,
                authority=secure.ssl_ca_file, user=WORKER, folder=folder,
            )
        )  # fmt: skip
        config: Config = load(file)
        assert config.web is not None
        web = config.web.model_copy(update={"listen": Address("127.0.0.1", 0)})
        self.config = config.model_copy(update={"web": web})
        self._told = folder / "told"
        self._services = 0

    @asynccontextmanager
    async def log(self) -> AsyncIterator[KafkaLog]:
        """As somebody who may do everything."""
        log = await KafkaLog.open(self.settings)
        try:
            yield log
        finally:
            await log.close()

    async def work(self, role: Worker) -> None:
        """Let the worker do all that the role does; returns when that is done, raises what it raises."""
        self._services += 1
        service = f"vm1/{self._services}"
        async with asyncio.timeout(DEADLINE_S), self.log() as log:
            if role == "notifier":
                await self.tell(log, service)
                return
            if role == "serve":
                await log.append(DELTAS, 0, due(service))
                await self.track(log)
                await log.append(DELTAS, 0, [wire.encode_delta(service, T0 + 60_000, T0 + 120_000, 1, 0)])
                await self.show(service)
                return
            if role == "tracker":
                await log.append(DELTAS, 0, [Message(None, b"spoiled"), *due(service)])
                await bootstrap.run(self.config, roles=["tracker"], drained=True)
                return
            platform = BusyPlatform(SystemClock())
            platform.limits[service] = ORIGINAL
            if role == "enforcer":
                await log.append(DELTAS, 0, due(service))
                await self.track(log)
                await self.serve(role, platform, lambda: _is(bool(platform.posts)))
                return
            async with bootstrap.own_log(self.config, SystemClock()) as own:  # which it does once a day
                await own.append(STATE, 0, bootstrap.comparison_records((), [service]))
            (_, before) = await log.bounds(DELTAS, 0)

            async def registered() -> bool:
                return (await log.bounds(DELTAS, 0))[1] > before

            await self.serve(role, platform, registered)

    async def tell(self, log: KafkaLog, service: str) -> None:
        """What is decided once the worker's notifier has begun is told."""

        async def begun() -> bool:
            return KEY in await log.snapshot(STATE, 0)

        async def told() -> bool:
            return self._told.exists() and f'"subject":"{service}"' in self._told.read_text()

        async with self.parts() as parts, notifying(parts, None):
            await until(begun, DEADLINE_S)
            decision = Decision(service, 7, 1, T0, "pin", ORIGINAL, 1, Position(1), 0)
            await log.append(CHANGES, 0, [wire.encode_outcome(decision)])
            await until(told, DEADLINE_S)

    async def show(self, service: str) -> None:
        """The worker's pages, and what operators do there; `service` has traffic that is not counted yet."""
        assert self.config.web is not None
        token = TokensFile(self.config.web.tokens_file).create(f"anna{self._services}", "operate", T0)
        headers = {"Authorization": f"Bearer {token}"}
        async with self.parts() as parts, shown(parts, beside=False) as web:
            assert web is not None
            await web.replica.caught_up()
            assert web.replica.freshness().behind_ms > 0
            async with httpx.AsyncClient(base_url=f"{web.url}/api/v1", headers=headers) as anna:
                for path, body in (
                    ("adjustments", {"kind": "reset", "service": service}),
                    ("platforms/vm1/allow", {}),
                    (f"forget/{service}", {}),
                ):
                    answer = await anna.post(path, json=body, params={"wait_s": 0})
                    if answer.status_code != 202:
                        assert answer.status_code == 503, "nothing is wrong with the request"
                        raise Misconfigured(answer.json()["detail"])

    @asynccontextmanager
    async def parts(self, **more: Any) -> AsyncIterator[bootstrap.Parts]:
        """A process of the worker."""
        clock = SystemClock()
        async with bootstrap.own_log(self.config, clock) as log:
            yield bootstrap.Parts(config=self.config, log=log, clock=clock, metrics=Metrics(clock), **more)

    async def track(self, log: KafkaLog) -> None:
        """Decide on what is in the log, as somebody who may."""
        metrics = Metrics(SystemClock())
        await bootstrap.drain(
            bootstrap.Parts(config=self.config, log=log, clock=SystemClock(), metrics=metrics), ["tracker"]
        )

    async def serve(self, role: Role, platform: MemoryPlatform, done: Callable[[], Awaitable[bool]]) -> None:
        """As the worker, until it is done."""
        stop = asyncio.Event()
        async with self.parts(platforms={"vm1": platform}) as parts:
            serving = asyncio.create_task(bootstrap.work_together(parts, stop, [role]))
            waiting = asyncio.create_task(until(done, DEADLINE_S))
            try:
                await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.set()
                waiting.cancel()
                await serving


async def _is(value: bool) -> bool:
    return value


def due(service: str) -> list[Message]:
    """A registration, and traffic that is over the quota."""
    return [
        wire.encode_registration(service, ["hour"], source="vm1", at=T0),
        wire.encode_delta(service, T0, T0 + 60_000, 2000, 0),
    ]


@pytest.fixture
async def scene(cluster: Cluster, settings: KafkaSettings, tmp_path: Path) -> Scene:
    """New topics, with the plans in force."""
    scene = Scene(cluster, settings, tmp_path)
    await create(replace(settings, partitions=1))
    async with scene.log() as log:
        await plans.apply(log, scene.config.plans)
    return scene


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["tracker", "collector", "enforcer", "notifier", "serve"])
async def test_each_right_is_needed(scene: Scene, cluster: Cluster, role: Worker) -> None:
    """With all of them it works; without one the error names the resource and what may not be done with it."""
    rights = rights_of(role, scene.settings)
    await grant(cluster, *rights)
    await scene.work(role)
    for right in rights:
        await take_back(cluster, right)
        if not implied(right, rights):
            with pytest.raises(Misconfigured) as caught:
                await scene.work(role)
            assert f"the ACL {right.operation} on {right.kind} {right.name}" in str(caught.value)
        await grant(cluster, right)


def implied(right: Right, rights: Sequence[Right]) -> bool:
    """Who may read or write may describe."""
    others = {other.operation for other in rights if other.name == right.name}
    return right.operation == "Describe" and bool(others & {"Read", "Write"})


async def test_a_process_says_what_is_missing(scene: Scene, cluster: Cluster) -> None:
    """It ends with 2 and one line; the password is in none."""
    await grant(cluster, *(one for one in rights_of("tracker", scene.settings) if one.kind != "group"))
    said = await called(scene.config.file.parent, "track", "--drain", status=2)
    group = scene.settings.group("tracker")
    assert re.fullmatch(
        f"kafka: not allowed to (join|stay in) the group {group}: the ACL Read on group {group} is missing; "
        "see the README's table of ACLs",
        said.splitlines()[-1],
    )
    assert PASSWORDS[WORKER] not in said


async def test_making_the_topics_is_a_right(cluster: Cluster, settings: KafkaSettings, tmp_path: Path) -> None:
    """`topics create` without Create says so, for the first topic."""
    scene = Scene(cluster, settings, tmp_path)
    names = [settings.topic(topic) for topic in TOPICS]
    await grant(cluster, *(Right("Describe", "topic", name) for name in names))
    said = await called(tmp_path, "topics", "create", status=2)
    assert f"not allowed to make the topics: the ACL Create on topic {names[0]}" in said
    rights: tuple[Operation, ...] = ("Create", "DescribeConfigs")
    await grant(cluster, *(Right(operation, "topic", name) for name in names for operation in rights))
    assert "with 1 partition and 1 replica" in await called(tmp_path, "topics", "create")
    assert "as they should be" in await called(tmp_path, "topics", "verify")
    assert scene.config.partitions == 1


ROWS: dict[Worker, str] = {
    "collector": "`collect`",
    "tracker": "`track`",
    "enforcer": "`enforce`",
    "notifier": "`run` and `serve` with `notify`",
    "serve": "`serve`",
}


@pytest.mark.parametrize("role", ROWS)
def test_the_readme_lists_them(role: Worker) -> None:
    """Its table has for each role exactly the rights with which it was seen to work."""
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    table = readme[readme.index("| who | topics: Read |") :].partition("\n\n")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {ROWS[role]} |"))
    row = row.replace("all five", " ".join(f"`{topic}`" for topic in TOPICS))
    read, written, group, ids = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[2:6])
    settings = KafkaSettings(servers="broker:9092")
    needed = [right for right in rights_of(role, settings) if right.operation in ("Read", "Write")]

    def names(operation: Operation, kind: str) -> list[str]:
        return sorted(right.name for right in needed if (right.operation, right.kind) == (operation, kind))

    assert (sorted(read), sorted(written)) == (names("Read", "topic"), names("Write", "topic"))
    assert (group, ids) == (names("Read", "group"), names("Write", "transactional id"))
