"""Where a service's records go."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(service: str, partitions: int) -> int:
    """The partition of a service, as Java's default partitioner and librdkafka's `murmur2_random` choose it by key."""
    return (int(murmur2(service.encode())) & 0x7FFFFFFF) % partitions
