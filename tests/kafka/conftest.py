"""One broker for all tests of a process; each test has names of its own on it, so that nothing needs cleaning."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from stream.adapters.kafka.settings import KafkaSettings
from tests.kafka.cluster import Cluster

_numbers = count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node, shared: a test that kills or stops nodes has a cluster of its own."""
    cluster = Cluster(tmp_path_factory.mktemp("kafka"))
    try:
        asyncio.run(cluster.start())
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def prefix() -> str:
    """Begins the names that the test uses on the shared cluster."""
    return f"test{next(_numbers)}."


@pytest.fixture
def settings(cluster: Cluster, prefix: str) -> KafkaSettings:
    """Topics, groups and transactional ids of this test alone."""
    return cluster.settings(topic_prefix=prefix, application=f"{prefix}quota-stream")
