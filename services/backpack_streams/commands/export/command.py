"""The `export` command: reads a range of a topic once and writes it to Parquet."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.distinct import Distinct
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.bus.topics import Topic, topic_of_full_name
from backpack_streams.commands.export.arrow_types import SYMBOL, arrow_schema, has_symbol
from backpack_streams.commands.export.folder import ExportError, Folder, Partition, Row, date_of
from backpack_streams.commands.export.gathering import Gathering
from backpack_streams.commands.export.settings import ExportSettings
from backpack_streams.errors import CodecError
from backpack_streams.expanded_path import expanded
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection
from backpack_streams.topic_partition import TopicPartition

_MIB = 1024 * 1024

Advance = Callable[[int], None]
"""Takes the number of offsets passed since the last call."""


async def run(settings: ExportSettings, topic: str) -> int:
    """Export the range and print what was written. Files become visible only once all of them are complete.

    Args:
        settings: Kafka, the range by Kafka's timestamp, and the folder.
        topic: name of a topic, with or without the prefix.

    Raises:
        UsageError: there is no such topic, or the folder cannot be written to or holds an overlapping range.
        ExportError: there is no record in the range, a record does not fit, or the disk is full or failing.
        BusError: Kafka cannot be reached, or the range could not be read to its end.
        CodecError: a record cannot be read.
    """
    described = topic_of_full_name(topic, settings.topic_prefix)
    name = described.full_name(settings.topic_prefix)
    codec = kafka_codec(settings)
    document = codec.schema(described.record).document
    path = expanded(settings.out) / name
    folder = Folder(path, arrow_schema(document), (settings.from_ms, settings.to_ms), has_symbol(document))
    try:
        rows = _Rows(codec, described, has_symbol(document), Distinct() if settings.distinct else None)
        gathering = Gathering(settings.buffer_mib * _MIB, folder.write)
        async with Reader(kafka_connection(settings), codec) as reader:
            count = await _read(reader, name, settings, rows, gathering)
        gathering.finish()
        if not count:
            raise ExportError(
                f"{name} holds no record from {settings.from_time.isoformat()} to {settings.to_time.isoformat()}; "
                "nothing was exported"
            )
        files = folder.publish()
    finally:
        folder.discard()
    copies = f", {rows.duplicates} copies left out" if settings.distinct else ""
    print(f"{count} records of {name} in {files} files in {path}{copies}")  # what the command says to its user
    return 0


async def _read(reader: Reader, name: str, settings: ExportSettings, rows: "_Rows", gathering: Gathering) -> int:
    """Read every record of the range into `gathering`. Return their number."""
    spans = await _spans(reader, name, settings)
    if not spans:
        return 0
    at = {each: start for each, (start, _) in spans.items()}
    ends = {each: end for each, (_, end) in spans.items()}
    count = 0
    with _progress(name, sum(end - start for start, end in spans.values())) as advance:

        def take(topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
            nonlocal count
            for record in records:
                if settings.from_ms <= record.timestamp < settings.to_ms and (made := rows.row(record)) is not None:
                    gathering.add(*made, len(record.value or b"") + len(record.key or b""))
                    count += 1
            advance(records[-1].offset + 1 - at[topic_partition])
            at[topic_partition] = records[-1].offset + 1

        await read_to_end(reader, dict(at), ends, take)
    return count


async def _spans(reader: Reader, name: str, settings: ExportSettings) -> dict[TopicPartition, tuple[int, int]]:
    """Return the offsets to read (start, exclusive end) of each partition that may hold records in the range."""
    topic_partitions = await reader.topic_partitions(name)
    ends = await reader.ends(topic_partitions)
    if settings.late_seconds is not None:
        late_ms = settings.to_ms + int(settings.late_seconds * 1000)
        ends = await offsets_at(reader, dict.fromkeys(topic_partitions, late_ms), ends)
    spans = {}
    for topic_partition in topic_partitions:
        start = await reader.offset_at(topic_partition, settings.from_ms)
        if start is not None and start < ends[topic_partition]:
            spans[topic_partition] = start, ends[topic_partition]
    return spans


class _Rows:
    """Converts records to rows."""

    def __init__(self, codec: Codec, topic: Topic, by_symbol: bool, distinct: Distinct | None) -> None:
        self._codec = codec
        self._topic = topic
        self._by_symbol = by_symbol
        self._distinct = distinct
        self.duplicates = 0

    def row(self, record: ConsumerRecord) -> tuple[Partition, Row] | None:
        """Return a record's partition and columns; None for an unwanted copy. A record without a value has only Kafka's own columns."""
        key = None if record.key is None else record.key.decode("utf-8", "replace")
        values = None if record.value is None else self._values(record)
        distinct, topic = self._distinct, self._topic
        if distinct is not None and distinct.offer(topic, record.partition, key or "", topic.record, values) is None:
            self.duplicates += 1
            return None
        row: dict[str, object] = {
            "kafka_partition": record.partition,
            "kafka_offset": record.offset,
            "kafka_timestamp": record.timestamp,
            "kafka_key": key,
        }
        symbol = key if values is None else values.pop(SYMBOL, None)
        row |= values or {}
        return (date_of(record.timestamp), symbol if self._by_symbol else None), row

    def _values(self, record: ConsumerRecord) -> dict[str, Any]:
        topic_partition = f"{record.topic} {record.partition}/{record.offset}"
        try:
            name, values = self._codec.read(record.value)
        except CodecError as error:
            raise CodecError(f"{topic_partition}: {error}; nothing was exported") from error
        if name != self._topic.record:
            raise CodecError(f"{topic_partition} is a {name}, not a {self._topic.record}; nothing was exported")
        return values


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Advance]:
    """Show a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda passed: progress.advance(task, passed)
