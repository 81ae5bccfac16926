"""BookStream: the books of one market, some or all, kept up to date from Kafka alone, now or as of a past moment."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Final, Literal, Self

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.intake import Intake
from backpack_streams.books.listing import Listing
from backpack_streams.books.live_reading import LiveReading
from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView, MarketViews
from backpack_streams.books.moments import Moment, checked_age, checked_pace, micros
from backpack_streams.books.past_start import PastSpan
from backpack_streams.books.reading_task import Batches, ReadingTask, Updates
from backpack_streams.books.selection import Selection
from backpack_streams.books.stream_source import PastSource, StreamSource
from backpack_streams.books.vouching import MAX_AGE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BookError, UsageError

__all__ = ["BookStream", "BookUpdate", "Moment"]

SETTLED_SECONDS: Final = 1.5
"""So long no new market may have turned up before "all" means the ones there are, where the market list has more or is not there."""
QUEUED_RECORDS: Final = 20_000
"""How many records may have been read from Kafka and not be taken, if nothing else is said: some MiB, a second of all markets at their
busiest."""

OnUpdate = Callable[[BookUpdate], Awaitable[None] | None]


class BookStream:
    """Asynchronous iterator of `BookUpdate`; use it as an async context manager.

        async with BookStream("127.0.0.1:19092", symbols=["BTC_USDC_PERP"]) as books:
            async for update in books:
                if update.status is Status.LIVE:
                    print(update.symbol, update.book.best_bid(), update.book.best_ask())

    The stream needs Kafka alone: snapshots come from the snapshot topic, updates from the depth topic. It reads only the partitions that
    hold the symbols.

    - `SYNCING`: the book has no snapshot yet, or the reader has not reached what Kafka held when it joined.
    - `LIVE`: every update follows on the last, and a producer vouches for the book: by a watermark that came within `max_age` seconds,
      with no break of coverage since an update or a snapshot last proved the book.
    - `STALE`: the book was `LIVE`, and one of these conditions does not hold.
    - `CLOSED`: the market list says that the market is closed.

    `reason` and `since` of a book say why and since when, `as_of` up to when it is known to be complete. The stream gives no duplicates.
    An update that another producer may still precede waits 0.3 s for it.

    One task reads Kafka from entering on:

    - `async for` gives every change exactly once, and `update.book` is the book right after that change. Records that were read wait, up
      to `queued_records`, and are applied as they are taken. A slower program stops the reading: its books age, and nothing is lost.
    - With `conflate=True` the books are always current, and the iteration gives the latest of each market.
    - Before the first iteration the books are kept current as well; it begins with one event of each market so far.
    - Leaving an iteration (`break`, an exception, a cancellation, a timeout) and coming back loses nothing. Meanwhile books stay at the
      last change taken. `until_live` goes on from there by itself: of the changes that it passes over, the next iteration begins with the
      latest of each market. Two iterations at once are refused.
    - An error that ends the reading takes every book out of `LIVE` at once, and the next question raises it. The question after that goes
      on where the reading ended.

    Books as of the past stay at their moment until they are iterated over.

    Entering raises `BusError` if Kafka cannot be reached or a topic does not exist, and `UsageError` for a symbol that the exchange does
    not list.
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
        """Prepare; nothing is asked yet.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            symbols: the markets to read: names, patterns (`*_PERP`), kinds (`kind:PERP`); `"all"` or None for all that Kafka has.
            kinds: of those, only markets of these kinds of the market list (`PERP`, `SPOT`, ...).
            from_time: a past moment by the exchange's engine time: a `datetime`, or microseconds since the Unix epoch. The books are as of
                that moment first, then go forward.
            until: the moment, by engine time, at which the iteration ends; needs `from_time`.
            pace: how the past passes: as fast as it is taken, or in `real` time.
            conflate: give only the latest of each market to a program that is slower than the markets; reading goes on meanwhile.
            max_age: how old, in seconds, the newest watermark of a `LIVE` book may be. With None, or infinity, a book may be `LIVE`
                although no producer vouches for it, as in a recording made before there were watermarks. As of the past, the
                watermarks of that time count; a moment from before there were any is judged as with None, and its books have no
                `as_of`.
            queued_records: how many records may be read ahead from Kafka.
            topic_prefix: what every topic's name begins with.
            codec: one that knows a schema registry or other schemas.

        Raises:
            UsageError: no market can be meant, or the moments make no sense.
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
        self._live = LiveReading(
            self._reader, own_codec, topic_prefix, self._selection, self._intake, checked_age(max_age)
        )
        self._source = StreamSource(self._live, has_end=until is not None, conflate=conflate)
        self._reading = ReadingTask(self._source, queued_records, self._on_end, self._intake.release_all)
        self._source.is_iterated = lambda: self._reading.is_iterated
        self._is_closing = False

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        try:
            market_ends = await self._live.read_listing()
            self._selection.check(self._intake.listing)
            if self._from_us is None:
                await self._live.join(market_ends)
            else:
                span = PastSpan(self._from_us, self._until_us, self._pace)
                self._source.past = PastSource(await self._live.join_past(span))
        except BaseException:  # whatever it was, the connection must not outlive it
            await self._reader.__aexit__(None, None, None)
            raise
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

    # What it knows --------------------------------------------------------------------------------------------

    @property
    def books(self) -> Mapping[str, MarketView]:
        """The books by symbol. While no loop takes changes, they are as of the last change taken, and age; see the class."""
        return self._views

    @property
    def listing(self) -> Listing:
        """What the market list in Kafka says of all markets; empty if no service publishes it."""
        return self._intake.listing

    @property
    def updates(self) -> int:
        """How many updates of the wanted markets were read, duplicates included."""
        return self._intake.updates

    @property
    def undecodable_records(self) -> int:
        """How many records could not be read; each is in the log with its reason."""
        return self._intake.undecodable_records + self._live.vouching.undecodable_records

    @property
    def last_problem(self) -> str:
        """Why the last unreadable record could not be read; empty if there was none."""
        return self._intake.last_problem

    @property
    def is_caught_up(self) -> bool:
        """Whether the reader has reached what Kafka held when it joined, or the past moment asked for."""
        past = self._source.past
        return past.is_at_moment if past is not None else not self._intake.behind

    @property
    def failure(self) -> BaseException | None:
        """What has ended the reading; None while it goes on."""
        return self._reading.failure

    @property
    def conflated_updates(self) -> int:
        """How many changes were replaced by a newer one of their market: with `conflate`, or passed over before an iteration."""
        return self._reading.delivery.replaced

    @property
    def lag_records(self) -> int:
        """How many updates of the partitions read Kafka has that the books do not have yet, as of its last answer."""
        return sum(self._live.lags().values())

    @property
    def lag_seconds(self) -> float:
        """How old the newest update read is in the partition that is furthest behind; 0 when nothing is left to read."""
        return self._live.lag_seconds()

    @property
    def waiting_records(self) -> int:
        """How many records were read from Kafka and wait for a loop to take them."""
        return self._reading.delivery.records

    @property
    def silent_seconds(self) -> float:
        """For how many seconds Kafka has given no update of these partitions."""
        return time.monotonic() - self._live.silent_since

    @property
    def clock_difference_seconds(self) -> float:
        """How far our wall clock is ahead of the producer's that differs most; negative if it is behind.

        No status rests on it, except that of a reader that has just started.
        """
        return self._live.vouching.coverage.clock_difference_seconds

    def age_seconds(self, symbol: str) -> float | None:
        """How long ago, by the exchange's clock and ours, the last update of a book was made; None if that is not known.

        A quiet market is old without being wrong: `status` tells the two apart.
        """
        market = self.books.get(symbol)
        if market is None or market.engine_time is None:
            return None
        return time.time() - market.engine_time / 1_000_000

    def not_live(self) -> list[MarketView]:
        """The wanted books that are not `LIVE`. A closed market counts only if it was asked for by name."""
        names = self._selection.names
        return [
            market
            for market in self.books.values()
            if market.status is not Status.LIVE and (market.status is not Status.CLOSED or market.symbol in names)
        ]

    def all_live(self) -> bool:
        """Whether every wanted book is `LIVE`.

        If no names say which are wanted, that means every book there is, once all markets are there that the market list has open, or no
        new one has turned up for 1.5 s.
        """
        if not self.is_caught_up or not self.books or self.not_live():
            return False
        if self._selection.keys is not None or self._source.past is not None:
            return True
        are_all_here = len(self.listing) and self._live.known_keys() <= self._intake.by_key.keys()
        return bool(are_all_here) or time.monotonic() - self._intake.last_new_market > SETTLED_SECONDS

    # How it is read -------------------------------------------------------------------------------------------

    async def until_live(self, timeout_seconds: float) -> bool:
        """Read until every wanted book is `LIVE` (True), or until time is up or only closed markets are not (False).

        Raises:
            BookError: the stream is not connected. BusError: Kafka refuses.
        """
        return await self._reading.until(self.all_live, self._are_the_others_closed, timeout_seconds)

    async def until_moment(self, timeout_seconds: float) -> bool:
        """Read until the books are as of `from_time` (True) or time is up (False).

        Raises:
            BookError: the stream has no `from_time`, or is not connected. BusError: Kafka refuses.
        """
        if self._from_us is None:
            raise BookError("the book stream has no moment to come to: give it a from_time")
        return await self._reading.until(lambda: self.is_caught_up, lambda: False, timeout_seconds)

    async def run(self, on_update: OnUpdate | None = None, *, on_status: OnUpdate | None = None) -> None:
        """Call `on_update` for every event, and `on_status` for each event that changes a book's status, until `until` or for ever.

        Both may be coroutine functions. An error that one raises comes out here, and the next iteration goes on after that event.
        """
        statuses: dict[str, Status] = {}
        async with aclosing(self.events()) as events:
            async for update in events:
                status = update.status
                if on_status is not None and statuses.get(update.symbol) is not status:
                    await _call(on_status, update)
                statuses[update.symbol] = status
                if on_update is not None:
                    await _call(on_update, update)

    def events(self) -> Updates:
        """Return an iterator of every event, or with `conflate` of the latest of each market; `async for` over the stream is the same.

        Iterating raises `BookError` while another iteration goes on, and the error that has ended the reading.
        """
        return Updates(self._reading)

    def rounds(self) -> Batches:
        """Return an iterator of the same events in the batches in which Kafka gives them.

        Without `conflate` it gives an empty batch every 0.2 s if Kafka gives none. The events of a batch are applied while it is iterated
        over; the rest of an abandoned batch comes first in the next one.
        """
        return Batches(self._reading)

    # When nobody reads any more -------------------------------------------------------------------------------

    def give_up(self, error: BaseException) -> None:
        """Take note that the loop in which this runs has ended: no book is `LIVE` any more, and the next question raises `error`."""
        self._reading.fail(error)

    def _on_end(self, error: BaseException) -> None:
        if self._is_closing and self._source.past is not None:
            return  # as of their moment they stay what they are
        why = str(error) if self._is_closing else f"reading has failed: {str(error) or repr(error)}"
        for market in self._intake.books.values():
            market.hold(why)

    def _are_the_others_closed(self) -> bool:
        others = self.not_live()
        return self.is_caught_up and bool(others) and all(market.status is Status.CLOSED for market in others)


async def _call(function: OnUpdate, update: BookUpdate) -> None:
    answer = function(update)
    if inspect.isawaitable(answer):
        await answer
