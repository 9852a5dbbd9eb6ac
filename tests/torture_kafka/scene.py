"""What is tortured: three brokers, and the processes that an operator would start."""

from __future__ import annotations

from stream.ports import Role

BROKERS = (1, 2, 3)
TRACKERS = ("tracker-1", "tracker-2", "tracker-3")
ENFORCERS = ("enforcer-1", "enforcer-2")
COLLECTORS = ("collector-1", "collector-2")
ROLES: dict[Role, tuple[str, ...]] = {"tracker": TRACKERS, "enforcer": ENFORCERS, "collector": COLLECTORS}
COMMANDS: dict[Role, str] = {"tracker": "track", "enforcer": "enforce", "collector": "collect"}
PARTITIONS = 4
"""Each has a meter and a VM at least."""
ROUND_S = 0.2
"""So often the publisher publishes a minute of every meter."""


def log_lines(servers: str) -> str:
    """The configuration's lines about the log: what is not written is as an operator has it by default."""
    return f"log: kafka://{servers}\npartitions: {PARTITIONS}\nkafka: {{replication: 3, min_insync_replicas: 2}}"
