"""Records of the plant itself, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "OPS_BOOK_AUDIT",
    "OPS_DEAD_LETTER",
    "OPS_GAP",
    "OPS_STREAM_STATUS",
    "OPS_WATERMARK",
    "BookAudit",
    "CoverageInterval",
    "DeadLetter",
    "Gap",
    "Level",
    "LevelDifference",
    "StreamStatus",
    "TopicOffsets",
    "Watermark",
]


class TopicOffsets(TypedDict):
    """Where the instance has written to in one topic."""

    topic: str
    next_offsets: list[int]


class CoverageInterval(TypedDict):
    """Streams with one interval of coverage."""

    since: int | None
    until: int | None
    is_settled: bool
    settled_until: int | None
    streams: list[str]


class Watermark(TypedDict):
    """What one producer instance has covered.

    Once a second it says: everything the exchange sent until complete_through on the streams that I cover is
    acknowledged in Kafka, and below these offsets. A reader that has read up to the offsets knows that it is complete
    up to that time. A producer that is silent vouches for nothing.
    """

    service: str
    instance: str
    sequence: int
    complete_through: int
    published_time: int
    interval_ms: int
    is_final: bool
    offsets: list[TopicOffsets]
    coverage_sequence: int
    coverage: list[CoverageInterval] | None
    elapsed_us: int | None


class Gap(TypedDict):
    """Something is missing from a stream, and here is exactly what, or nobody covered the stream for a time, and here is when.

    Without next_id and without lost_records it is the latter: between last_time and next_time nobody covered the
    stream, and perhaps nothing was lost. A gap of a depth stream asks the REST poller for a new snapshot, one of a
    trade or kline stream for what is missing.
    """

    stream: str
    symbol: str
    topic: str
    reason: str
    last_id: int | None
    next_id: int | None
    last_time: int | None
    next_time: int | None
    lost_records: int | None
    detail: str
    service: str
    detected_time: int


class LevelDifference(TypedDict):
    """One price at which two books differ."""

    side: str
    price: Decimal
    our_quantity: Decimal
    exchange_quantity: Decimal


class Level(TypedDict):
    """One price level of an order book."""

    price: Decimal
    quantity: Decimal


class BookAudit(TypedDict):
    """What a comparison of a book built from Kafka with the exchange's own came to, or the wish for one."""

    symbol: str
    result: str
    reason: str
    update_id: int | None
    snapshot_update_id: int | None
    book_update_id: int | None
    engine_time: int | None
    compared_levels: int
    different_levels: int
    differences: list[LevelDifference]
    bids_compared_to: Decimal | None
    asks_compared_to: Decimal | None
    our_bids: list[Level]
    our_asks: list[Level]
    exchange_bids: list[Level]
    exchange_asks: list[Level]
    service: str
    audited_time: int


class StreamStatus(TypedDict):
    """State of one stream of the exchange as a producer sees it. The latest record of a stream is its state."""

    stream: str
    symbol: str
    status: str
    detail: str
    error_code: int | None
    last_id: int | None
    last_received_time: int | None
    service: str
    changed_time: int
    missing: list[str]


class DeadLetter(TypedDict):
    """Something that could not be published as what it should have been, whole, with the reason."""

    source: str
    origin: str
    symbol: str
    reason: str
    detail: str
    payload: bytes
    payload_truncated: bool
    service: str
    received_time: int


OPS_WATERMARK: Final = RecordTopic[Watermark]("ops.watermark")
OPS_GAP: Final = RecordTopic[Gap]("ops.gap")
OPS_BOOK_AUDIT: Final = RecordTopic[BookAudit]("ops.book_audit")
OPS_STREAM_STATUS: Final = RecordTopic[StreamStatus | None]("ops.stream_status")
OPS_DEAD_LETTER: Final = RecordTopic[DeadLetter]("ops.dead_letter")
