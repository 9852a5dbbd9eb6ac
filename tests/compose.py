"""compose/ as the tests read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "compose"
CONFIGURATION = COMPOSE / "quota-stream.yaml"
OURS = "quota-stream:local"
SECRETS = "/run/secrets/"
VARIABLE = re.compile(r"\$\{\w+:-(\d+)\}")


def file() -> dict[str, Any]:
    """compose.yaml, with each variable at its default."""
    found = yaml.safe_load(VARIABLE.sub(r"\1", (COMPOSE / "compose.yaml").read_text()))
    assert isinstance(found, dict)
    return found


SERVICES: Mapping[str, dict[str, Any]] = file()["services"]
OUR_SERVICES = [name for name, service in SERVICES.items() if service["image"] == OURS]
ROLES = {"collector": "collect", "tracker": "track", "enforcer": "enforce", "serve": "serve"}
ONCE = ("topics", "plans")
