"""A stream family: how one kind of message becomes one kind of record. The families themselves live with their services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import DecimalBytes
from backpack_streams.exchange.streams import StreamKind

WEBSOCKET = "WEBSOCKET"
REST = "REST"

DECIMALS = DecimalBytes()
"""Prices and quantities as Avro bytes, remembered across families: the same texts come by on every stream of a market."""


class Reading(Struct, frozen=True, gc=False):
    """What a message says: its place in the stream, its time (microseconds), its symbol, what its encoder takes.

    In a chained family `first_id`..`last_id` are the ids it covers. In others `last_id` orders the messages of one stream.
    """

    first_id: int
    last_id: int
    time_us: int
    symbol: str
    row: Any


class Reader(Protocol):
    """Reads one message. Raises `ExchangeError` or `CodecError` for one that cannot be read or does not fit its record."""

    def __call__(self, data: Any, kind: StreamKind) -> Reading:
        """The message in `data`, which came on a stream of `kind`."""


RowEncoder = Callable[[Any, int], bytes]
"""From a reading's row and its received time (microseconds) to a Kafka value."""


def stamped(encode: Encoder) -> RowEncoder:
    """The encoder of families whose rows are dicts: the received time goes in, then the row becomes bytes."""

    def encode_stamped(row: dict[str, Any], received_us: int) -> bytes:
        row["received_time"] = received_us
        return encode(row)

    return encode_stamped


@dataclass(frozen=True, slots=True)
class Family:
    """How one channel is read and published.

    `chained`: ids follow on each other without holes, so a hole is a loss.
    `every_message_counts`: only an exact copy of a message is a duplicate; else each message replaces the one before.
    `candles`: closed candles follow on each other without holes, so a hole is a loss.
    """

    channel: str
    record: str
    read: Reader
    topics: Mapping[str | None, str]
    unknown_fields: Callable[[], dict[str, int]]
    encoder: Callable[[Encoder], RowEncoder] = stamped
    chained: bool = False
    every_message_counts: bool = False
    candles: bool = False
    max_silence_seconds: float | None = None
    all_markets_in_one: bool = False

    def topic(self, kind: StreamKind) -> str:
        """Topic (without prefix) that streams of `kind` go to."""
        return self.topics[kind.parameter] if kind.parameter in self.topics else self.topics[None]

    def wants_seed(self, kind: StreamKind) -> bool:
        """Whether books are built from this very stream."""
        return self.channel == "depth" and kind.parameter is None
