"""The password that the configuration of all these tests names."""

from __future__ import annotations

import pytest

from tests.survey.rig import PASSWORD


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM1_PASSWORD", PASSWORD)
