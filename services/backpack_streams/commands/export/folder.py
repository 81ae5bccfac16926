"""The folder of one topic's export: Parquet files by date and symbol, never visible half written."""

import re
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from backpack_streams.errors import BackpackStreamsError, UsageError

_MOST_OPEN_FILES = 128
_ROWS_A_GROUP = 128 * 1024
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_STAMP = "%Y%m%dT%H%M%S"
_NAME = re.compile(r"part-(\d{8}T\d{6}\.\d{3}Z)-(\d{8}T\d{6}\.\d{3}Z)-\d{5,}\.parquet\Z")

Partition = tuple[str, str | None]
"""A date such as 2026-11-22, and a symbol; None for records that belong to no market."""
Row = Mapping[str, Any]


class ExportError(BackpackStreamsError):
    """The records could not be exported."""


class Folder:
    """Takes rows by partition and writes them into hidden files; `publish` makes all of these visible at once."""

    def __init__(self, path: Path, schema: pa.Schema, range_ms: tuple[int, int], by_symbol: bool) -> None:
        """Prepare the folder. What a killed export of the same range left is removed.

        Args:
            path: the folder of the topic.
            schema: the columns of every file.
            range_ms: start (inclusive) and end (exclusive), ms since the Unix epoch; both are in the files' names.
            by_symbol: whether there is a folder for each symbol below that of the date.

        Raises:
            UsageError: it cannot be written to, or holds an export of an overlapping range.
        """
        self._path = path
        self._schema = schema
        self._by_symbol = by_symbol
        self._range = f"{_stamp(range_ms[0])}-{_stamp(range_ms[1])}"
        self._hidden = path / f".{self._range}"
        self._open: OrderedDict[Partition, pq.ParquetWriter] = OrderedDict()
        self._parts: dict[Partition, int] = {}
        self._refuse_overlap(_stamp(range_ms[0]), _stamp(range_ms[1]))
        try:
            shutil.rmtree(self._hidden, ignore_errors=True)  # left by a run that was killed
            self._hidden.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be written to: {error.strerror}; choose another --out") from error

    def write(self, partition: Partition, rows: list[Row]) -> None:
        """Write rows of a partition, in row groups of at most 131,072.

        Args:
            partition: the date and the symbol.
            rows: values by column; a column that a row lacks is null.

        Raises:
            ExportError: a value does not fit its column, or the disk is full or failing.
        """
        try:
            table = pa.Table.from_pylist(rows, self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise self._does_not_fit(rows, error) from error
        try:
            self._writer(partition).write_table(table, row_group_size=_ROWS_A_GROUP)
        except OSError as error:
            raise ExportError(f"{self._hidden} cannot be written: {error}; make room and run it again") from error

    def publish(self) -> int:
        """Make the files visible, in place of an earlier export of the same range.

        Returns:
            The number of files.

        Raises:
            ExportError: a file cannot be completed or moved. Some of the files may be visible then; another run
                replaces them.
        """
        try:
            while self._open:
                self._open.popitem()[1].close()
            earlier = {
                path for path in self._path.rglob("part-*.parquet") if path.name.startswith(f"part-{self._range}-")
            }
            earlier = {path for path in earlier if self._hidden not in path.parents}
            new = set()
            for file in sorted(self._hidden.rglob("*.parquet")):
                target = self._path / file.relative_to(self._hidden)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
                new.add(target)
            for path in earlier - new:
                path.unlink()
            shutil.rmtree(self._hidden, ignore_errors=True)
        except OSError as error:
            raise ExportError(f"{self._path} cannot be written: {error}; run it again") from error
        return len(new)

    def discard(self) -> None:
        """Remove what was written and is not visible yet."""
        while self._open:
            writer = self._open.popitem()[1]
            try:
                writer.close()
            except (OSError, pa.ArrowException):  # the file is removed in any case
                continue
        shutil.rmtree(self._hidden, ignore_errors=True)

    def _writer(self, partition: Partition) -> pq.ParquetWriter:
        writer = self._open.get(partition)
        if writer is not None:
            self._open.move_to_end(partition)
            return writer
        if len(self._open) >= _MOST_OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        number = self._parts.get(partition, 0)
        self._parts[partition] = number + 1
        path = self._hidden / self._folder_of(partition) / f"part-{self._range}-{number:05}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = self._open[partition] = pq.ParquetWriter(path, self._schema, compression="zstd")
        return writer

    def _folder_of(self, partition: Partition) -> Path:
        date, symbol = partition
        if not self._by_symbol:
            return Path(f"date={date}")
        return Path(f"date={date}") / f"symbol={quote(symbol, safe='') if symbol else _NO_VALUE}"

    def _does_not_fit(self, rows: list[Row], error: Exception) -> ExportError:
        for row in rows:
            for field in self._schema:
                try:
                    pa.array([row.get(field.name)], field.type)
                except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as reason:
                    place = f"{row['kafka_partition']}/{row['kafka_offset']}"
                    return ExportError(
                        f"record {place}: {field.name} {str(row.get(field.name))[:60]} does not fit {field.type} ({reason}); "
                        "nothing was exported"
                    )
        return ExportError(f"the records do not fit their columns ({error}); nothing was exported")

    def _refuse_overlap(self, start: str, end: str) -> None:
        for other_start, other_end in set(self._ranges()):
            if (other_start, other_end) != (start, end) and other_start < end and start < other_end:
                raise UsageError(
                    f"{self._path} holds an export from {other_start} to {other_end}, which overlaps this range: records would "
                    "be there twice. Take that very range to replace it, or another --out"
                )

    def _ranges(self) -> Iterator[tuple[str, str]]:
        for path in self._path.rglob("part-*.parquet"):
            found = _NAME.fullmatch(path.name)
            if found and not any(parent.name.startswith(".") for parent in path.relative_to(self._path).parents):
                yield found[1], found[2]


def date_of(timestamp_ms: int) -> str:
    """Return the day in UTC, such as 2026-11-22.

    Args:
        timestamp_ms: ms since the Unix epoch.
    """
    return f"{datetime.fromtimestamp(timestamp_ms // 1000, UTC):%Y-%m-%d}"


def _stamp(timestamp_ms: int) -> str:
    moment = datetime.fromtimestamp(timestamp_ms // 1000, UTC)
    return f"{moment:{_STAMP}}.{timestamp_ms % 1000:03d}Z"
