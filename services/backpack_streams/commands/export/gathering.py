"""Gathers rows by partition on their way into a folder; the largest partition is written first when there are too many. Sans I/O."""

from collections.abc import Callable

from backpack_streams.commands.export.folder import Partition, Row

_ROWS_A_PARTITION = 128 * 1024


class Gathering:
    """Rows by partition, at most about `limit_bytes` of them, counted by their size in Kafka.

    Args:
        limit_bytes: above this size the largest partition is written.
        write: takes a partition and its rows, at most 131,072 at once.
    """

    def __init__(self, limit_bytes: int, write: Callable[[Partition, list[Row]], None]) -> None:
        self._limit_bytes = limit_bytes
        self._write = write
        self._rows: dict[Partition, list[Row]] = {}
        self._sizes: dict[Partition, int] = {}
        self._size = 0

    def add(self, partition: Partition, row: Row, size: int) -> None:
        """Take a row; write a partition that has enough rows, and the largest ones while all together are too large.

        Args:
            partition: the date and the symbol.
            row: values by column.
            size: its size in Kafka, in bytes.
        """
        rows = self._rows.setdefault(partition, [])
        rows.append(row)
        self._sizes[partition] = self._sizes.get(partition, 0) + size
        self._size += size
        if len(rows) >= _ROWS_A_PARTITION:
            self._let_go(partition)
        while self._size > self._limit_bytes:
            self._let_go(max(self._sizes, key=self._sizes.__getitem__))

    def finish(self) -> None:
        """Write what is left, partition by partition in the order of dates and symbols. Call it once, after the last row."""
        for partition in sorted(self._rows, key=str):
            self._let_go(partition)

    def _let_go(self, partition: Partition) -> None:
        self._size -= self._sizes.pop(partition)
        self._write(partition, self._rows.pop(partition))
