"""A read model of one installation, filled from the log: what is shown to people, and judged."""

from stream.replica.replica import Replica
from stream.replica.settings import PlatformSettings, ReplicaSettings

__all__ = ["PlatformSettings", "Replica", "ReplicaSettings"]
