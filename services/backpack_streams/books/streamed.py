"""What a reader of records is given: a record with its place in Kafka, typed by its topic."""

from collections.abc import Mapping
from typing import Any, Final, Generic, NamedTuple, TypeGuard, TypeVar

from backpack_streams.sequencing.trade_order import Hole

__all__ = ["Hole", "StreamedRecord", "exchange_time", "is_of", "order_time", "sequence_time"]

Value = TypeVar("Value")
Record = TypeVar("Record")

AHEAD_AT_MOST_MICROS: Final = 5_000_000
_WRONG_AT_MOST_MICROS: Final = 25 * 3_600_000_000
"""A time of the exchange that is further ahead of our receipt than this is taken for wrong."""


class StreamedRecord(NamedTuple, Generic[Value]):
    """One record. Prices, quantities and rates in `value` are `Decimal`; times are microseconds since the Unix epoch, UTC.

    `topic` is without the prefix, `name` the record's. `value` is None for a tombstone: a compacted topic says that what it held under
    this key is gone. `is_late`: it was missing when its turn came, and came after. `time` is what records are put in order by: the
    engine's time, else the event's, else that of receipt; a tombstone's is Kafka's timestamp.
    """

    topic: str
    name: str
    symbol: str
    value: Value
    partition: int
    offset: int
    is_late: bool = False
    time: int = 0


def is_of(item: "StreamedRecord[Any] | Hole", record: type[Record]) -> TypeGuard[StreamedRecord[Record]]:
    """Whether `item` is a record of this kind, with a value; for a type checker as well: `if is_of(item, Trade): ...`."""
    return isinstance(item, StreamedRecord) and item.name == record.__name__ and item.value is not None


def exchange_time(value: Mapping[str, Any], ahead_at_most_us: int = AHEAD_AT_MOST_MICROS) -> int:
    """When the exchange made what a record says, in µs: the engine's time, else the event's; 0 where neither is known.

    One that cannot be, since our socket had the record by so much before, is that of receipt: it must hold nothing else up.
    """
    stated = value.get("engine_time")
    if stated is None:
        stated = value.get("event_time")
        if stated is None:
            return 0
    received = value.get("received_time")
    return int(stated) if received is None or stated <= received + ahead_at_most_us else int(received)


def sequence_time(value: Mapping[str, Any]) -> int:
    """The same for telling sequences of ids apart, in which times of receipt mean nothing: a producer's clock may be behind by hours."""
    return exchange_time(value, _WRONG_AT_MOST_MICROS)


_OTHER_TIMES: Final = ("received_time", "detected_time", "published_time", "audited_time", "changed_time")


def order_time(value: Mapping[str, Any]) -> int:
    """What records of several topics are put in order by, in µs: the exchange's time, else when we received or made the record."""
    return exchange_time(value) or next((int(value[name]) for name in _OTHER_TIMES if value.get(name) is not None), 0)
