"""BookStream: order books of the selected markets, rebuilt from Kafka alone, live or as of a past moment."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Final, Literal, Self

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.callbacks import OnUpdate, call_for_each
from backpack_streams.books.intake import Intake
from backpack_streams.books.listing import Listing
from backpack_streams.books.live_reading import LiveReading
from backpack_streams.books.live_start import LiveStart
from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView, MarketViews
from backpack_streams.books.moments import Moment, checked_age, checked_pace, micros
from backpack_streams.books.past_start import PastSpan
from backpack_streams.books.reading_task import Batches, ReadingTask, Updates
from backpack_streams.books.selection import Selection
from backpack_streams.books.stream_source import PastSource, StreamSource
from backpack_streams.books.watermark_intake import MAX_AGE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BookError, UsageError

__all__ = ["BookStream", "BookUpdate", "Moment"]

SETTLED_SECONDS: Final = 1.5
"""For `all_live` without named symbols: time without a new market after which the books seen so far count as all.

Applies if the market list is missing or names a market that has no book."""
QUEUED_RECORDS: Final = 20_000
"""Default of `queued_records`: about one second of all markets at peak rate, a few MiB."""


class BookStream:
    """Asynchronous iterator of `BookUpdate`; use it as an async context manager.

        async with BookStream("127.0.0.1:19092", symbols=["BTC_USDC_PERP"]) as books:
            async for update in books:
                if update.status is Status.LIVE:
                    print(update.symbol, update.book.best_bid(), update.book.best_ask())

    The stream needs Kafka alone: snapshots come from the snapshot topic, updates from the depth topic. It reads only the partitions that
    hold the selected symbols.

    - `SYNCING`: the book has no snapshot yet, or the reader has not reached the end that Kafka had when it joined.
    - `LIVE`: every update continues the sequence, and a producer vouches for the book: its latest watermark is at most `max_age` seconds
      old, and its coverage has not been interrupted since an update or a snapshot last proved the book.
    - `STALE`: the book was `LIVE`, and one of these conditions no longer holds.
    - `CLOSED`: the market list says that the market is closed.

    `reason` and `since` of a book give the cause and the start of its status; `as_of` is the time up to which it is known to be complete.
    The stream gives no duplicates. An update that another producer may still precede waits 0.3 s for that producer.

    One task reads Kafka from the moment you enter the context:

    - `async for` gives every change exactly once, and `update.book` is the book right after that change. Unapplied records wait in a queue
      of at most `queued_records`; each is applied when you take it. A slower program pauses the reading: its books age, but lose nothing.
    - With `conflate=True` the books are always current, and the iteration gives the latest event of each market.
    - Before the first iteration the books are kept current as well; the iteration begins with one event for each market seen so far.
    - Leaving an iteration (`break`, an exception, a cancellation, a timeout) and coming back loses nothing. Meanwhile the books stay at
      the last change taken. `until_live` reads on from there: of the changes that it skips, the next iteration first gives the latest of
      each market. Two iterations at once are refused.
    - An error that ends the reading takes every book out of `LIVE` at once, and the next call raises it. The call after that resumes
      where the reading ended. If an update could not be applied, the books may be inconsistent, and every later call raises the error.

    Books as of a past moment stay there until you iterate over them.

    Entering raises `BusError` if Kafka is unreachable or a topic does not exist, and `UsageError` if the exchange does not list a symbol.
    Enter a stream once; to read again from the beginning, make another one.
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
        conflate: bool = False,
        max_age: float | None = MAX_AGE_SECONDS,
        queued_records: int = QUEUED_RECORDS,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
    ) -> None:
        """Check the arguments; does not connect.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            symbols: the markets to read: names, patterns (`*_PERP`), kinds (`kind:PERP`); `"all"` or None for all markets in Kafka.
            kinds: of those, only markets of these kinds in the market list (`PERP`, `SPOT`, ...).
            from_time: a past moment by the exchange's engine time: a `datetime`, or microseconds since the Unix epoch. The books start
                as of that moment, then move forward.
            until: the moment, by engine time, at which the iteration ends; needs `from_time`.
            pace: replay speed of the past: `max` as fast as you take events, `real` in real time.
            conflate: give only the latest event of each market if the program is slower than the markets; reading continues meanwhile.
            max_age: maximum age, in seconds, of the newest watermark of a `LIVE` book. With None, or infinity, a book may be `LIVE`
                although no producer vouches for it, for example in a recording made before watermarks existed. As of a past moment, the
                watermarks of that time count; a moment before the first watermark is judged as with None, and its books have no
                `as_of`.
            queued_records: maximum number of records read ahead from Kafka; 1 counts as 2.
            topic_prefix: prefix of every topic name.
            codec: a codec with a schema registry or other schemas.

        Raises:
            UsageError: the arguments select no market, are out of range, or name inconsistent moments.
        """
        if queued_records < 1:
            raise UsageError(f"queued_records of {queued_records} makes no sense: give 1 or more")
        own_codec = codec or Codec()
        self._reader = Reader(KafkaConnection(kafka) if isinstance(kafka, str) else kafka, own_codec)
        self._selection = Selection(symbols, kinds)
        self._from_us = None if from_time is None else micros(from_time)
        self._until_us = None if until is None else micros(until)
        self._pace = checked_pace(self._from_us, self._until_us, pace)
        self._intake = Intake(own_codec, topic_prefix, self._selection)
        self._views = MarketViews(self._intake.books)
        self._start = LiveStart(
            self._reader, own_codec, topic_prefix, self._selection, self._intake, checked_age(max_age)
        )
        self._live = LiveReading(self._start)
        self._source = StreamSource(self._start, self._live, has_end=until is not None, conflate=conflate)
        self._reading = ReadingTask(self._source, queued_records, self._on_end, self._intake.release_all)
        self._source.is_iterated = lambda: self._reading.is_iterated
        self._has_begun = self._is_closing = False

    async def __aenter__(self) -> Self:
        """Connect, find the snapshots and offsets to start from, and start to read.

        Raises:
            BusError: Kafka is unreachable, or a topic does not exist.
            UsageError: the exchange does not list a symbol.
            BookError: the stream was entered before.
        """
        if self._has_begun:
            raise BookError("a book stream is entered once, and this one was: make a new one to read again")
        await self._reader.__aenter__()
        try:
            market_ends = await self._start.read_listing()
            self._selection.check(self._intake.listing)
            if self._from_us is None:
                await self._start.join(market_ends)
            else:
                span = PastSpan(self._from_us, self._until_us, self._pace)
                self._source.past = PastSource(await self._start.join_past(span))
        except BaseException:  # on any failure, a cancellation included, close the connection
            await self._reader.__aexit__(None, None, None)
            raise
        self._has_begun = True
        self._reading.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        try:
            await self._reading.stop("the book stream is closed")
        finally:
            await self._reader.__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[BookUpdate]:
        return self.events()

    # State ----------------------------------------------------------------------------------------------------

    @property
    def books(self) -> Mapping[str, MarketView]:
        """The books by symbol. While no loop takes changes, they stay at the last change taken and age; see the class."""
        return self._views

    @property
    def listing(self) -> Listing:
        """The market list in Kafka, all markets; empty if no service publishes it."""
        return self._intake.listing

    @property
    def updates(self) -> int:
        """Number of updates read for the selected markets, duplicates included."""
        return self._intake.updates

    @property
    def undecodable_records(self) -> int:
        """Number of records that could not be decoded; the log has the reason for each."""
        return self._intake.undecodable_records + self._start.vouching.watermarks.undecodable_records

    @property
    def last_problem(self) -> str:
        """Why the last undecodable record could not be decoded; empty if there was none."""
        return self._intake.last_problem

    @property
    def is_caught_up(self) -> bool:
        """Whether the reader has reached the end that Kafka had when it joined, or the requested past moment."""
        past = self._source.past
        return past.is_at_moment if past is not None else not self._intake.behind

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the reading; None while it continues."""
        return self._reading.failure

    @property
    def conflated_updates(self) -> int:
        """Number of events replaced by a newer one of their market: with `conflate`, or skipped before an iteration."""
        return self._reading.delivery.replaced

    @property
    def lag_records(self) -> int:
        """Number of updates, in the partitions read, that Kafka has and the books do not have yet, as of Kafka's last answer."""
        return sum(self._live.lags().values())

    @property
    def lag_seconds(self) -> float:
        """Age, in seconds, of the newest update read in the partition that is furthest behind; 0 if nothing is left to read."""
        return self._live.lag_seconds()

    @property
    def waiting_records(self) -> int:
        """Number of records read from Kafka that wait for a loop to take them."""
        return self._reading.delivery.records

    @property
    def silent_seconds(self) -> float:
        """Seconds since Kafka last gave an update of these partitions."""
        return time.monotonic() - self._live.position.silent_since

    @property
    def clock_difference_seconds(self) -> float:
        """Seconds by which this wall clock is ahead of the producer clock that differs most; negative if it is behind.

        No status depends on it, except that of a reader that has just started.
        """
        return self._start.vouching.coverage.clock_difference_seconds

    def age_seconds(self, symbol: str) -> float | None:
        """Return the seconds since the exchange made the book's last update, by its clock and ours; None if unknown.

        The book of a quiet market is old but not wrong; `status` tells the difference.
        """
        market = self.books.get(symbol)
        if market is None or market.engine_time is None:
            return None
        return time.time() - market.engine_time / 1_000_000

    def not_live(self) -> list[MarketView]:
        """Return the selected books that are not `LIVE`. A closed market counts only if you selected it by name."""
        names = self._selection.names
        return [
            market
            for market in self.books.values()
            if market.status is not Status.LIVE and (market.status is not Status.CLOSED or market.symbol in names)
        ]

    def all_live(self) -> bool:
        """Return whether every selected book is `LIVE`.

        If you named no symbols, this means every book seen so far, once each open market of the market list has a book, or no new
        market has appeared for 1.5 s.
        """
        if not self.is_caught_up or not self.books or self.not_live():
            return False
        if self._selection.keys is not None or self._source.past is not None:
            return True
        are_all_here = len(self.listing) and self._selection.known_keys(self.listing) <= self._intake.by_key.keys()
        return bool(are_all_here) or time.monotonic() - self._intake.last_new_market > SETTLED_SECONDS

    # Reading --------------------------------------------------------------------------------------------------

    async def until_live(self, timeout_seconds: float) -> bool:
        """Read until every selected book is `LIVE` (True), or time is up or only closed markets are not `LIVE` (False).

        Args:
            timeout_seconds: maximum time to wait.

        Raises:
            BookError: the stream is not connected.
            BusError: Kafka refuses a request.
        """
        return await self._reading.until(self.all_live, self._are_the_others_closed, timeout_seconds)

    async def until_moment(self, timeout_seconds: float) -> bool:
        """Read until the books are as of `from_time` (True) or time is up (False).

        Args:
            timeout_seconds: maximum time to wait.

        Raises:
            BookError: the stream has no `from_time`, or is not connected.
            BusError: Kafka refuses a request.
        """
        if self._from_us is None:
            raise BookError("until_moment needs a book stream with from_time")
        return await self._reading.until(lambda: self.is_caught_up, lambda: False, timeout_seconds)

    async def run(self, on_update: OnUpdate | None = None, *, on_status: OnUpdate | None = None) -> None:
        """Call functions for the events, until `until` or forever; the next iteration resumes after the last event.

        Args:
            on_update: function or coroutine function, called with every event.
            on_status: the same, called first with each event that changes a book's status.

        Raises:
            BookError: another iteration is active. Otherwise an error of one of these functions, or the error that ended the reading.
        """
        await call_for_each(self.events(), on_update, on_status)

    def events(self) -> Updates:
        """Return an iterator over every event, or with `conflate` over the latest of each market; `async for` over the stream is the same.

        Iterating raises `BookError` while another iteration is active, and the error that ended the reading.
        """
        return Updates(self._reading)

    def rounds(self) -> Batches:
        """Return an iterator over the same events, in the batches that Kafka delivers.

        Without `conflate` it gives an empty batch every 0.2 s while Kafka has no records. The events of a batch are applied while you
        iterate over it; the rest of an abandoned batch comes first in the next one.
        """
        return Batches(self._reading)

    # End of the reading ---------------------------------------------------------------------------------------

    def give_up(self, error: BaseException) -> None:
        """Record that the event loop of this stream has ended: no book stays `LIVE`, and the next call raises `error`."""
        self._reading.fail(error)

    def _on_end(self, error: BaseException) -> None:
        if self._is_closing and self._source.past is not None:
            return  # the books are right as of their past moment, so they keep their status
        why = str(error) if self._is_closing else f"reading has failed: {str(error) or repr(error)}"
        for market in self._intake.books.values():
            market.hold(why)

    def _are_the_others_closed(self) -> bool:
        others = self.not_live()
        return self.is_caught_up and bool(others) and all(market.status is Status.CLOSED for market in others)
