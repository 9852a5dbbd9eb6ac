"""The roles as processes on a real broker: shared out, stopped, watched, and stopped by what cannot go on."""

from __future__ import annotations

import re
import signal
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from aiokafka.admin import NewPartitions

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import create
from stream.ports import DELTAS, STATE, TOPICS, Message
from stream.runtime.checkpoint import META
from tests.cli.calling import CONFIG, delta, registration
from tests.kafka.cluster import Cluster
from tests.processes.running import Running, called, objects, running

SERVICES = [f"vm1/{number}" for number in range(1, 9)]


@pytest.fixture
async def folder(settings: KafkaSettings, tmp_path: Path) -> Path:
    """With a configuration for topics of its own, which are there."""
    section = f"kafka: {{topic_prefix: {settings.topic_prefix}, application: {settings.application}}}\n"
    log = f"log: kafka://{settings.servers}\nlisten: off\n{section}"
    (tmp_path / "quota-stream.yaml").write_text(CONFIG.replace("log: sqlite:q.db\n", log))
    return tmp_path


async def assigned(process: Running, partitions: str) -> None:
    await process.line(f'event=partitions.assigned role=tracker partitions="{partitions}"')


async def test_from_an_empty_cluster(folder: Path) -> None:
    """As the README says: topics, plans, trackers; a second one shares the work, and leaves it when it is stopped."""
    assert "there is no such topic; `quota-stream topics create` makes it" in await called(folder, "track", status=2)
    await called(folder, "topics", "create")
    assert await called(folder, "plans", "apply") == "version 1 is in force\n"
    async with running(folder, "track") as first:
        await assigned(first, "[0, 1, 2, 3]")
        async with running(folder, "track") as second:
            await second.line("event=started")
            await first.line("event=partitions.assigned")
            deltas = "".join(registration(one) + delta(one, 0, 900) for one in SERVICES)
            await called(folder, "publish", stdin=deltas)
            assert await second.stop() == 0
        await assigned(first, "[0, 1, 2, 3]")
        await called(folder, "publish", stdin="".join(delta(one, 1, 200) for one in SERVICES))
        assert await first.stop() == 0
    await called(folder, "track", "--drain")
    told = await objects(folder, "tail", "quota.profile-changes")
    assert sorted(one["service"] for one in told if one.get("reason") == "exceeded") == SERVICES
    for one in SERVICES:
        (shown,) = await objects(folder, "service", "show", one, "--json")
        assert shown["accepted_in"] == 1100


async def test_run_is_all_roles(folder: Path, settings: KafkaSettings) -> None:
    """It brings the plans; a tracker with others in its file says so, and goes by the log."""
    await create(settings)
    async with running(folder, "run") as run:
        await run.line("event=plans.in_force version=1")
        await run.line("event=started")
        assert await run.stop() == 0
    file = folder / "quota-stream.yaml"
    file.write_text(file.read_text().replace("warn: 80%", "warn: 90%"))
    async with running(folder, "track") as track:
        await track.line("event=plans.differ version=1")
        assert await track.stop() == 0
        assert sum("plans.differ" in line for line in track.said) == 1
    assert (await objects(folder, "plans", "show", "--json"))[0]["plans"]["vpn"]["warn"] == 80


async def test_trackers_of_different_configurations_decide_alike(folder: Path, settings: KafkaSettings) -> None:
    """Plans come from the log: whoever serves a partition, the decisions in it are those of the plans in force."""
    await create(settings)
    await called(folder, "plans", "apply")
    file, other = folder / "quota-stream.yaml", folder / "other.yaml"
    other.write_text(file.read_text().replace("quota: 1000", "quota: 1 TiB"))
    async with running(folder, "track") as first, running(folder, "--config", "other.yaml", "track") as second:
        for process in (first, second):
            await process.line("event=partitions.assigned role=tracker")
        deltas = "".join(registration(one) + delta(one, 0, 900) + delta(one, 1, 200) for one in SERVICES)
        await called(folder, "publish", stdin=deltas)
        await called(folder, "track", "--drain")
        assert [await process.stop() for process in (first, second)] == [0, 0]
    told = await objects(folder, "tail", "quota.profile-changes")
    assert sorted(one["service"] for one in told if one.get("reason") == "exceeded") == SERVICES


async def test_drain_beside_another(folder: Path, settings: KafkaSettings) -> None:
    """It ends when all is counted, although it has no partition of its own; it takes over from whoever stands still."""
    await create(replace(settings, partitions=1))
    await called(folder, "plans", "apply")
    async with running(folder, "track") as other:
        await other.line("event=partitions.assigned role=tracker partitions=[0]")
        for number in range(2):
            await called(folder, "publish", stdin=registration("vm1/1") + delta("vm1/1", number, 100))
            await called(folder, "track", "--drain")
            (shown,) = await objects(folder, "service", "show", "vm1/1", "--json")
            assert shown["accepted_in"] == 100 * (1 + number)
            other.process.send_signal(signal.SIGSTOP)


async def test_two_on_one_machine(folder: Path, settings: KafkaSettings) -> None:
    """Each serves its health and metrics where `--listen` says."""
    await create(settings)
    await called(folder, "plans", "apply")
    places = [f"127.0.0.1:{port}" for port in _free_ports()]
    async with running(folder, "track", "--listen", places[0]) as first:
        async with running(folder, "track", "--listen", places[1]) as second, httpx.AsyncClient() as client:
            for process in (first, second):
                await process.line("event=started")
            for place in places:
                assert (await client.get(f"http://{place}/health/ready")).status_code == 200
                assert "quota_stream_build_info" in (await client.get(f"http://{place}/metrics")).text
            assert await second.stop() == 0
        assert await first.stop() == 0


@pytest.mark.parametrize("role", ["collect", "enforce"])
async def test_roles_at_a_platform(folder: Path, settings: KafkaSettings, role: str) -> None:
    """They start although the platform does not answer, and end when they are asked to."""
    await create(settings)
    platform = 'platforms: {vm1: {type: vmmanager, url: "http://127.0.0.1:1", token_env: TOKEN, timezone: UTC}}\n'
    file = folder / "quota-stream.yaml"
    file.write_text(file.read_text() + platform)
    async with running(folder, role, environ={"TOKEN": "secret"}) as process:
        await process.line("event=started")
        await process.line("event=partitions.assigned")
        assert await process.stop() == 0
        assert not any("Traceback" in line for line in process.said)


async def test_a_partition_that_is_damaged(folder: Path, settings: KafkaSettings) -> None:
    """Its tracker ends with 1 and says which: it is not passed over in silence."""
    await create(settings)
    await called(folder, "plans", "apply")
    log = await KafkaLog.open(settings)
    await log.append(STATE, 2, [Message(META, b"{}")])
    await log.close()
    assert "error: quota.state/2: the meta record is damaged" in await called(folder, "track", status=1)


@pytest.mark.parametrize("role", ["run", "track"])
async def test_partitions_that_differ(folder: Path, settings: KafkaSettings, cluster: Cluster, role: str) -> None:
    """Nothing is counted, and each topic that differs is named."""
    await create(settings)
    async with cluster.admin() as admin:
        await admin.create_partitions({settings.topic(DELTAS): NewPartitions(5)})
    said = await called(folder, role, status=2)
    assert len(re.findall("the number of partitions is 4, and should be 5, as another topic has it", said)) == 4


async def test_a_number_that_changes(folder: Path, settings: KafkaSettings, cluster: Cluster) -> None:
    """A running process stops with 2, and says what has changed."""
    await create(replace(settings, partitions=2))
    async with running(folder, "track") as track:
        await track.line("event=started")
        async with cluster.admin() as admin:
            await admin.create_partitions({settings.topic(topic): NewPartitions(3) for topic in TOPICS})
        assert await track.ended() == 2
    assert "the topics had 2 partitions and have 3 now" in track.said[-1]


def _free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]
