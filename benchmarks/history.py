"""Long histories of depth updates with a book-builder's checkpoints among them, generated as fast as Kafka takes them."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from backpack_streams.books.watermark_intake import WATERMARK_TOPIC
from backpack_streams.bus.decimals import DecimalBytes
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.quick_depth import quick_depth_encoder
from backpack_streams.bus.topics import topic
from benchmarks.frames import FIRST_ID, Market, markets
from benchmarks.lab import BenchmarkError, Lab
from benchmarks.snapshots import DEPTH, SNAPSHOTS
from benchmarks.vouching import INSTANCE, vouching

MARKET_LIST: Final = "reference.market"
LEVELS_A_SIDE: Final = 500
ROUNDS_A_CHECKPOINT: Final = 494
"""Rounds of one update per market in the 15 s between two checkpoints, at 3,000 updates/s."""
_QUANTITIES = [f"{1 + n / 1000:.3f}" for n in range(997)]
_UPDATE_MICROSECONDS = 333
_BATCH_BYTES = 512 * 1024

Record = tuple[bytes, bytes, int]
"""Key, value, timestamp in milliseconds."""


class _Update:
    """An update of one level per side, reused for each record; the input of `QuickEncoder`."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.event_time = 0
        self.engine_time: int | None = 0
        self.first_update_id = self.last_update_id = 0
        self.bids: list[tuple[str, str]] | None = None
        self.asks: list[tuple[str, str]] | None = None


class History:
    """Rounds of one update per market, with consecutive ids: each sets the quantity of the best bid and of the best ask."""

    def __init__(self, lab: Lab, prefix: str) -> None:
        self._lab = lab
        self._prefix = prefix
        self._markets = markets()
        self._begun_us = time.time_ns() // 1000
        self.rounds = 0

    @property
    def updates(self) -> int:
        """The number of updates."""
        return self.rounds * len(self._markets)

    async def begin(self) -> None:
        """Create the topics and list the markets."""
        await self._lab.make_topics(self._prefix, (SNAPSHOTS, DEPTH, MARKET_LIST, "ops.gap", WATERMARK_TOPIC))
        encode = self._lab.codec.encoder("Market", self._prefix + MARKET_LIST)
        rows = [self._market_row(market) for market in self._markets]
        records = [(row["symbol"].encode(), encode(row), self._begun_us // 1000) for row in rows]
        await self._lab.publish(self._prefix + MARKET_LIST, records)

    async def grow(self, updates: int) -> None:
        """Append rounds until there are about `updates`, with the last one as far from the last checkpoint as possible.

        Raises:
            BenchmarkError: this version has another depth schema.
        """
        checkpoints = max(1, updates // (len(self._markets) * ROUNDS_A_CHECKPOINT))
        until = (checkpoints + 1) * ROUNDS_A_CHECKPOINT - 1
        producer = AIOKafkaProducer(
            bootstrap_servers=self._lab.connection.bootstrap_servers, acks=1, max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        try:
            for partition, members in self._by_partition(DEPTH).items():
                await self._send(producer, DEPTH, partition, self._updates(members, until))
            for partition, members in self._by_partition(SNAPSHOTS).items():
                await self._send(producer, SNAPSHOTS, partition, self._checkpoints(members, until))
            await producer.flush()
        finally:
            await producer.stop()
        self.rounds = until

    def vouched(self) -> AbstractAsyncContextManager[None]:
        """In this context, a producer vouches for all of it."""
        lying = self._by_partition(DEPTH)
        ends = [self.rounds * len(lying.get(number, ())) for number in range(topic(DEPTH).partitions)]
        symbols = [market.symbol for market in self._markets]
        return vouching(self._lab, self._prefix, symbols, self._begun_us, {DEPTH: ends})

    def quantity(self) -> str:
        """The quantity of each book's best bid and best ask after the last update."""
        return _QUANTITIES[(self.rounds - 1) % len(_QUANTITIES)]

    def _by_partition(self, name: str) -> dict[int, list[Market]]:
        lying: dict[int, list[Market]] = {}
        for market in self._markets:
            lying.setdefault(partition_of(market.symbol.encode(), topic(name).partitions), []).append(market)
        return lying

    def _updates(self, members: list[Market], until: int) -> Iterator[Record]:
        encode = quick_depth_encoder(self._lab.codec.encoder("DepthUpdate", self._prefix + DEPTH), "WEBSOCKET")
        if encode is None:
            raise BenchmarkError("this version's DepthUpdate is not what the benchmark writes")
        lines = []
        for market in members:
            bid, ask = market.price(market.anchor - 1).decode(), market.price(market.anchor + 1).decode()
            lines.append((market.symbol.encode(), _Update(market.symbol), bid, ask))
        for number in range(self.rounds, until):
            now_us, quantity = self._time_us(number), _QUANTITIES[number % len(_QUANTITIES)]
            for key, update, bid, ask in lines:
                update.event_time = update.engine_time = now_us
                update.first_update_id = update.last_update_id = FIRST_ID + number
                update.bids, update.asks = [(bid, quantity)], [(ask, quantity)]
                yield key, encode(update, now_us), now_us // 1000

    def _checkpoints(self, members: list[Market], until: int) -> Iterator[Record]:
        encode = self._lab.codec.encoder("BookSnapshot", self._prefix + SNAPSHOTS)
        partitions = {
            market.symbol: (number, len(others))
            for number, others in self._by_partition(DEPTH).items()
            for market in others
        }
        first = self.rounds - self.rounds % ROUNDS_A_CHECKPOINT + ROUNDS_A_CHECKPOINT
        rows = [self._checkpoint_row(market, partitions[market.symbol][0]) for market in members]
        number_bytes = DecimalBytes()
        for number in range(first, until + 1, ROUNDS_A_CHECKPOINT):
            now_us, quantity = self._time_us(number - 1), number_bytes[_QUANTITIES[(number - 1) % len(_QUANTITIES)]]
            for row in rows:
                row["bids"][0]["quantity"] = row["asks"][0]["quantity"] = quantity
                row["engine_time"] = row["received_time"] = now_us
                row["last_update_id"] = FIRST_ID + number - 1
                row["delta_offset"] = number * partitions[row["symbol"]][1]
                yield row["symbol"].encode(), encode(row), now_us // 1000

    def _checkpoint_row(self, market: Market, partition: int) -> dict[str, Any]:
        number = DecimalBytes()

        def levels(sign: int) -> list[dict[str, bytes]]:
            prices = (market.price(market.anchor + sign * n).decode() for n in range(1, LEVELS_A_SIDE + 1))
            return [{"price": number[price], "quantity": number["1.5"]} for price in prices]

        return {
            "symbol": market.symbol,
            "source": "WEBSOCKET",
            "origin": "CHECKPOINT",
            "bids": levels(-1),
            "asks": levels(1),
            "bids_complete": True,
            "asks_complete": True,
            "delta_topic": self._prefix + DEPTH,
            "delta_partition": partition,
            "seed_update_id": FIRST_ID - 1,
            "covered_by": [{"instance": INSTANCE, "since": self._begun_us}],
        }

    def _market_row(self, market: Market) -> dict[str, Any]:
        shown = market.row()
        return {
            "symbol": market.symbol,
            "source": "REST",
            "received_time": self._begun_us,
            "base_symbol": shown["baseSymbol"],
            "quote_symbol": shown["quoteSymbol"],
            "market_type": shown["marketType"],
            "order_book_state": shown["orderBookState"],
            "raw": json.dumps(shown),
        }

    def _time_us(self, number: int) -> int:
        return self._begun_us + number * len(self._markets) * _UPDATE_MICROSECONDS

    async def _send(self, producer: AIOKafkaProducer, name: str, partition: int, records: Iterable[Record]) -> None:
        full_name = self._prefix + name
        batch, sent = producer.create_batch(), None
        for key, value, timestamp in records:
            if batch.append(timestamp=timestamp, key=key, value=value) is None:
                sent = await producer.send_batch(batch, full_name, partition=partition)
                batch = producer.create_batch()
                batch.append(timestamp=timestamp, key=key, value=value)
        if batch.record_count():
            sent = await producer.send_batch(batch, full_name, partition=partition)
        if sent is not None:
            await sent
