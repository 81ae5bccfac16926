"""Books for programs without asyncio, such as notebooks: a `BookStream` in a thread with its own event loop."""

import asyncio
import inspect
import threading
import weakref
from collections.abc import Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.reading_task import Updates
from backpack_streams.books.stream import QUEUED_RECORDS, BookStream, Moment
from backpack_streams.books.watermark_intake import MAX_AGE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BookError

__all__ = ["BookCopy", "Books"]

_Result = TypeVar("_Result")
_LOOK_AT_THREAD_SECONDS: Final = 0.5


class BookCopy(NamedTuple):
    """A frozen copy of a book with its status. Times are microseconds since the Unix epoch.

    Attributes:
        symbol: the market.
        status: whether and how you may use the book.
        reason: why it is not `LIVE`; empty if it is.
        since: start of the status; None if unknown.
        last_update_id: id of the last update that the book includes; None before the first snapshot.
        engine_time: time of that update, or of the snapshot if no update has followed; None if unknown.
        book: the copy, which you may change.
    """

    symbol: str
    status: Status
    reason: str
    since: int | None
    last_update_id: int | None
    engine_time: int | None
    book: OrderBook
    as_of: int | None = None
    """Time up to which the book is known to hold everything that the exchange sent, by its producer's clock."""


class Books:
    """The books of `BookStream` for synchronous programs; use it as a context manager.

        with Books("127.0.0.1:19092", "BTC_USDC_PERP") as books:
            books.until_live(30)
            print(books["BTC_USDC_PERP"].book.best_bid())
            for update in books:
                print(update.symbol, update.status.value, update.book.best_ask())

    By default the thread keeps reading, whatever the program does: `books[symbol]` is the current book, and the iteration gives the latest
    event of each market. With `conflate=False` the iteration gives every change, and the thread reads only as fast as the program takes
    them once the first iteration has begun. Every book returned is a copy. Leaving an iteration and coming back loses nothing; two
    iterations at once are refused.

    Books as of a past moment stay there until you iterate over them; with `until` the iteration ends.

    An error that ends the reading, or the end of the thread, takes every book out of `LIVE` at once. Every later call raises it.
    """

    def __init__(
        self,
        kafka: str | KafkaConnection,
        symbols: str | Iterable[str] | None = None,
        *,
        kinds: str | Iterable[str] | None = None,
        from_time: Moment | None = None,
        until: Moment | None = None,
        pace: Literal["max", "real"] = "max",
        conflate: bool = True,
        max_age: float | None = MAX_AGE_SECONDS,
        queued_records: int = QUEUED_RECORDS,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
    ) -> None:
        """Check the arguments; does not connect. The arguments and errors are those of `BookStream`."""
        self._stream = BookStream(
            kafka,
            symbols,
            kinds=kinds,
            from_time=from_time,
            until=until,
            pace=pace,
            conflate=conflate,
            max_age=max_age,
            queued_records=queued_records,
            topic_prefix=topic_prefix,
            codec=codec,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._updates: Updates = self._stream.events()
        self._given: BookCopy | None = None
        self._iteration: weakref.ref[Generator[BookCopy, None, None]] | None = None

    def __enter__(self) -> Self:
        """Start the thread and connect.

        Raises:
            BusError: Kafka is unreachable, or a topic does not exist.
            UsageError: the exchange does not list a symbol.
            BookError: the books were entered before.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="books", daemon=True)
        self._thread.start()
        try:
            self._ask(self._stream.__aenter__())
        except BaseException:  # on any failure, an interrupt included, end the thread
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._thread is not None and self._thread.is_alive():
                self._in_thread(self._stream.__aexit__(None, None, None))
        finally:
            self._end_thread()

    def __iter__(self) -> Iterator[BookCopy]:
        """Iterate over copies of the books as they change; ends at `until`, otherwise never.

        Raises:
            BookError: another iteration is active.
        """
        other = None if self._iteration is None else self._iteration()
        if other is not None and inspect.getgeneratorstate(other) != inspect.GEN_CLOSED:
            raise BookError(
                "the books are being iterated over already, and each change is given once: leave that loop first"
            )
        iteration = self._each()
        self._iteration = weakref.ref(iteration)
        return iteration

    def _each(self) -> Generator[BookCopy, None, None]:
        while True:
            update = self._ask(self._next())
            if update is None:
                return
            self._given = None  # an interrupt before this line leaves the update to the next iteration
            yield update

    def __getitem__(self, symbol: str) -> BookCopy:
        """Return a copy of one book in its current state.

        Raises:
            BookError: there is no book of that symbol, or the books are not connected. Otherwise the error that ended the reading.
        """
        return self._ask(self._look(symbol))

    @property
    def symbols(self) -> list[str]:
        """The symbols of the markets that have a book, sorted."""
        return sorted(self._stream.books)

    @property
    def lag_records(self) -> int:
        """See `BookStream.lag_records`."""
        return self._stream.lag_records

    @property
    def lag_seconds(self) -> float:
        """See `BookStream.lag_seconds`."""
        return self._stream.lag_seconds

    def until_live(self, timeout_seconds: float) -> bool:
        """Wait until every selected book is `LIVE` (True), or time is up or only closed markets are not `LIVE` (False).

        Args:
            timeout_seconds: maximum time to wait.

        Raises:
            BookError: the books are not connected. Otherwise the error that ended the reading.
        """
        return self._ask(self._stream.until_live(timeout_seconds))

    def until_moment(self, timeout_seconds: float) -> bool:
        """Wait until the books are as of `from_time` (True) or time is up (False).

        Args:
            timeout_seconds: maximum time to wait.

        Raises:
            BookError: there is no `from_time`, or the books are not connected. Otherwise the error that ended the reading.
        """
        return self._ask(self._stream.until_moment(timeout_seconds))

    # In the thread of the event loop --------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            if self._loop is not None:  # None: `_end_thread` stopped the loop on purpose
                self._stream.give_up(BookError("the thread that reads the books has ended"))

    async def _next(self) -> BookCopy | None:
        """Return the next update; the same one again until the program's thread has confirmed it."""
        if self._given is None:
            update = await anext(self._updates, None)
            self._given = None if update is None else _copy(update.market)
        return self._given

    async def _look(self, symbol: str) -> BookCopy:
        market = self._stream.books.get(symbol)
        if market is None:
            raise BookError(f"no book of {symbol!r} is known; there are {', '.join(self.symbols[:10]) or 'none'}")
        return _copy(market)

    # In the caller's thread -----------------------------------------------------------------------------------

    def _ask(self, question: Coroutine[Any, Any, _Result]) -> _Result:
        failure = self._stream.failure
        if failure is not None:
            question.close()
            raise failure
        return self._in_thread(question)

    def _in_thread(self, question: Coroutine[Any, Any, _Result]) -> _Result:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            question.close()
            raise BookError("the books are not connected: use them with `with`")
        answer = asyncio.run_coroutine_threadsafe(question, loop)
        try:
            return self._answer(answer)
        except BaseException:  # on any failure, an interrupt included, cancel the call in the thread
            answer.cancel()
            raise

    def _answer(self, answer: "Future[_Result]") -> _Result:
        while True:
            try:
                return answer.result(_LOOK_AT_THREAD_SECONDS)
            except TimeoutError:
                if answer.done():
                    return answer.result()
                if self._thread is None or not self._thread.is_alive():
                    raise self._stream.failure or BookError("the thread that reads the books has ended") from None

    def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            if thread.is_alive():
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
            loop.close()


def _copy(market: MarketView) -> BookCopy:
    return BookCopy(
        market.symbol,
        market.status,
        market.reason,
        market.since,
        market.last_update_id,
        market.engine_time,
        market.book.copy(),
        market.as_of,
    )
