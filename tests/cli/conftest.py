"""A folder to work in, and logs put back after each test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_put_back() -> Iterator[None]:
    """Commands configure the process; tests share one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; no configuration in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUOTA_STREAM_CONFIG", raising=False)
    assert os.listdir() == []
    return tmp_path
