"""Logs put back after each test."""

from tests.cli.conftest import logs_put_back

__all__ = ["logs_put_back"]
