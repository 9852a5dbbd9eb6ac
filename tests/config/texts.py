"""Configurations for tests: a good one, and the good one with something put in."""

from __future__ import annotations

from pathlib import Path

from stream.config.load import loads
from stream.config.model import Config
from stream.core.errors import Misconfigured

FILE = Path("/etc/quota-stream/quota-stream.yaml")

PLATFORM = """\
    type: vmmanager
    url: https://vm.example.com
    token_file: vm1.token
    timezone: Europe/Berlin
"""

CREDENTIALS = PLATFORM.replace("    token_file: vm1.token\n", "")
"""Without a way to log in."""

PROFILES = """\
    profiles:
      full: {speed: original, quota: 1 GiB, down: slow}
      slow: {speed: 10 Mbit/s, stay: 1h, up: full}
"""


def platform(*lines: str, base: str = PLATFORM) -> str:
    """A configuration of one platform `vm1`; `lines` stand from line 8 on."""
    return f"log: sqlite:q.db\nplatforms:\n  vm1:\n{base}" + "".join(f"    {line}\n" for line in lines)


def plan(window: str = "{slide: 1h}", profiles: str = PROFILES) -> str:
    """A configuration of one plan `p`: its window on line 4, its profiles from line 6 on."""
    return f"log: sqlite:q.db\nplans:\n  p:\n    window: {window}\n{profiles}"


def rules(*lines: str) -> str:
    """One platform `vm1`, one plan `p`; rules from line 15 on."""
    head = f"{platform()}plans:\n  p:\n    window: {{slide: 1h}}\n{PROFILES}services:\n"
    return head + "".join(f"  - {line}\n" for line in lines)


def config(text: str | bytes, **environ: str) -> Config:
    return loads(text, FILE, environ)


def problems(text: str | bytes, **environ: str) -> list[str]:
    """What is wrong with it, without the file's name."""
    try:
        config(text, **environ)
    except Misconfigured as error:
        return [problem.removeprefix(f"{FILE}:") for problem in error.problems]
    return []
