"""BookStream: the books of one market, some or all, kept up to date from Kafka alone, now or as of a past moment."""

import asyncio
import inspect
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Literal, Self

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.conflation import Latest
from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import (
    DEPTH_TOPIC,
    KINDS_WITHOUT_BOOKS,
    MARKET_TOPIC,
    Start,
    look_round,
    read_listing,
)
from backpack_streams.books.listing import Listing, moment_text
from backpack_streams.books.market_book import MarketBook, Status
from backpack_streams.books.past import WantedKeys, look_back
from backpack_streams.books.past_books import ARRIVAL_MICROS, PastBooks
from backpack_streams.books.past_reading import PastReading
from backpack_streams.books.selection import Selection
from backpack_streams.books.timeline import Pace
from backpack_streams.books.vouching import MAX_AGE_SECONDS, Vouching
from backpack_streams.books.watermark_history import read_watermarks
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader, Records
from backpack_streams.bus.topic_end import TopicEndNotReachedError
from backpack_streams.errors import BookError, UsageError

__all__ = ["BookStream", "BookUpdate", "Moment"]

logger = logging.getLogger(__name__)

SETTLED_SECONDS: Final = 1.5
"""So long no new market may have turned up before "all" means the ones there are, where the market list has more or is not there."""
_POLL_MILLIS = 200
_RECORDS_A_POLL = 10_000
_WATERMARKS_LOOK_SECONDS = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Moment = datetime | int
"""A moment: a `datetime` (UTC where it has no zone), or microseconds since the Unix epoch."""
OnUpdate = Callable[[BookUpdate], Awaitable[None] | None]


class BookStream:
    """Asynchronous iterator of `BookUpdate`; use it as an async context manager.

        async with BookStream("127.0.0.1:19092", symbols=["BTC_USDC_PERP"]) as books:
            async for update in books:
                if update.status is Status.LIVE:
                    print(update.symbol, update.book.best_bid(), update.book.best_ask())

    Needs Kafka alone: snapshots come from the snapshot topic, updates from the depth topic, and only the partitions are read in which the
    symbols live. A book shows `SYNCING` until it is seeded and the reader has reached what Kafka held when it joined. It is `LIVE` while
    every update follows on the last and a producer vouches for it: by a watermark that came within `max_age` seconds, with no break of
    coverage since an update or a snapshot last proved the book. `STALE` is what was LIVE, for as long as one of these does not hold;
    `CLOSED` lasts while the market list says so. `reason` and `since` of a book say why and since when, `as_of` up to when it is known to
    be complete. `books` maps symbols to `MarketBook`s and is current while the iteration runs: who stops reading sees them age.

    Duplicates are not given, and an update that another producer may still precede waits 0.3 s for it. Without `conflate` every change is
    given and Kafka is read as fast as they are taken. Entering raises `BusError` where Kafka cannot be reached or the topics do not exist.
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
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            symbols: the markets wanted: names, patterns (`*_PERP`), kinds (`kind:PERP`); None for all that Kafka has.
            kinds: of those, only markets of these kinds of the market list (`PERP`, `SPOT`, ...).
            from_time: a past moment, by the exchange's engine time. The books are as of that moment first, then go forward.
            until: where the iteration ends, by engine time; needs `from_time`.
            pace: how the past passes: as fast as it is taken, or in `real` time.
            conflate: give the latest of each market to whoever is slower than the markets; reading goes on meanwhile.
            max_age: how old, in seconds, the newest watermark of a LIVE book may be. None, or infinity: a book is LIVE also if nobody
                vouches for it, as in a recording made before there were watermarks. Books as of the past are not held against watermarks.
            topic_prefix: what every topic's name begins with.
            codec: one that knows a schema registry or other schemas.

        Raises:
            UsageError: no market can be meant, or the moments make no sense.
        """
        self._codec = codec or Codec()
        self._reader = Reader(KafkaConnection(kafka) if isinstance(kafka, str) else kafka, self._codec)
        self._prefix = topic_prefix
        self._selection = Selection(symbols, kinds)
        self._from_us = None if from_time is None else _micros(from_time)
        self._until_us = None if until is None else _micros(until)
        self._pace = _checked_pace(self._from_us, self._until_us, pace)
        self._conflate = conflate
        self._intake = Intake(self._codec, topic_prefix, self._selection)
        self._vouching = Vouching(
            self._codec, topic_prefix, topic_prefix + DEPTH_TOPIC, self._place_of, _checked_age(max_age)
        )
        self._follows_watermarks = False
        self._next_look_for_watermarks = 0.0
        self._has_failed = False
        self._past: PastBooks | None = None
        self._clock: Callable[[], float] = time.monotonic if from_time is None else time.time
        self._next: dict[Place, int] = {}
        self._stamps_ms: dict[Place, int] = {}
        self._places: list[Place] = []
        self._heard = time.monotonic()
        self.conflated_updates = 0
        """With `conflate`: updates that were not given since a newer one of their market came."""

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        try:
            await self._join()
        except BaseException:  # whatever it was, the connection must not outlive it
            await self._reader.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[BookUpdate]:
        return self.events()

    # What it knows --------------------------------------------------------------------------------------------

    @property
    def books(self) -> dict[str, MarketBook]:
        """The books by symbol."""
        return self._intake.books

    @property
    def listing(self) -> Listing:
        """What the market list in Kafka says of all markets; empty where nobody publishes it."""
        return self._intake.listing

    @property
    def updates(self) -> int:
        """Updates read of the wanted markets, duplicates included."""
        return self._intake.updates

    @property
    def undecodable_records(self) -> int:
        """Records that could not be read; each is in the log with its reason."""
        return self._intake.undecodable_records + self._vouching.undecodable_records

    @property
    def last_problem(self) -> str:
        """Why the last of them could not be read; empty without any."""
        return self._intake.last_problem

    @property
    def is_caught_up(self) -> bool:
        """Whether the reader has reached what Kafka held when it joined, or the past moment asked for."""
        return self._past.is_at_moment if self._past is not None else not self._intake.behind

    @property
    def lag_records(self) -> int:
        """Updates that Kafka has in the partitions read and that are not here yet, as of its last answer."""
        return sum(self._lags().values())

    @property
    def lag_seconds(self) -> float:
        """How old the newest update read is in the partition that is furthest behind; 0 when nothing is left to read."""
        now_ms = time.time() * 1000
        behind = (self._stamps_ms.get(place, now_ms) for place, lag in self._lags().items() if lag)
        return max(0.0, now_ms - min(behind, default=now_ms)) / 1000

    @property
    def silent_seconds(self) -> float:
        """For how long Kafka has not given any update of these partitions."""
        return time.monotonic() - self._heard

    @property
    def clock_difference_seconds(self) -> float:
        """How far our wall clock is ahead of a producer's, of the one that differs most; negative if it is behind.

        No status rests on it, except that of a reader that has just come.
        """
        return self._vouching.coverage.clock_difference_seconds

    def age_seconds(self, symbol: str) -> float | None:
        """How long ago, by the exchange's clock and ours, the last update of a book was made; None where that is not known.

        A quiet market is old without being wrong: `status` tells the one from the other.
        """
        market = self.books.get(symbol)
        if market is None or market.engine_time is None:
            return None
        return time.time() - market.engine_time / 1_000_000

    def not_live(self) -> list[MarketBook]:
        """The books that are wanted and not `LIVE`; closed markets count where they were asked for by name."""
        names = self._selection.names
        return [
            market
            for market in self.books.values()
            if market.status is not Status.LIVE and (market.status is not Status.CLOSED or market.symbol in names)
        ]

    def all_live(self) -> bool:
        """Whether every wanted book is `LIVE`. Where no names say which are wanted: every one there is, once all are there that the market
        list has open, or no new one turns up.
        """
        if not self.is_caught_up or not self.books or self.not_live():
            return False
        if self._selection.keys is not None or self._past is not None:
            return True
        are_all_here = len(self.listing) and self._known_keys() <= self._intake.by_key.keys()
        return bool(are_all_here) or time.monotonic() - self._intake.last_new_market > SETTLED_SECONDS

    # How it is read -------------------------------------------------------------------------------------------

    async def until_live(self, timeout_seconds: float) -> bool:
        """Reads until every wanted book is `LIVE` (True), or until time is up or only closed markets are not (False)."""
        deadline = time.monotonic() + timeout_seconds
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for _ in updates:
                    pass
                if self.all_live():
                    return True
                if time.monotonic() > deadline or self._are_the_others_closed():
                    return False
        return self.all_live()

    async def until_moment(self, timeout_seconds: float) -> bool:
        """Reads until the books are as of `from_time` (True) or time is up (False).

        Raises:
            BookError: the stream has no `from_time`.
        """
        if self._from_us is None:
            raise BookError("the book stream has no moment to come to: give it a from_time")
        deadline = time.monotonic() + timeout_seconds
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for _ in updates:
                    pass
                if self.is_caught_up or time.monotonic() > deadline:
                    break
        return self.is_caught_up

    async def run(self, on_update: OnUpdate | None = None, *, on_status: OnUpdate | None = None) -> None:
        """Calls `on_update` for every event, and `on_status` for those with which a book's status changes, until `until` or for ever.

        What they return is awaited where it can be; what they raise comes out here.
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

    async def events(self) -> AsyncGenerator[BookUpdate, None]:
        """Every event, one by one, or the latest of each market; `async for` over the stream is the same."""
        async with aclosing(self._latest() if self._conflate else self._each()) as updates:
            async for update in updates:
                yield update

    async def rounds(self) -> AsyncGenerator[Iterator[BookUpdate], None]:
        """Every event in the batches in which Kafka gives them, an empty batch every 0.2 s where it gives none.

        The events of a batch happen while it is iterated over; exhaust it before asking for the next one.
        """
        if not self._intake.depth_partitions:
            raise BookError("the book stream is not connected: use it with `async with`")
        if self._has_failed:
            self._has_failed = False
            yield self._intake.release_all()
        try:
            async with aclosing(self._rounds()) as rounds:
                async for updates in rounds:
                    yield updates
        except Exception as error:  # nobody reads any more: no book may pass for the present one
            self._has_failed = True
            for market in self.books.values():
                market.hold(f"reading has failed: {error}")
            raise

    async def _rounds(self) -> AsyncGenerator[Iterator[BookUpdate], None]:
        if self._past is not None:
            async with aclosing(self._past.rounds()) as past:
                async for updates in past:
                    yield updates
            if self._until_us is not None:
                return
            await self._leave_the_past()
        while True:
            records = await self._reader.poll(_POLL_MILLIS, _RECORDS_A_POLL)
            self._vouching.polled(sum(map(len, records.values())) < _RECORDS_A_POLL, time.monotonic())
            yield self._take(records)
            if self._intake.behind:
                yield await self._caught_up()
            await self._reach_out()
            await self._look_for_watermarks()

    async def _each(self) -> AsyncGenerator[BookUpdate, None]:
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for update in updates:
                    yield update

    async def _latest(self) -> AsyncGenerator[BookUpdate, None]:
        latest: Latest[BookUpdate] = Latest()
        news = asyncio.Event()
        reading = asyncio.create_task(self._gather(latest, news), name="books for a slow consumer")
        reading.add_done_callback(lambda _: news.set())
        try:
            while len(latest) or not reading.done():
                if not len(latest):
                    news.clear()
                    if not reading.done():
                        await news.wait()
                    continue
                yield latest.take()
                self.conflated_updates = latest.replaced
                await asyncio.sleep(0)  # who never waits for anything would never let it read
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _gather(self, latest: Latest[BookUpdate], news: asyncio.Event) -> None:
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for update in updates:
                    latest.put(update.symbol, update)
                if len(latest):
                    news.set()
                await asyncio.sleep(0)

    def _take(self, records: Records) -> Iterator[BookUpdate]:
        for partition, batch in records.items():
            place = (partition.topic, partition.partition)
            if place in self._next:
                expected, first = self._next[place], batch[0].offset
                if first > expected:
                    yield from self._intake.on_lost_records(place, expected, first)
                self._note(place, batch[-1])
        yield from self._intake.take(records, self._clock())

    def _note(self, place: Place, last: ConsumerRecord) -> None:
        """Take note of how far updates have been read."""
        self._next[place] = last.offset + 1
        self._stamps_ms[place] = last.timestamp
        self._heard = time.monotonic()

    async def _caught_up(self) -> Iterator[BookUpdate]:
        """Books show their own status once their partition has reached where it ended at the join."""
        intake, behind = self._intake, self._intake.behind
        reached = {place for place, end in behind.items() if await self._reader.position(place) >= end}
        for place in reached:
            del behind[place]
        return intake.release([market for key, market in intake.by_key.items() if intake.place(key) in reached])

    def _are_the_others_closed(self) -> bool:
        others = self.not_live()
        return self.is_caught_up and bool(others) and all(market.status is Status.CLOSED for market in others)

    def _lags(self) -> dict[Place, int]:
        ends = {place: self._reader.high_water(place) for place in self._next}
        return {place: max(0, end - self._next[place]) for place, end in ends.items() if end is not None}

    # Where it starts ------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """The market list first: what is closed, and what patterns and kinds mean."""
        market_places = await self._market_places()
        market_ends = await self._reader.ends(market_places)
        self._intake.listing = await read_listing(self._reader, self._codec, self._prefix)
        if self._from_us is None:
            await self._join_now(market_ends)
        else:
            await self._join_past(self._from_us, market_places, market_ends)

    async def _market_places(self) -> list[Place]:
        """Who reads books alone need not have a market list."""
        topic = self._prefix + MARKET_TOPIC
        return await self._reader.places(topic) if await self._reader.has(topic) else []

    def _known_keys(self) -> frozenset[bytes]:
        """The keys that are wanted, as far as they are known."""
        keys = self._selection.keys
        if keys is not None:
            return keys
        wanted = (each for each in self.listing if self._selection.wants(each.symbol, each.kind))
        listed = {each.symbol for each in wanted if not each.why_closed and each.kind not in KINDS_WITHOUT_BOOKS}
        return frozenset(name.encode() for name in listed | self._selection.names)

    async def _join_now(self, market_ends: dict[Place, int]) -> None:
        intake = self._intake
        start = await self._look_round()
        intake.depth_partitions = start.depth_partitions
        intake.behind = start.behind
        intake.vouching = self._vouching
        self._vouching.coverage.ends |= start.behind
        await self._begin(start.offsets | market_ends, start.seeds)

    async def _look_round(self) -> Start:
        """Names say which partitions to read; so do patterns and kinds, once there is a market list."""
        keys = self._selection.keys
        if keys is not None or self._selection.is_everything or not len(self.listing):
            return await look_round(self._reader, self._codec, self._prefix, keys, listing=self.listing)
        chosen = self.listing.only(self._known_keys())
        count = len(await self._reader.places(self._prefix + DEPTH_TOPIC))
        partitions = frozenset(partition_of(each.symbol.encode(), count) for each in chosen)
        return await look_round(self._reader, self._codec, self._prefix, None, partitions=partitions, listing=chosen)

    async def _join_past(self, moment_us: int, market_places: list[Place], market_ends: dict[Place, int]) -> None:
        intake, when = self._intake, moment_text(moment_us)
        wanted = WantedKeys(self._known_keys(), self._selection.keys is not None, intake.wants)
        asked_us = time.time_ns() // 1000
        start = await look_back(self._reader, self._codec, self._prefix, wanted, moment_us)
        intake.depth_partitions = start.depth_partitions
        intake.behind = {place: end for place, end in start.ends.items() if place[0] == self._prefix + DEPTH_TOPIC}
        intake.closed_until_us = moment_us
        intake.unseeded_because = f"Kafka holds no snapshot from the day before {when}"
        offsets, ends = dict(start.offsets), start.ends | market_ends
        for place in market_places:
            offset = await self._reader.offset_at(place, moment_us // 1000)
            offsets[place] = market_ends[place] if offset is None else offset
        await self._begin(offsets, start.seeds)
        is_recent = asked_us <= moment_us + ARRIVAL_MICROS
        follows = is_recent or self._until_us is not None or self._pace is not None
        reading = PastReading(
            self._reader, intake.depth, self._prefix + DEPTH_TOPIC, ends, asked_us, self._note, follows=follows
        )
        self._past = PastBooks(intake, reading, moment_us, self._until_us, self._pace)

    async def _begin(self, offsets: dict[Place, int], seeds: Iterable[ConsumerRecord]) -> None:
        """Read on from these offsets, with books of these seeds."""
        intake, depth_topic = self._intake, self._prefix + DEPTH_TOPIC
        depth = {place: offset for place, offset in offsets.items() if place[0] == depth_topic}
        intake.beginnings |= await self._reader.beginnings(depth)
        self._next |= depth
        for place, offset in depth.items():
            self._vouching.read_up_to(place, offset)
        for name in self._selection.names:
            key = name.encode()
            if key not in intake.by_key and intake.wants(key):
                intake.add(key)
        for record in seeds:
            for _ in intake.take_seed(record):
                pass
        if not self._follows_watermarks and intake.vouching is not None:
            offsets = offsets | await self._find_watermarks()
        self._reader.assign(offsets)
        self._places = list(offsets)

    def _place_of(self, symbol: str) -> Place | None:
        key = symbol.encode()
        is_wanted = self._intake.depth_partitions and (key in self._intake.by_key or self._intake.wants(key))
        return self._intake.place(key) if is_wanted else None

    async def _find_watermarks(self) -> dict[Place, int]:
        """What there is of them; empty where the topic does not exist, which is looked at again now and then."""
        self._next_look_for_watermarks = time.monotonic() + _WATERMARKS_LOOK_SECONDS
        offsets = await read_watermarks(self._reader, self._vouching, self.books.values())
        self._follows_watermarks = bool(offsets)
        return offsets

    async def _look_for_watermarks(self) -> None:
        if self._follows_watermarks or time.monotonic() < self._next_look_for_watermarks:
            return
        self._next_look_for_watermarks = time.monotonic() + _WATERMARKS_LOOK_SECONDS
        if await self._reader.has(self._vouching.place[0]):
            await self._begin({place: await self._reader.position(place) for place in self._places}, ())

    async def _reach_out(self) -> None:
        """A market that is new in the list may live in a partition that is not read yet."""
        if not self._intake.has_new_markets():
            return
        needed = {self._intake.place(key) for key in self._known_keys()}
        if needed <= self._next.keys():
            return
        offsets = {place: await self._reader.position(place) for place in self._places}
        try:
            start = await self._look_round()
        except TopicEndNotReachedError as error:  # what is read goes on meanwhile
            logger.warning("the partitions of new markets are unavailable; trying again", extra={"error": str(error)})
            self._reader.assign(offsets)
            self._intake.look_again()
            return
        more = {place: offset for place, offset in start.offsets.items() if place not in offsets}
        behind = {place: end for place, end in start.behind.items() if place in more}
        self._intake.behind |= behind
        self._vouching.coverage.ends |= behind
        await self._begin(offsets | more, start.seeds)

    async def _leave_the_past(self) -> None:
        """Everything that lay in Kafka was given: the rest is read as it comes."""
        self._past = None
        self._intake.closed_until_us = math.inf
        for place in self._next:
            self._next[place] = await self._reader.position(place)
        intake = self._intake
        intake.vouching = self._vouching
        for market in intake.books.values():
            self._vouching.add(market)
        await self._begin({place: await self._reader.position(place) for place in self._places}, ())


async def _call(function: OnUpdate, update: BookUpdate) -> None:
    answer = function(update)
    if inspect.isawaitable(answer):
        await answer


def _micros(moment: Moment) -> int:
    if isinstance(moment, int):
        return moment
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _checked_age(max_age: float | None) -> float | None:
    if max_age is not None and not max_age > 0:
        raise UsageError(f"a max_age of {max_age} makes no sense: give seconds above 0, or None to ask nobody")
    return None if max_age == math.inf else max_age


def _checked_pace(from_us: int | None, until_us: int | None, pace: str) -> Pace | None:
    if from_us is None:
        if until_us is not None or pace == "real":
            raise UsageError("until and pace are about a past: give from_time, the moment at which it begins")
        return None
    if from_us > time.time_ns() // 1000:
        raise UsageError(f"from_time {moment_text(from_us)} is in the future; leave it out to begin now")
    if until_us is not None and until_us < from_us:
        raise UsageError(f"until {moment_text(until_us)} is before from_time {moment_text(from_us)}")
    if pace not in ("max", "real"):
        raise UsageError(f"pace {pace!r} is none; it is 'max' or 'real'")
    return Pace(from_us) if pace == "real" else None
