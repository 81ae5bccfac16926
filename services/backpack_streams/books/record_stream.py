"""RecordStream: the records of any topic, read from Kafka alone, each once; trades in order, with their gaps."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from backpack_streams.books.iteration import Iteration, Turn
from backpack_streams.books.record_flow import PATIENCE_SECONDS
from backpack_streams.books.record_join import LATE_SECONDS, Start, Until, Wanted, check_range
from backpack_streams.books.record_reading import RecordReading
from backpack_streams.books.record_topic import RecordTopic
from backpack_streams.books.streamed import Gap, StreamedRecord, is_of
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS
from backpack_streams.bus.topics import topic_of_full_name
from backpack_streams.errors import BookError, UsageError

__all__ = ["Gap", "RecordStream", "Start", "StreamedRecord", "Until", "is_of"]

Value = TypeVar("Value")


class RecordStream(Generic[Value]):
    """Asynchronous iterator of `StreamedRecord`s, with a `Gap` in place of missing trades; use it as an async context manager.

        async with RecordStream("127.0.0.1:19092", MARKET_TRADE, ["BTC_USDC_PERP"], start="beginning") as trades:
            async for trade in trades:
                if isinstance(trade, Gap):
                    print("missing", trade.first_id, trade.last_id)
                else:
                    print(trade.value["trade_id"], trade.value["price"])

    The stream gives each record once, even if two producers, a restart or a refill from REST published it several times. Trades come in
    the order of their ids. If one is missing, the trades after it wait up to `patience_seconds` for a refill; then the stream gives a
    `Gap`. Closed candles are given once; open candles only in order. Memory is bounded: the stream remembers ranges of ids, and for
    topics without ids 50,000 to 100,000 records per partition. You may leave a loop and start another at any time: the stream resumes
    where it was. Entered again, it reads from `start` again and leaves out what it has given.

    Entering raises `BusError` if Kafka is unreachable or a topic does not exist.
    """

    @overload
    def __init__(
        self: "RecordStream[Value]",
        kafka: str | KafkaConnection,
        topics: RecordTopic[Value],
        symbols: Iterable[str] | None = None,
        *,
        start: Start = "new",
        until: Until = None,
        merged: bool = False,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        late_seconds: float = LATE_SECONDS,
    ) -> None: ...

    @overload
    def __init__(
        self: "RecordStream[Any]",
        kafka: str | KafkaConnection,
        topics: str | Iterable[str],
        symbols: Iterable[str] | None = None,
        *,
        start: Start = "new",
        until: Until = None,
        merged: bool = False,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        late_seconds: float = LATE_SECONDS,
    ) -> None: ...

    def __init__(
        self,
        kafka: str | KafkaConnection,
        topics: str | Iterable[str],
        symbols: Iterable[str] | None = None,
        *,
        start: Start = "new",
        until: Until = None,
        merged: bool = False,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        """Check the arguments; does not connect.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            topics: names such as `market.trade`, with or without the prefix, or a topic of `books.records`, which carries its record type.
            symbols: the markets (for topics with other keys: the keys) to read; None for all in Kafka.
            start: `"new"`, `"beginning"`, or a moment by Kafka's timestamps, inclusive.
            until: `"end"` (the current end in Kafka), or a moment, exclusive; the iteration ends there. With None it never ends.
            merged: give all topics in one order of `StreamedRecord.time`. History always comes in the same order; new records wait up
                to one second for the other partitions.
            topic_prefix: prefix of every topic name.
            codec: a codec with a schema registry or other schemas.
            patience_seconds: how long trades wait for a missing one before them, in seconds.
            late_seconds: how far past `until` to read a partition for records that were published late, in seconds.

        Raises:
            UsageError: a topic is unknown, or the end is not after the start.
        """
        codec = codec or Codec()
        names = [topics] if isinstance(topics, str) else list(topics)
        found = [topic_of_full_name(name, topic_prefix) for name in names]
        check_range(start, until)
        wanted = Wanted(
            {each.full_name(topic_prefix): each for each in found},
            topic_prefix,
            None if symbols is None else frozenset([symbols] if isinstance(symbols, str) else symbols),
            start,
            until,
            merged,
            patience_seconds,
            late_seconds,
        )
        self._wanted = wanted
        self._reader = Reader(KafkaConnection(kafka) if isinstance(kafka, str) else kafka, codec)
        self._reading = RecordReading(self._reader, codec, wanted)
        self._is_open = False
        self._turn = Turn("the record stream")

    async def __aenter__(self) -> Self:
        """Connect, and find the offsets to start from.

        Raises:
            BusError: Kafka is unreachable, or a topic does not exist.
        """
        await self._reader.__aenter__()
        try:
            await self._reading.join()
        except BaseException:  # on any failure, a cancellation included, close the connection
            await self._reader.__aexit__(None, None, None)
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._reading.leave()
        await self._reader.__aexit__(kind, error, trace)

    # Reading --------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Iteration[StreamedRecord[Value] | Gap]:
        return self.events()

    def events(self) -> Iteration[StreamedRecord[Value] | Gap]:
        """Return an iterator over every record and every gap; `async for` over the stream is the same."""
        return Iteration(self._turn, self._next)

    def rounds(self) -> Iteration[Iterator[StreamedRecord[Value] | Gap]]:
        """Return an iterator over the same items, in the batches that Kafka delivers; an empty batch every 0.2 s while it has none.

        The rest of an abandoned batch comes with the next one.
        """
        return Iteration(self._turn, self._next_round)

    def take(self) -> StreamedRecord[Value] | Gap | None:
        """Return the next record or gap if it has been read already; None if Kafka has to be polled."""
        return self._reading.take()

    async def _next(self) -> StreamedRecord[Value] | Gap:
        while (item := self.take()) is None:
            await self._fill()
        return item

    async def _next_round(self) -> Iterator[StreamedRecord[Value] | Gap]:
        item = self.take()
        if item is None:
            await self._fill()
        else:
            self._reading.put_back(item)
        return iter(self.take, None)

    async def _fill(self) -> None:
        if not self._is_open:
            raise BookError("the record stream is not connected: use it with `async with`")
        await self._reading.fill()

    # State ----------------------------------------------------------------------------------------------------

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that Kafka held at the join has been read; trades may still wait for a missing one before them."""
        return self._reading.is_caught_up

    @property
    def duplicates(self) -> int:
        """Number of records dropped because the stream had given them before."""
        return self._reading.flow.duplicates

    @property
    def waiting(self) -> int:
        """Number of trades that wait for a missing one before them."""
        return self._reading.flow.waiting

    @property
    def undecodable_records(self) -> int:
        """Number of records that could not be decoded."""
        return self._reading.flow.undecodable_records + self._reading.watermarks.undecodable_records

    def complete_through(self, topic: str, kind: str | None = None) -> int | None:
        """Return the moment up to which everything that the exchange sent on a topic's streams has been given.

        You can close a bar that ends before that moment. Losses while no producer covered a stream are on `ops.gap`, and appear as a
        `Gap` among trades.

        Args:
            topic: one of the topics of this stream.
            kind: for `market.kline`, whose streams differ by interval: `kline.1m`.

        Returns:
            µs since the Unix epoch, by a producer's clock. None while no producer covers the stream of one of the selected markets, and
            until the reader has reached the end that Kafka had when it joined. None, too, right after Kafka's retention removed records
            before they were read, and after one that cannot be decoded, which is logged: the next watermark counts again, and these
            records are missing.

        Raises:
            UsageError: this stream does not read the topic, no producer stream fills it, or it has no such kind.
        """
        name = topic_of_full_name(topic, self._wanted.prefix).name
        if name not in {each.name for each in self._wanted.topics.values()}:
            raise UsageError(f"{name} is not among the topics that are read here")
        kinds = STREAMS_OF_TOPICS.get(name)
        if kinds is None or (kind is not None and kind not in kinds):
            raise UsageError(f"no stream {kind or ''} fills {name}; there are {', '.join(kinds or ()) or 'none'}")
        return self._reading.complete_through(name, kind)
