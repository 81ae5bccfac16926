"""The items of a stream of records: a record with its position in Kafka, typed by its topic."""

from collections.abc import Mapping
from typing import Any, Final, Generic, NamedTuple, TypeGuard, TypeVar

from backpack_streams.sequencing.trade_order import Gap

__all__ = ["Gap", "StreamedRecord", "exchange_time", "is_of", "order_time", "sequence_time"]

Value = TypeVar("Value")
Record = TypeVar("Record")

AHEAD_AT_MOST_MICROS: Final = 5_000_000
_WRONG_AT_MOST_MICROS: Final = 25 * 3_600_000_000
"""A time of the exchange that is further ahead of our receipt than this is considered wrong."""


class StreamedRecord(NamedTuple, Generic[Value]):
    """One record. Prices, quantities and rates in `value` are `Decimal`; times are microseconds since the Unix epoch, UTC.

    Attributes:
        topic: the topic, without the prefix.
        name: the record's type, such as `Trade`.
        symbol: the record's key, usually the market.
        value: the decoded fields; None for a tombstone, with which a compacted topic deletes a key.
        partition: the partition that it was read from.
        offset: its offset there.
        is_late: whether it came after records that should follow it.
        time: determines the order: the engine time, otherwise the event time, otherwise the time at which we received
            or made it; for a tombstone Kafka's timestamp.
    """

    topic: str
    name: str
    symbol: str
    value: Value
    partition: int
    offset: int
    is_late: bool = False
    time: int = 0


def is_of(item: "StreamedRecord[Any] | Gap", record: type[Record]) -> TypeGuard[StreamedRecord[Record]]:
    """Return whether `item` is a record of this type with a value; also narrows its type: `if is_of(item, Trade): ...`."""
    return isinstance(item, StreamedRecord) and item.name == record.__name__ and item.value is not None


def exchange_time(value: Mapping[str, Any], ahead_at_most_us: int = AHEAD_AT_MOST_MICROS) -> int:
    """Return when the exchange made a record's event: the engine time, otherwise the event time; 0 if neither is known.

    A time that is too far after the receive time is impossible, and is replaced by that: it must not delay other
    records.

    Args:
        value: the decoded record; times in µs since the Unix epoch.
        ahead_at_most_us: how far the time may be after the receive time (µs).
    """
    stated = value.get("engine_time")
    if stated is None:
        stated = value.get("event_time")
        if stated is None:
            return 0
    received = value.get("received_time")
    return int(stated) if received is None or stated <= received + ahead_at_most_us else int(received)


def sequence_time(value: Mapping[str, Any]) -> int:
    """Return the same for telling sequences of ids apart, with a wide limit: a producer's receive clock may be hours behind."""
    return exchange_time(value, _WRONG_AT_MOST_MICROS)


_OTHER_TIMES: Final = ("received_time", "detected_time", "published_time", "audited_time", "changed_time")


def order_time(value: Mapping[str, Any]) -> int:
    """Return the time (µs) that orders records of several topics: the exchange's, otherwise when we received or made the record."""
    return exchange_time(value) or next((int(value[name]) for name in _OTHER_TIMES if value.get(name) is not None), 0)
