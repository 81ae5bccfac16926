"""A stream spec (`StreamSpec`): how one kind of message becomes one kind of record. The specs live with their services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import DecimalBytes
from backpack_streams.exchange.streams import StreamKind

DECIMALS = DecimalBytes()
"""Prices and quantities as Avro bytes, cached across stream specs: the same texts recur on every stream of a market."""


class Message(Struct, frozen=True, gc=False):
    """A parsed message: its position in the stream, its time (µs since the Unix epoch), its symbol, and the input of its encoder.

    In a sequenced stream, `first_id` to `last_id` are the ids that it covers. In other streams `last_id` orders the messages.
    """

    first_id: int
    last_id: int
    time_us: int
    symbol: str
    row: Any


class Reader(Protocol):
    """Parses one message.

    Raises:
        ExchangeError: the message cannot be read.
        CodecError: a value does not fit the record.
    """

    def __call__(self, data: Any, kind: StreamKind) -> Message:
        """Parse the message in `data`, which came on a stream of `kind`."""


RowEncoder = Callable[[Any, int], bytes]
"""Makes a Kafka value from `Message.row` and the received time (microseconds since the Unix epoch)."""


def stamped(encode: Encoder) -> RowEncoder:
    """Return the encoder for messages whose `row` is a dict: it adds the received time to the dict and encodes it.

    Args:
        encode: the encoder of the record.
    """

    def encode_stamped(row: dict[str, Any], received_us: int) -> bytes:
        row["received_time"] = received_us
        return encode(row)

    return encode_stamped


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How the messages of one channel are parsed and published.

    Attributes:
        channel: the channel's name on the exchange.
        record: the name of the record.
        read: parses a message.
        topics: topic by stream parameter, without prefix; the key None holds the topic of all other parameters.
        unknown_fields: returns the counts of unknown message fields by name.
        encoder: makes the encoder of the rows from the encoder of the record.
        sequenced: ids are consecutive, so a gap is a loss.
        every_message_counts: only an exact copy of a message is a duplicate; otherwise each message replaces the one before.
        candles: closed candles are consecutive, so a gap is a loss.
        max_silence_seconds: longest pause between two messages, for streams sent at fixed intervals; None for others.
        all_markets_in_one: one stream can bring all markets.
    """

    channel: str
    record: str
    read: Reader
    topics: Mapping[str | None, str]
    unknown_fields: Callable[[], dict[str, int]]
    encoder: Callable[[Encoder], RowEncoder] = stamped
    sequenced: bool = False
    every_message_counts: bool = False
    candles: bool = False
    max_silence_seconds: float | None = None
    all_markets_in_one: bool = False

    def topic(self, kind: StreamKind) -> str:
        """Return the topic, without prefix, for streams of `kind`."""
        return self.topics[kind.parameter] if kind.parameter in self.topics else self.topics[None]

    def wants_snapshot(self, kind: StreamKind) -> bool:
        """Return whether books are built from this stream, so that it needs REST snapshots."""
        return self.channel == "depth" and kind.parameter is None
