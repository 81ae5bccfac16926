"""Books for programs without asyncio, such as notebooks: a `BookStream` in a thread with a loop of its own."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.conflation import Latest
from backpack_streams.books.market_book import MarketBook, Status
from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.stream import BookStream, Moment
from backpack_streams.books.vouching import MAX_AGE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BookError

__all__ = ["BookCopy", "Books"]

_Result = TypeVar("_Result")


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

    By default it reads on in its thread whatever the program does: `books[symbol]` is the book as it is now, and the iteration gives the
    latest of each market. With `conflate=False` it gives every change, and reads as the program takes them. What is given are copies.
    A stream with `from_time` and no pace ends in the present and goes on from there; with `until` the iteration ends.
    What ends the reading in the thread is raised by whatever is asked next, and by everything after that.
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
            max_age=max_age,
            topic_prefix=topic_prefix,
            codec=codec,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._conflate = conflate
        self._latest: Latest[BookUpdate] = Latest()
        self._each: AsyncGenerator[BookUpdate, None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BusError: Kafka cannot be reached, or the topics do not exist.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="books", daemon=True)
        self._thread.start()
        try:
            self._ask(self._open())
        except BaseException:  # whatever it was, the thread must not outlive it
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ask(self._close())
        finally:
            self._end_thread()

    def __iter__(self) -> Iterator[BookCopy]:
        """Copies of the books as they change; ends at `until`, else never."""
        while True:
            update = self._ask(self._next())
            if update is None:
                return
            yield update

    def __getitem__(self, symbol: str) -> BookCopy:
        """A copy of one book as it stands.

        Raises:
            BookError: no book of that symbol is known.
        """
        return self._ask(self._look(symbol))

    @property
    def symbols(self) -> list[str]:
        """The markets whose books are known."""
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
        """Waits until every wanted book is `LIVE` (True) or time is up (False)."""
        return self._ask(self._until(self._stream.all_live, self._stream.until_live, timeout_seconds))

    def until_moment(self, timeout_seconds: float) -> bool:
        """Waits until the books are as of `from_time` (True) or time is up (False)."""
        return self._ask(self._until(lambda: self._stream.is_caught_up, self._stream.until_moment, timeout_seconds))

    # In the thread --------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        await self._stream.__aenter__()
        if self._conflate:
            self._reading = asyncio.create_task(self._read(), name="books")
            self._reading.add_done_callback(lambda _: self._news.set())
        else:
            self._each = self._stream.events()

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._each is not None:
            await self._each.aclose()
        await self._stream.__aexit__(None, None, None)

    async def _read(self) -> None:
        async with aclosing(self._stream.rounds()) as rounds:
            async for updates in rounds:
                for update in updates:
                    self._latest.put(update.symbol, update)
                self._news.set()
                await asyncio.sleep(0)

    async def _next(self) -> BookCopy | None:
        if self._reading is None:
            update = None if self._each is None else await anext(self._each, None)
            return None if update is None else _copy(update.market)
        if self._reading.done() and not self._reading.cancelled() and self._reading.exception() is not None:
            self._reading.result()
        while not len(self._latest):
            if not await self._more(self._reading):
                return None
        return _copy(self._latest.take().market)

    async def _until(
        self, holds: Callable[[], bool], read_until: Callable[[float], Awaitable[bool]], timeout_seconds: float
    ) -> bool:
        """What holds once the books have come there: by those who read on anyway, or by reading so far."""
        if self._reading is None:
            return await read_until(timeout_seconds)
        if self._reading.done():
            self._reading.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not holds() and await self._more(self._reading):
                    pass
        return holds()

    async def _more(self, reading: "asyncio.Task[None]") -> bool:
        """Waits for the next batch; False when there is none, for the reading has come to its end. Raises what ended it early."""
        if reading.done():
            reading.result()
            return False
        self._news.clear()
        await self._news.wait()
        return True

    async def _look(self, symbol: str) -> BookCopy:
        if self._reading is not None and self._reading.done():
            self._reading.result()  # what it holds is as old as what ended the reading
        market = self._stream.books.get(symbol)
        if market is None:
            raise BookError(f"no book of {symbol!r} is known; there are {', '.join(self.symbols[:10]) or 'none'}")
        return _copy(market)

    # In the program's own thread ------------------------------------------------------------------------------

    def _ask(self, question: Coroutine[Any, Any, _Result]) -> _Result:
        loop = self._loop
        if loop is None or self._thread is None or not self._thread.is_alive():
            question.close()
            raise BookError("the books are not connected: use them with `with`")
        answer = asyncio.run_coroutine_threadsafe(question, loop)
        try:
            return answer.result()
        except BaseException:  # an interrupt, too, ends what runs in the thread
            answer.cancel()
            raise

    def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _copy(market: MarketBook) -> BookCopy:
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
