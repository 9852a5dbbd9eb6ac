"""The log on Kafka: the contract of every log, on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stream.adapters.kafka.settings import KafkaSettings
from tests.adapters.contract import LogContract
from tests.kafka.world import KafkaWorld, worlds


class TestKafkaLog(LogContract):
    """The contract, over two logs on the same topics."""

    @pytest.fixture
    async def world(self, settings: KafkaSettings) -> AsyncIterator[KafkaWorld]:
        """New topics."""
        async with worlds(settings) as world:
            yield world
