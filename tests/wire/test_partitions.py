"""Everybody sends a service's records to the same partition."""

from __future__ import annotations

import pytest

from stream.wire import partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
@pytest.mark.parametrize("partitions", [1, 12, 100])
def test_the_partition_is_that_of_the_java_client(key: str, hashed: int, partitions: int) -> None:
    """These hashes are those that Kafka's own tests expect."""
    assert partition_of(key, partitions) == (hashed & 0x7FFFFFFF) % partitions
