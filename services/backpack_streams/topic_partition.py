"""How all packages write the address of a partition."""

TopicPartition = tuple[str, int]
"""Full topic name and partition number. aiokafka's named tuple of this name is equal to it and has the same hash."""
