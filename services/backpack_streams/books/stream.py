"""BookStream: the books of one market, some or all, kept up to date from Kafka alone."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Final, NamedTuple, Self

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, SNAPSHOT_TOPIC, look_round
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.order_book import OrderBook
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader, Records
from backpack_streams.errors import BookError, CodecError

__all__ = ["BookStream", "BookUpdate"]

logger = logging.getLogger(__name__)

SETTLED_SECONDS: Final = 1.5
"""With all markets wanted: so long no new market may have turned up before "all" means the ones there are."""
GAP_PATIENCE_SECONDS: Final = 1.0
"""How long a gap on record waits for updates that show it, or that show that somebody else published what was missing."""
_POLL_MILLIS = 200
_DISCONNECTED = "DISCONNECTED"


class _KnownGap(NamedTuple):
    """What follows `last_id` is missing, says a producer; believed from `due` (monotonic seconds) on."""

    last_id: int
    due: float
    is_outage: bool
    """No socket brought anything."""
    is_over: bool
    """A socket is up again."""
    detected_us: int


class BookUpdate(NamedTuple):
    """One event that reached one book: an update, a seed, or something that could not be read."""

    market: MarketBook
    outcome: Outcome

    @property
    def symbol(self) -> str:
        """The market."""
        return self.market.symbol

    @property
    def status(self) -> Status:
        """What the book may be used for, now."""
        return self.market.status

    @property
    def book(self) -> OrderBook:
        """The book as it stands; look at `status` before using it. Copy it to keep it."""
        return self.market.book

    @property
    def last_update_id(self) -> int | None:
        """The last update id that the book includes."""
        return self.market.last_update_id


class BookStream:
    """Asynchronous iterator of `BookUpdate`; use it as an async context manager.

        async with BookStream("127.0.0.1:19092", symbols=["BTC_USDC_PERP"]) as books:
            async for update in books:
                if update.status is Status.LIVE:
                    print(update.symbol, update.book.best_bid(), update.book.best_ask())

    Needs Kafka alone: seeds come from the snapshot topic, updates from the depth topic. A book shows `SYNCING` until it is seeded
    and the reader has reached what Kafka held when it joined, `LIVE` while every update follows on the last, `STALE` from the
    moment one does not until a new seed closes the hole. `books` maps symbols to `MarketBook`s and is current while the iteration
    runs. Entering raises `BusError` where Kafka cannot be reached or the topics do not exist.
    """

    def __init__(
        self,
        kafka: str | KafkaConnection,
        symbols: Iterable[str] | None = None,
        *,
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            symbols: the markets wanted; None for all that Kafka has.
            topic_prefix: what every topic's name begins with.
            codec: one that knows a schema registry or other schemas.
        """
        self._codec = codec or Codec()
        self._reader = Reader(KafkaConnection(kafka) if isinstance(kafka, str) else kafka, self._codec)
        self._prefix = topic_prefix
        self._wanted = None if symbols is None else frozenset(symbol.encode() for symbol in symbols)
        self._depth = DepthReader(self._codec)
        self._by_key: dict[bytes, MarketBook] = {}
        self._behind: dict[Place, int] = {}
        self._depth_partitions = 0
        self._gaps: dict[str, _KnownGap] = {}
        self._seeded_us: dict[str, int] = {}
        self._last_new_market = time.monotonic()
        self.books: dict[str, MarketBook] = {}
        self.updates = 0
        self.undecodable_records = 0

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

    @property
    def is_caught_up(self) -> bool:
        """Whether the reader has reached what Kafka held when it joined."""
        return not self._behind

    def not_live(self) -> list[MarketBook]:
        """The books that are wanted and not `LIVE`."""
        return [market for market in self.books.values() if market.status is not Status.LIVE]

    def all_live(self) -> bool:
        """Whether every wanted book is `LIVE`. With all markets wanted: every one there is, once no new one turns up."""
        if self._behind or not self.books or self.not_live():
            return False
        return self._wanted is not None or time.monotonic() - self._last_new_market > SETTLED_SECONDS

    async def until_live(self, timeout_seconds: float) -> bool:
        """Reads until every wanted book is `LIVE` (True) or time is up (False)."""
        deadline = time.monotonic() + timeout_seconds
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for _ in updates:
                    pass
                if self.all_live():
                    return True
                if time.monotonic() > deadline:
                    break
        return False

    async def events(self) -> AsyncGenerator[BookUpdate, None]:
        """Every event, one by one; `async for` over the stream is the same."""
        async with aclosing(self.rounds()) as rounds:
            async for updates in rounds:
                for update in updates:
                    yield update

    async def rounds(self) -> AsyncGenerator[Iterator[BookUpdate], None]:
        """The events in the batches in which Kafka gives them, an empty batch every 0.2 s where it gives none.

        The events of a batch happen while it is iterated over; exhaust it before asking for the next one.
        """
        if not self._depth_partitions:
            raise BookError("the book stream is not connected: use it with `async with`")
        while True:
            records = await self._reader.poll(_POLL_MILLIS)
            yield self._take(records)
            if self._behind:
                yield await self._caught_up()

    async def _join(self) -> None:
        start = await look_round(self._reader, self._codec, self._prefix, self._wanted)
        self._depth_partitions = start.depth_partitions
        self._behind = start.behind
        for key in self._wanted or ():
            self._add(key)
        for record in start.seeds:
            self._take_seed(record)
        self._reader.assign(start.offsets)

    def _add(self, key: bytes) -> MarketBook:
        market = MarketBook(key.decode("utf-8", "replace"), catching_up=self._place(key) in self._behind)
        self._by_key[key] = market
        self.books[market.symbol] = market
        self._last_new_market = time.monotonic()
        return market

    def _place(self, key: bytes) -> Place:
        return self._prefix + DEPTH_TOPIC, partition_of(key, self._depth_partitions)

    def _market(self, record: ConsumerRecord) -> MarketBook | None:
        """The book that a record belongs to; None when nobody wants it."""
        market = self._by_key.get(record.key)
        if market is None and self._wanted is None and record.key is not None:
            return self._add(record.key)
        return market

    def _take(self, records: Records) -> Iterator[BookUpdate]:
        """Seeds last: one is mostly ahead of what was read before it, and is the answer to a gap that was on record before it."""
        depth, snapshots, gaps = (self._prefix + name for name in (DEPTH_TOPIC, SNAPSHOT_TOPIC, GAP_TOPIC))
        for batch in _of_topic(records, depth):
            yield from self._take_updates(batch)
        for batch in _of_topic(records, gaps):
            for record in batch:
                self._take_gap(record)
        if self._gaps:
            yield from self._mark_gaps()
        for batch in _of_topic(records, snapshots):
            for record in batch:
                yield from self._take_seed(record)

    def _take_updates(self, batch: list[ConsumerRecord]) -> Iterator[BookUpdate]:
        read, by_key = self._depth.read, self._by_key
        for record in batch:
            market = by_key.get(record.key) or self._market(record)
            if market is None:
                continue
            try:
                outcome = market.on_update(*read(record.value or b""))
            except CodecError as error:  # a newer writer's record, or a foreign one
                outcome = self._not_understood(market, record, error)
            self.updates += 1
            yield BookUpdate(market, outcome)

    def _take_seed(self, record: ConsumerRecord) -> Iterator[BookUpdate]:
        market = self._market(record)
        if market is None or record.value is None:
            return iter(())
        levels = self._depth.levels
        try:
            _, seed = self._codec.decode(record.value)
            outcome = market.on_seed(
                seed["last_update_id"],
                seed["engine_time"],
                levels(seed["bids"]),
                levels(seed["asks"]),
                bids_complete=seed["bids_complete"],
                asks_complete=seed["asks_complete"],
            )
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return iter(())
        self._seeded_us[market.symbol] = seed["received_time"]
        return iter((BookUpdate(market, outcome),))

    def _take_gap(self, record: ConsumerRecord) -> None:
        """A gap mostly shows by itself, as a hole between two updates. Where no update follows, this record alone tells of it."""
        try:
            _, gap = self._codec.decode(record.value or b"")
            symbol, last_id = gap["symbol"], gap["last_id"]
            if last_id is not None and gap["stream"] == f"depth.{symbol}":
                is_outage = gap["reason"] == _DISCONNECTED
                is_over = gap["next_time"] is not None
                has_waited = is_over if is_outage else gap["next_id"] is None
                patience = 0.0 if has_waited else GAP_PATIENCE_SECONDS
                self._gaps[symbol] = _KnownGap(
                    last_id, time.monotonic() + patience, is_outage, is_over, gap["detected_time"]
                )
        except (CodecError, KeyError) as error:
            self._tell(record, error)

    def _mark_gaps(self) -> Iterator[BookUpdate]:
        now = time.monotonic()
        for symbol, gap in list(self._gaps.items()):
            market = self.books.get(symbol)
            if market is None or market.newest_id > gap.last_id:
                del self._gaps[symbol]  # nobody's, or updates from after it are there, which show the hole themselves
            elif now >= gap.due and market.newest_id == gap.last_id:
                del self._gaps[symbol]
                yield from self._mark(market, gap)

    def _mark(self, market: MarketBook, gap: _KnownGap) -> Iterator[BookUpdate]:
        if gap.is_outage and gap.is_over:
            if self._seeded_us.get(market.symbol, 0) > gap.detected_us:
                return  # a snapshot from after the outage says that nothing was missed
            reason = f"no socket was up after update {gap.last_id}, and nothing has come since"
            yield BookUpdate(market, market.on_outage_over(reason))
        elif gap.is_outage:
            yield BookUpdate(market, market.on_outage(f"no socket is up since update {gap.last_id}"))
        elif market.status is Status.LIVE and market.last_update_id == gap.last_id:
            yield BookUpdate(market, market.on_unreadable(f"the producer lost what follows update {gap.last_id}"))

    def _not_understood(self, market: MarketBook, record: ConsumerRecord, error: Exception) -> Outcome:
        self._tell(record, error)
        return market.on_unreadable(f"the record at {record.partition}/{record.offset} cannot be read")

    def _tell(self, record: ConsumerRecord, error: Exception) -> None:
        self.undecodable_records += 1
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})

    async def _caught_up(self) -> Iterator[BookUpdate]:
        """Books show their own status once their partition has reached where it ended at the join."""
        reached = {place for place, end in self._behind.items() if await self._reader.position(place) >= end}
        released = [market for key, market in self._by_key.items() if self._place(key) in reached]
        for place in reached:
            del self._behind[place]
        for market in released:
            market.release()
        return iter([BookUpdate(market, Outcome.CAUGHT_UP) for market in released])


def _of_topic(records: Records, topic: str) -> list[list[ConsumerRecord]]:
    return [batch for partition, batch in records.items() if partition.topic == topic]
