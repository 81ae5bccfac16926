"""Starts a reading of books as of a past moment: the markets of that time, their snapshots, and the watermarks."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import DEPTH_TOPIC, MARKET_TOPIC
from backpack_streams.books.listing import Listing, moment_text
from backpack_streams.books.past import PastStart, WantedKeys, look_back
from backpack_streams.books.past_books import ARRIVAL_MICROS, PastBooks
from backpack_streams.books.past_reading import PastReading
from backpack_streams.books.past_vouching import PastVouching
from backpack_streams.books.past_watermarks import PastWatermarks
from backpack_streams.books.selection import Selection
from backpack_streams.books.timeline import Pace
from backpack_streams.books.watermark_intake import WATERMARK_TOPIC, WatermarkIntake
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.reader import Reader
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PastSpan", "join_past", "wanted_keys"]

logger = logging.getLogger(__name__)

STATED_WITHIN_MILLIS: Final = 180_000
"""How far back every valid coverage statement is found: an instance states its coverage at least once a minute by its clock."""
STATED_WITHIN_RECORDS: Final = 200
"""The same in records, in case clocks are wrong."""
WATERMARKS_AT_MOST: Final = 16_000
"""Maximum number of watermarks read from before the moment."""
NO_WATERMARKS_WITHIN_MILLIS: Final = 60_000
"""If the first watermark of the topic is this long after the moment, no producer published any at the moment."""


class PastSpan(NamedTuple):
    """From which moment (µs), until which (None: to the end of Kafka's records, or on into live data), at what pace (None: at once)."""

    moment_us: int
    until_us: int | None
    pace: Pace | None


async def join_past(
    reader: Reader,
    codec: Codec,
    prefix: str,
    intake: Intake,
    selection: Selection,
    span: PastSpan,
    *,
    max_age: float | None,
    note: Callable[[TopicPartition, ConsumerRecord], None],
) -> tuple[PastBooks, dict[TopicPartition, int]]:
    """Prepare books as of the past; return them with the offsets to assign to the reader.

    Args:
        reader: used for all requests; its assignment is replaced.
        codec: decodes the records.
        prefix: prefix of every topic name.
        intake: holds the books; it has read the market list already.
        selection: the selected markets.
        span: the moment to start from, the end and the pace.
        max_age: maximum age of the newest watermark of a `LIVE` book, in seconds; None for any.
        note: called with the partition and the last record of each batch of updates.

    Raises:
        BusError: Kafka is unreachable, a topic does not exist, or a partition could not be read.
    """
    moment_us, when = span.moment_us, moment_text(span.moment_us)
    asked_us = time.time_ns() // 1000
    intake.depth_partitions = len(await reader.topic_partitions(prefix + DEPTH_TOPIC))  # `intake.wants` depends on it
    wanted = wanted_keys(selection, intake.listing, moment_us, intake.wants)
    start = await look_back(reader, codec, prefix, wanted, moment_us)
    depth_topic = prefix + DEPTH_TOPIC
    intake.depth_partitions = start.depth_partitions
    intake.behind = {each: end for each, end in start.ends.items() if each[0] == depth_topic}
    intake.closed_until_us = moment_us
    intake.no_snapshot_because = f"Kafka holds no snapshot from the day before {when}"
    markets, market_ends = await _changes_of_markets(reader, prefix, moment_us)
    marks, marks_end = await _watermarks(reader, prefix, start, moment_us)
    offsets, ends = start.offsets | markets | marks, start.ends | market_ends | marks_end
    watermarks = vouching = None
    for topic_partition in marks:
        watermarks = PastWatermarks(codec, topic_partition, depth_topic, start.asked)
        vouching = PastVouching(
            codec, WatermarkIntake(codec, prefix, depth_topic, _topic_partition_of(intake), max_age)
        )
        _note_positions(vouching, depth_topic, offsets)
    if watermarks is None:
        logger.warning(
            "there were no watermarks then: books rest on gap records and their sequence", extra={"at": when}
        )
    is_recent = asked_us <= moment_us + ARRIVAL_MICROS
    reading = PastReading(
        *(reader, intake.depth, depth_topic, ends, asked_us, note),
        follows=is_recent or span.until_us is not None or span.pace is not None,
        codec=codec,
        offsets=offsets,
        watermarks=watermarks,
    )
    books = PastBooks(
        intake, reading, moment_us, span.until_us, span.pace, vouching=vouching, snapshots=start.snapshots
    )
    return books, offsets


def _note_positions(vouching: PastVouching, depth_topic: str, offsets: Mapping[TopicPartition, int]) -> None:
    for topic_partition, offset in offsets.items():
        if topic_partition[0] == depth_topic:
            vouching.watermarks.read_up_to(topic_partition, offset)


def wanted_keys(selection: Selection, listing: Listing, moment_us: int, wants: Callable[[bytes], bool]) -> WantedKeys:
    """Return the selected markets as of a moment (µs): those that were open then, according to the market list.

    The topic of the list is compacted, so its earlier state of a market may be gone: such a market counts as open.
    """
    listed = {each.symbol.encode(): each for each in listing}
    if selection.keys is not None:
        unlisted = selection.keys - listed.keys() if listed else frozenset()
        return WantedKeys(selection.keys, True, wants, frozenset(unlisted))
    known = {name.encode() for name in selection.names}
    for key, each in listed.items():
        then = listing.at(each.symbol, moment_us) or each
        is_open = not then.why_closed or then.since_us > moment_us
        if is_open and each.has_book and selection.wants(each.symbol, each.kind):
            known.add(key)
    return WantedKeys(frozenset(known), False, wants)


def _topic_partition_of(intake: Intake) -> Callable[[str], TopicPartition | None]:
    def topic_partition_of(symbol: str) -> TopicPartition | None:
        key = symbol.encode()
        return intake.topic_partition(key) if key in intake.by_key or intake.wants(key) else None

    return topic_partition_of


async def _changes_of_markets(
    reader: Reader, prefix: str, moment_us: int
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return where the market list begins to change after the moment, and its end; empty if no service publishes it."""
    topic = prefix + MARKET_TOPIC
    if not await reader.has(topic):
        return {}, {}
    topic_partitions = await reader.topic_partitions(topic)
    ends = await reader.ends(topic_partitions)
    return await offsets_at(reader, dict.fromkeys(topic_partitions, moment_us // 1000), ends), ends


async def _watermarks(
    reader: Reader, prefix: str, start: PastStart, moment_us: int
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return where to start reading watermarks, and where they end; empty if there were none yet at the moment."""
    topic = prefix + WATERMARK_TOPIC
    if not await reader.has(topic):
        return {}, {}
    topic_partition = (topic, 0)
    ends, begin = await reader.ends([topic_partition]), (await reader.beginnings([topic_partition]))[topic_partition]
    moment_ms = moment_us // 1000
    by_now = (await offsets_at(reader, {topic_partition: moment_ms}, ends))[topic_partition]
    soon = (await offsets_at(reader, {topic_partition: moment_ms + NO_WATERMARKS_WITHIN_MILLIS}, ends))[topic_partition]
    asked = [end for end, _ in start.asked if begin < end <= ends[topic_partition]]
    was_seen = bool(start.asked)  # a snapshot that names the topic proves that it existed then
    if soon <= begin and start.had_updates and not was_seen:
        return {}, {}
    stated = (await offsets_at(reader, {topic_partition: start.first_ms - STATED_WITHIN_MILLIS}, ends))[topic_partition]
    first = min(stated, by_now, *(end - STATED_WITHIN_RECORDS for end in asked))
    return {topic_partition: max(begin, first, by_now - WATERMARKS_AT_MOST)}, ends
