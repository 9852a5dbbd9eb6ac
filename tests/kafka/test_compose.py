"""Everything that compose.yaml starts, run by hand as it is written there: a broker of its environment, then ours."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.compose import COMPOSE, CONFIGURATION, ONCE, OURS, ROLES, SERVICES
from tests.kafka.cluster import JAVA, free_ports, until
from tests.kafka.fetch import JARS
from tests.processes.running import Running, called, running

DEADLINE_S = 120.0
"""For all of it to be at work: as long as a patient person would wait."""


class Place(NamedTuple):
    """A folder and ports, in place of containers and their network."""

    folder: Path
    broker: int
    controller: int
    simulator: int
    web: int

    def here(self, text: str, metrics: int = 0) -> str:
        """A word of ours, with this machine's addresses and paths for those of the containers."""
        for theirs, mine in (
            ("0.0.0.0", "127.0.0.1"),
            ("broker:9092", f"127.0.0.1:{self.broker}"),
            ("simulator:8080", f"127.0.0.1:{self.simulator}"),
            (":9092", f":{self.broker}"),
            (":9093", f":{self.controller}"),
            (":8080", f":{self.simulator}"),
            (":8480", f":{self.web}"),
            ("', 8080", f"', {self.simulator}"),
            (":9464", f":{metrics}"),
            ("/run/secrets/simulator_password", str(COMPOSE / "simulator.password")),
            ("/var/lib", str(self.folder)),
        ):
            text = text.replace(theirs, mine)
        return text


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, *free_ports(4))


@asynccontextmanager
async def broker(place: Place) -> AsyncIterator[None]:
    """What the image does: a program of Kafka's turns the environment into a server.properties and formats the disk."""
    folders = [place.folder / name for name in ("default", "mounted", "final")]
    for folder in folders:
        folder.mkdir()
    environ = {name: place.here(str(value)) for name, value in SERVICES["broker"]["environment"].items()}
    java = (*JAVA, "-cp", f"{JARS}/*")
    words = [word for pair in zip(("-D", "-M", "-F"), map(str, folders), strict=True) for word in pair]
    with (place.folder / "broker.log").open("ab") as log:
        setup = await asyncio.create_subprocess_exec(
            *java, "kafka.docker.KafkaDockerWrapper", "setup", *words, env=os.environ | environ, stdout=log, stderr=log
        )
        assert await setup.wait() == 0, (place.folder / "broker.log").read_text()
        node = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", *java, "kafka.Kafka", f"{folders[2]}/server.properties",
            stdin=DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await until(partial(_answers, place, java))
        yield
    finally:
        node.kill()
        await node.wait()


class Container(NamedTuple):
    name: str
    process: Running
    metrics: int

    async def is_healthy(self, place: Place) -> bool:
        """What the check of its service says."""
        _, program, *words = (place.here(word, self.metrics) for word in SERVICES[self.name]["healthcheck"]["test"])
        assert program == "python"
        check = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=DEVNULL)
        return await check.wait() == 0

    async def samples(self) -> dict[str, float]:
        """By name, summed over labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.metrics}/metrics")).text
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] += sample.value  # type: ignore[assignment]
        return dict(found)


async def _answers(place: Place, java: tuple[str, ...]) -> bool:
    """What the check of the broker's service says, without the script that calls its program."""
    _, script, *words = (place.here(word) for word in SERVICES["broker"]["healthcheck"]["test"])
    assert script.endswith("/kafka-broker-api-versions.sh")
    program = "org.apache.kafka.tools.BrokerApiVersionsCommand"
    check = await asyncio.create_subprocess_exec(*java, program, *words, stdout=DEVNULL, stderr=DEVNULL)
    return await check.wait() == 0


@asynccontextmanager
async def containers(place: Place) -> AsyncIterator[list[Container]]:
    """All of ours that last, in the order of the file, as many of each as it says."""
    async with AsyncExitStack() as stack:
        started = []
        for name, service in SERVICES.items():
            if service["image"] != OURS or name in ONCE:
                continue
            for number in range(service.get("deploy", {}).get("replicas", 1)):
                (metrics,) = free_ports(1)
                folder = configured(place, f"{name}-{number}", metrics)
                words = [place.here(word, metrics) for word in service["command"]]
                process = await stack.enter_async_context(running(folder, *words))
                started.append(Container(name, process, metrics))
        yield started


def configured(place: Place, name: str, metrics: int) -> Path:
    """A folder with the configuration in it, as a container has it."""
    folder = place.folder / name
    folder.mkdir()
    (place.folder / "quota-stream").mkdir(exist_ok=True)
    (folder / "quota-stream.yaml").write_text(place.here(CONFIGURATION.read_text(), metrics))
    return folder


async def total(started: list[Container], role: str) -> Counter[str]:
    """The samples of all of a role."""
    found: Counter[str] = Counter()
    for container in started:
        if container.name == role:
            found.update(await container.samples())
    return found


async def shown(place: Place, token: str) -> int:
    """How many services the API shows."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.web}", headers=headers) as client:
        return int((await client.get("/api/v1/services")).json()["total"])


@pytest.mark.timeout(300)
async def test_all_of_it_works_together(place: Place) -> None:
    """Topics and plans twice, as with each `up`; then every role works, is healthy, slows somebody, and ends well."""
    async with broker(place):
        folder = configured(place, "once", 1)
        for name in (*ONCE, *ONCE):
            await called(folder, *SERVICES[name]["command"])
        async with containers(place) as started:
            assert Counter(container.name for container in started) == {
                "collector": 2, "tracker": 3, "enforcer": 2, "serve": 1, "simulator": 1,
            }  # fmt: skip
            for container in started:
                await until(partial(container.is_healthy, place))
            token = (await called(place.folder / "serve-0", "token", "create", "anna", "--role", "operate")).strip()

            async def works() -> bool:
                counts = {role: await total(started, role) for role in ROLES}
                return (
                    counts["collector"]["quota_stream_collector_deltas_total"] > 0
                    and counts["tracker"]["quota_stream_decisions_total"] > 40
                    and counts["tracker"]["quota_stream_checkpoint_duration_seconds_count"] > 0
                    and counts["enforcer"]["quota_stream_enforcement_latency_seconds_count"] > 0
                    and await shown(place, token) == 40
                )

            await until(works, DEADLINE_S)
            *roles, simulator = started  # who needs another is stopped before it
            statuses = await asyncio.gather(*(container.process.stop() for container in roles))
            assert {*statuses, await simulator.process.stop()} == {0}
