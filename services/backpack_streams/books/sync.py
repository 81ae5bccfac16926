"""Books for programs without asyncio, such as notebooks: a `BookStream` in a thread with a loop of its own."""

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
from backpack_streams.books.vouching import MAX_AGE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BookError

__all__ = ["BookCopy", "Books"]

_Result = TypeVar("_Result")
_LOOK_AT_THREAD_SECONDS: Final = 0.5


class BookCopy(NamedTuple):
    """A book as it stood, with its status; nothing changes it any more. Times are microseconds since the Unix epoch."""

    symbol: str
    status: Status
    reason: str
    since: int | None
    last_update_id: int | None
    engine_time: int | None
    book: OrderBook
    as_of: int | None = None
    """Up to when it was known to hold all that the exchange had sent, by its producer's clock."""


class Books:
    """The books of `BookStream` for synchronous programs; use it as a context manager.

        with Books("127.0.0.1:19092", "BTC_USDC_PERP") as books:
            books.until_live(30)
            print(books["BTC_USDC_PERP"].book.best_bid())
            for update in books:
                print(update.symbol, update.status.value, update.book.best_ask())

    By default it reads on in its thread, whatever the program does: `books[symbol]` is the book as it is now, and the iteration gives the
    latest of each market. With `conflate=False` it gives every change, and from the first iteration on it reads as the program takes them.
    All books given are copies. Leaving an iteration and coming back loses nothing; two at once are refused.

    Books as of the past stay at their moment until they are iterated over; with `until` the iteration ends.

    An error that ends the reading, or the end of the thread, takes every book out of `LIVE` at once. The next question raises it, and so
    does each question after that.
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
        """Prepare; nothing is asked yet. The arguments are those of `BookStream`, and so are the errors."""
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
        """Connect.

        Raises:
            BusError: Kafka cannot be reached, or the topics do not exist.
            UsageError: the exchange does not list a symbol.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="books", daemon=True)
        self._thread.start()
        try:
            self._ask(self._stream.__aenter__())
        except BaseException:  # whatever it was, the thread must not outlive it
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
        """Iterate over copies of the books as they change; it ends at `until`, else never.

        Raises:
            BookError: another iteration goes on.
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
            self._given = None  # an interrupt until here leaves it to whoever comes next
            yield update

    def __getitem__(self, symbol: str) -> BookCopy:
        """Return a copy of one book as it is now.

        Raises:
            BookError: no book of that symbol is known, or an error has ended the reading.
        """
        return self._ask(self._look(symbol))

    @property
    def symbols(self) -> list[str]:
        """The symbols of the markets whose books are known."""
        return sorted(self._stream.books)

    @property
    def lag_records(self) -> int:
        """As `BookStream.lag_records`."""
        return self._stream.lag_records

    @property
    def lag_seconds(self) -> float:
        """As `BookStream.lag_seconds`."""
        return self._stream.lag_seconds

    def until_live(self, timeout_seconds: float) -> bool:
        """Wait until every wanted book is `LIVE` (True), or until time is up or only closed markets are not (False)."""
        return self._ask(self._stream.until_live(timeout_seconds))

    def until_moment(self, timeout_seconds: float) -> bool:
        """Wait until the books are as of `from_time` (True) or time is up (False)."""
        return self._ask(self._stream.until_moment(timeout_seconds))

    # In the thread --------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            if self._loop is not None:  # else it was told to end
                self._stream.give_up(BookError("the thread that reads the books has ended"))

    async def _next(self) -> BookCopy | None:
        """What is not known to have arrived is given again."""
        if self._given is None:
            update = await anext(self._updates, None)
            self._given = None if update is None else _copy(update.market)
        return self._given

    async def _look(self, symbol: str) -> BookCopy:
        market = self._stream.books.get(symbol)
        if market is None:
            raise BookError(f"no book of {symbol!r} is known; there are {', '.join(self.symbols[:10]) or 'none'}")
        return _copy(market)

    # In the program's own thread ------------------------------------------------------------------------------

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
        except BaseException:  # an interrupt, too, ends what runs in the thread
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
