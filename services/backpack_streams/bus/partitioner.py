"""Which partition a key goes to: murmur2, as Java's clients do, so that every client in any language agrees."""

from aiokafka.partitioner import murmur2

__all__ = ["partition_of"]


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of `key` among `partitions`, as Java's `BuiltInPartitioner.partitionForKey` computes it."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
