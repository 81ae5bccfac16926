"""Assigns keys to partitions by murmur2, as Java's clients do, so that clients in every language agree."""

from aiokafka.partitioner import murmur2

__all__ = ["partition_of"]


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of `key` among `partitions`, as Java's `BuiltInPartitioner.partitionForKey`."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
