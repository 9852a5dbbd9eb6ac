"""The API does what its description says, also when it is asked for nonsense."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from tests.web.installation import DEADLINE_S, Installation, installation

EXAMPLES = 12
"""Requests to each operation."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that lives in a thread of its own."""
    made: list[Installation] = []
    is_ready, over = threading.Event(), threading.Event()

    async def live() -> None:
        async with installation(tmp_path_factory.mktemp("served"), ["vm1/101", "vm1/102"]) as one:
            made.append(one)
            is_ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert is_ready.wait(DEADLINE_S)
    yield made[0]
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def document(served: Installation) -> Any:
    return httpx.get(f"{served.url}/api/v1/openapi.json").json()


@pytest.fixture(scope="module")
def described(served: Installation, document: Any) -> Any:
    """All of it but the events, which never end."""
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=served.url, headers={"Authorization": f"Bearer {served.anna}"})
    return loaded.exclude(path="/api/v1/events")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_it_does_what_it_says(described: Any, mode: GenerationMode) -> None:
    """Every answer has a status, a type and a body as described; what is nonsense is refused, what is sense is not."""
    failures = []
    for operation in [found.ok() for found in described.get_all_operations()]:

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_it(case: Any) -> None:
            case.call_and_validate(excluded_checks=[ignored_auth])  # too many wrong tokens are another refusal

        try:
            try_it()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "what takes nothing can be asked for no nonsense"
        except (Exception, BaseExceptionGroup) as error:
            failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures)
