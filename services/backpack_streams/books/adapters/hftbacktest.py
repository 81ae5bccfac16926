"""hftbacktest: its event array from depth, snapshot and trade records. Needs `hftbacktest` (extra `hftbacktest`).

    events = HftEvents("BTC_USDC_PERP")
    options = {"start": "beginning", "until": "end", "merged": True}
    async with RecordStream("127.0.0.1:19092", HftEvents.TOPICS, ["BTC_USDC_PERP"], **options) as records:
        async for record in records:
            if isinstance(record, StreamedRecord):
                events.add(record)
    numpy.savez("btc.npz", data=events.array())

The array's prices and quantities are rounded to float64, the type that hftbacktest uses.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from backpack_streams.books.adapters.live_changes import LiveChanges
from backpack_streams.books.changes import Changes
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.optional import library
from backpack_streams.books.record_levels import levels_of_record
from backpack_streams.books.record_stream import StreamedRecord
from backpack_streams.books.units import UNITS_PER_ONE, to_units

__all__ = ["HftEvents"]

_NANOS_A_MICRO = 1000
_WHOLE_SIDE = float("nan")
"""Price of a clear event that removes all levels of the side."""

_Row = tuple[int, int, int, float, float, int, int, float]


class _Times:
    """Makes times monotonic, and receive times no earlier than exchange times, as hftbacktest requires."""

    def __init__(self) -> None:
        self._exchange_ns = self._local_ns = 0

    def next(self, exchange_us: int, local_us: int) -> tuple[int, int]:
        self._exchange_ns = max(self._exchange_ns, exchange_us * _NANOS_A_MICRO)
        self._local_ns = max(self._local_ns, local_us * _NANOS_A_MICRO, self._exchange_ns)
        return self._exchange_ns, self._local_ns


class HftEvents:
    """Collects the events of one market. It builds the book itself, so the array holds only states known to be right.

    `exch_ts` is the engine time, `local_ts` the receive time of our socket, both in ns. A snapshot becomes a clear of both sides and depth
    snapshot events, placed by the exchange's order, not by the time of the REST answer; a gap in the updates clears both sides until
    the next snapshot. Read the records with `RecordStream(..., merged=True)`: without a merge, a snapshot fetched before the updates
    that precede it would leave them out.
    """

    TOPICS: ClassVar = ("market.depth", "market.book_snapshot", "market.trade")
    """Topics to read."""

    def __init__(self, symbol: str) -> None:
        """Load the library.

        Raises:
            UsageError: hftbacktest is not installed.

        """
        self._types = library("hftbacktest.types", "hftbacktest")
        self._numpy = library("numpy", "hftbacktest")
        self._market = MarketBook(symbol)
        self._changes = LiveChanges()
        self._depth: list[_Row] = []
        self._trades: list[_Row] = []
        self._depth_times, self._trade_times = _Times(), _Times()

    def __len__(self) -> int:
        return len(self._depth) + len(self._trades)

    def add(self, record: StreamedRecord[Any]) -> None:
        """Take a DepthUpdate, BookSnapshot or Trade of this market, in the order of a merged stream; ignores other records.

        Raises:
            BookError: levels of the record cannot be decoded.

        """
        if record.symbol != self._market.symbol:
            return
        value = record.value
        if record.name == "Trade":
            self._add_trade(value)
        elif record.name == "DepthUpdate":
            bids, asks = levels_of_record(value, "bids"), levels_of_record(value, "asks")
            first_id, last_id = value["first_update_id"], value["last_update_id"]
            self._market.on_update(first_id, last_id, value["engine_time"], bids, asks)
            self._take(_exchange_us(value), value["received_time"])
        elif record.name == "BookSnapshot":
            self._market.on_snapshot(
                value["last_update_id"],
                value["engine_time"],
                levels_of_record(value, "bids"),
                levels_of_record(value, "asks"),
                bids_complete=value["bids_complete"],
                asks_complete=value["asks_complete"],
            )
            # The current levels, waiting updates included, are as of the book's own time.
            moment = self._market.engine_time or _exchange_us(value)
            self._take(moment, moment)

    def array(self) -> Any:
        """Return the events so far as an array of hftbacktest's `event_dtype`, in its order.

        If the order of receipt differs from the exchange's, an event appears twice, once for each side.
        """
        data = self._numpy.array(self._depth + self._trades, dtype=self._types.event_dtype)
        by_exchange = self._numpy.lexsort((data["local_ts"], data["exch_ts"])).tolist()
        by_receipt = self._numpy.lexsort((data["exch_ts"], data["local_ts"])).tolist()
        places, flags = self._merged(by_exchange, by_receipt, data["exch_ts"].tolist())
        merged = data[places]
        merged["ev"] |= self._numpy.array(flags, dtype=merged["ev"].dtype)
        return merged

    def _merged(
        self, by_exchange: list[int], by_receipt: list[int], exchange_ns: list[int]
    ) -> tuple[list[int], list[int]]:
        """Merge both orders in one pass: returns the index of each next event, and the flags of the side that it happens on."""
        exchange, local = self._types.EXCH_EVENT, self._types.LOCAL_EVENT
        places: list[int] = []
        flags: list[int] = []
        sent = received = 0
        while received < len(by_receipt):  # an event is received after it was sent, so this order ends last
            ours = by_receipt[received]
            theirs = by_exchange[sent] if sent < len(by_exchange) else None
            if theirs == ours:
                places.append(ours)
                flags.append(exchange | local)
                sent += 1
                received += 1
            elif theirs is not None and exchange_ns[theirs] <= exchange_ns[ours]:
                places.append(theirs)
                flags.append(exchange)
                sent += 1
            else:
                places.append(ours)
                flags.append(local)
                received += 1
        return places, flags

    def _add_trade(self, value: Mapping[str, Any]) -> None:
        types = self._types
        times = self._trade_times.next(_exchange_us(value), value["received_time"])
        taker = types.SELL_EVENT if value["is_buyer_maker"] else types.BUY_EVENT
        price, quantity = to_units(value["price"]), to_units(value["quantity"])
        self._trades.append(self._row(types.TRADE_EVENT | taker, times, price / UNITS_PER_ONE, quantity))

    def _take(self, exchange_us: int, local_us: int) -> None:
        changes = self._changes.take(self._market.view)
        if changes is not None:
            self._add_depth(changes, self._depth_times.next(exchange_us, local_us))

    def _add_depth(self, changes: Changes, times: tuple[int, int]) -> None:
        types, add = self._types, self._depth.append
        sides = ((types.BUY_EVENT, changes.bid_units), (types.SELL_EVENT, changes.ask_units))
        kind = types.DEPTH_SNAPSHOT_EVENT if changes.is_reset else types.DEPTH_EVENT
        for side, _ in sides if changes.is_reset else ():
            add(self._row(types.DEPTH_CLEAR_EVENT | side, times, _WHOLE_SIDE, 0))
        # Deletions come first, so that a follower's book is never crossed in between.
        for is_gone in (True, False):
            for side, levels in sides:
                for price, quantity, _ in levels:
                    if (not quantity) is is_gone:
                        add(self._row(kind | side, times, price / UNITS_PER_ONE, quantity))

    def _row(self, event: int, times: tuple[int, int], price: float, quantity_units: int) -> _Row:
        return (event, *times, price, quantity_units / UNITS_PER_ONE, 0, 0, 0.0)


def _exchange_us(value: Mapping[str, Any]) -> int:
    """Return the engine time, otherwise the event time, otherwise the receive time, in µs."""
    times = (value["engine_time"], value["event_time"], value["received_time"])
    return int(next(time for time in times if time is not None))
