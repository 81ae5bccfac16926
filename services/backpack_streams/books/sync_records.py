"""Records for programs without asyncio, such as notebooks: a `RecordStream` in a thread with its own event loop."""

from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, overload

from backpack_streams.books.iteration import Iteration
from backpack_streams.books.loop_thread import LoopThread
from backpack_streams.books.record_flow import PATIENCE_SECONDS
from backpack_streams.books.record_join import LATE_SECONDS, Start, Until
from backpack_streams.books.record_stream import RecordStream
from backpack_streams.books.record_topic import RecordTopic
from backpack_streams.books.streamed import Gap, StreamedRecord
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection

__all__ = ["Records"]

_AT_ONCE: Final = 500

Value = TypeVar("Value")


class Records(Generic[Value]):
    """The items of `RecordStream` for synchronous programs; use it as a context manager.

        with Records("127.0.0.1:19092", MARKET_TRADE, ["BTC_USDC_PERP"], start="beginning", until="end") as trades:
            for trade in trades:
                if isinstance(trade, StreamedRecord):
                    print(trade.value["trade_id"], trade.value["price"])

    The thread reads Kafka as the program takes records, up to a few hundred ahead. You may leave a loop and start another: it resumes
    where it was. An error that ends the reading is raised when you ask for the next record.
    """

    @overload
    def __init__(
        self: "Records[Value]",
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
        self: "Records[Any]",
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
        **options: Any,
    ) -> None:
        """Check the arguments; does not connect. The arguments and errors are those of `RecordStream`."""
        self._stream: RecordStream[Any] = RecordStream(kafka, topics, symbols, **options)
        self._thread = LoopThread("records", "the record stream")
        self._events: Iteration[StreamedRecord[Any] | Gap] = self._stream.events()
        self._taken: deque[StreamedRecord[Any] | Gap] = deque()

    def __enter__(self) -> Self:
        """Start the thread and connect.

        Raises:
            BusError: Kafka is unreachable, or a topic does not exist.
        """
        self._thread.start()
        try:
            self._thread.ask(self._stream.__aenter__())
        except BaseException:  # on any failure, an interrupt included, end the thread
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._thread.ask(self._stream.__aexit__(None, None, None))
        finally:
            self._thread.stop()

    def __iter__(self) -> Self:
        """Iterate over every record and every gap; ends at `until`, otherwise never."""
        return self

    def __next__(self) -> StreamedRecord[Value] | Gap:
        if not self._taken and not self._thread.ask(self._take()):
            raise StopIteration
        return self._taken.popleft()

    def complete_through(self, topic: str, kind: str | None = None) -> int | None:
        """See `RecordStream.complete_through`; counts only what this iterator has given."""
        return self._thread.ask(self._complete_through(topic, kind))

    @property
    def is_caught_up(self) -> bool:
        """See `RecordStream.is_caught_up`; also, this iterator has given every item taken from the stream."""
        return not self._taken and self._stream.is_caught_up

    @property
    def duplicates(self) -> int:
        """See `RecordStream.duplicates`."""
        return self._stream.duplicates

    async def _take(self) -> bool:
        """Take the items that are ready, at least one; False at the end.

        Nothing is awaited between taking an item and storing it, so an interrupt loses none.
        """
        try:
            self._taken.append(await anext(self._events))
        except StopAsyncIteration:
            return False
        while len(self._taken) < _AT_ONCE and (item := self._stream.take()) is not None:
            self._taken.append(item)
        return True

    async def _complete_through(self, topic: str, kind: str | None) -> int | None:
        through = self._stream.complete_through(topic, kind)
        times = (item.time for item in self._taken if isinstance(item, StreamedRecord))
        return None if through is None else min(through, min(times, default=through + 1) - 1)
