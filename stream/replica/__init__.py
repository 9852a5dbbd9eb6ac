"""A read model of one installation: what trackers, enforcers and collectors made durable, to be looked at."""

from stream.replica.replica import Replica
from stream.replica.settings import PlatformSettings, ReplicaSettings

__all__ = ["PlatformSettings", "Replica", "ReplicaSettings"]
