"""`backpack-streams tail`: prints decoded records of a topic as they arrive."""

import json
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import plain
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import PATIENCE_SECONDS, EndWatch
from backpack_streams.bus.topics import topic_of_full_name
from backpack_streams.commands.tail.settings import TailSettings
from backpack_streams.errors import CodecError
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

_POLL_MILLIS = 500


async def run(settings: TailSettings, topic: str) -> int:
    """Print records until `count` of them are printed, the end is reached, or the command is interrupted.

    Records of one partition are in its order; a record that cannot be decoded is printed in hexadecimal, with the
    reason.

    Args:
        settings: Kafka, where to start and end, and the output.
        topic: name of a topic, with or without the prefix.

    Raises:
        UsageError: there is no such topic.
        BusError: Kafka cannot be reached, or the end could not be reached.
    """
    name = topic_of_full_name(topic, settings.topic_prefix).full_name(settings.topic_prefix)
    codec = kafka_codec(settings)
    printed = 0
    async with Reader(kafka_connection(settings), codec) as reader:
        topic_partitions = await reader.topic_partitions(name)
        ends = await reader.ends(topic_partitions)
        starts = await reader.beginnings(topic_partitions) if settings.from_beginning else ends
        if settings.exit_at_end:
            reader.assign(starts)
        else:
            reader.follow(starts)
        watch = EndWatch(starts, ends, PATIENCE_SECONDS, time.monotonic()) if settings.exit_at_end else None
        while watch is None or watch.reached:
            for records in await _poll(reader, watch):
                for record in records:
                    if settings.count is not None and printed >= settings.count:
                        return 0
                    print(_line(codec, record, settings.json_output))
                    printed += 1
            sys.stdout.flush()
            if settings.count is not None and printed >= settings.count:
                return 0
    return 0


async def _poll(reader: Reader, watch: EndWatch | None) -> list[Sequence[ConsumerRecord]]:
    """Return the next records. With `watch`, leave out those past the end, and update it."""
    if watch is None:
        return list((await reader.poll(_POLL_MILLIS)).values())
    batches = await reader.poll(_POLL_MILLIS, only=list(watch.reached))
    wanted = [watch.wanted((each.topic, each.partition), batch) for each, batch in batches.items()]
    for topic_partition in list(watch.reached):
        offset = reader.reached(topic_partition)
        if offset is not None:
            watch.stands_at(topic_partition, offset)
    watch.look(time.monotonic())
    return wanted


def _line(codec: Codec, record: ConsumerRecord, as_json: bool) -> str:
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    value = _value(codec, record.value)
    if as_json:
        line = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": key,
            "value": value,
        }
        return json.dumps(line, ensure_ascii=False)
    return f"{record.partition}/{record.offset} {key}: {json.dumps(value, ensure_ascii=False)}"


def _value(codec: Codec, value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return _plain(codec.read(value)[1])
    except CodecError as error:
        return {"undecodable": value.hex(), "reason": str(error)}


def _plain(value: Any) -> Any:
    """Return decimals as plain strings, bytes as text, other values unchanged."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
