"""Renders one market's stream frames as the exchange's JSON text, from integers and without a JSON encoder.

The order of keys varies from frame to frame, as it does on the wire: `data` first with its keys sorted, or
`stream` first with its keys in the documented order.
"""

from backpack_sandbox.candles import Candle
from backpack_sandbox.decimals import padded
from backpack_sandbox.intervals import naive_iso
from backpack_sandbox.listings import Listing

Frame = tuple[str, bytes]
"""A stream's name and the text of one frame on it."""

Times = tuple[int, int]
"""Event time and engine time of a frame, µs since the Unix epoch."""

_CACHED_TEXTS = 200_000
_QUANTITIES: dict[int, dict[int, str]] = {}
"""Cached texts of quantities by their places; markets share them."""


class FrameWriter:
    """Renders frames of one market. Prices are in ticks, quantities in steps, times in µs since the Unix epoch.

    Args:
        listing: the market; its places decide how many decimals a price and a quantity have on the wire.
    """

    def __init__(self, listing: Listing) -> None:
        symbol = listing.symbol
        self.symbol = symbol
        self._price_places = listing.price_places
        self._quantity_places = listing.quantity_places
        self._prices: dict[int, str] = {}
        self._quantities = _QUANTITIES.setdefault(listing.quantity_places, {})
        self._depth = f"depth.{symbol}"
        self._book_ticker = f"bookTicker.{symbol}"
        self._trade = f"trade.{symbol}"
        self._depth_tail = f'"e":"depth","s":"{symbol}","u":'
        self._depth_head = f'{{"stream":"depth.{symbol}","data":{{"e":"depth","E":'
        self._depth_end = f'}},"stream":"depth.{symbol}"}}'

    def price(self, tick: int) -> str:
        """Return a price padded to the market's places."""
        text = self._prices.get(tick)
        if text is None:
            if len(self._prices) > _CACHED_TEXTS:
                self._prices.clear()
            text = self._prices[tick] = padded(tick, self._price_places)
        return text

    def quantity(self, steps: int) -> str:
        """Return a quantity padded to the market's places; zero too, as in `"0.00000"`."""
        text = self._quantities.get(steps)
        if text is None:
            if len(self._quantities) > _CACHED_TEXTS:
                self._quantities.clear()
            text = self._quantities[steps] = padded(steps, self._quantity_places)
        return text

    def _side(self, levels: dict[int, int]) -> str:
        price, quantity = self._prices.get, self._quantities.get
        if len(levels) == 1:  # most frames
            ((tick, steps),) = levels.items()
            return f'["{price(tick) or self.price(tick)}","{quantity(steps) or self.quantity(steps)}"]'
        return ",".join(
            [
                f'["{price(tick) or self.price(tick)}","{quantity(steps) or self.quantity(steps)}"]'
                for tick, steps in levels.items()
            ]
        )

    def depth(self, times: Times, ids: tuple[int, int], asks: dict[int, int], bids: dict[int, int]) -> Frame:
        """Return a realtime depth frame; either side may be empty.

        Args:
            times: event time (`E`) and engine time (`T`), µs since the Unix epoch.
            ids: first (`U`) and last (`u`) update id of the frame.
            asks: the new quantity in steps of each changed level, by tick; 0 deletes the level.
            bids: the same for bids.
        """
        event, engine = times
        first, last = ids
        a = self._side(asks) if asks else ""
        b = self._side(bids) if bids else ""
        if event & 2:
            text = f'{{"data":{{"E":{event},"T":{engine},"U":{first},"a":[{a}],"b":[{b}],{self._depth_tail}{last}{self._depth_end}'
        else:
            text = f'{self._depth_head}{event},"s":"{self.symbol}","a":[{a}],"b":[{b}],"U":{first},"u":{last},"T":{engine}}}}}'
        return self._depth, text.encode()

    def window_depth(
        self, window: str, times: Times, ids: tuple[int, int], asks: dict[int, int], bids: dict[int, int]
    ) -> Frame:
        """Return a frame of an aggregated depth stream: a depth frame on a stream of another name.

        Args:
            window: the window in the stream's name, such as `200ms`.
            times: event time and engine time, µs since the Unix epoch.
            ids: first and last update id of the window.
            asks: the last quantity in steps of each level that changed in the window, by tick.
            bids: the same for bids.
        """
        stream, payload = self.depth(times, ids, asks, bids)
        name = f"depth.{window}.{self.symbol}"
        return name, payload.replace(f'"stream":"{stream}"'.encode(), f'"stream":"{name}"'.encode())

    def book_ticker(self, times: Times, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> Frame:
        """Return the best prices and quantities.

        Args:
            times: event time and engine time, µs since the Unix epoch.
            update_id: last update id of the depth frame that changed the best levels.
            bid: tick and steps; tick 0 means that the side is empty (null on the wire).
            ask: the same for asks.
        """
        event, engine = times
        b, bq = (f'"{self.price(bid[0])}"', f'"{self.quantity(bid[1])}"') if bid[0] else ("null", "null")
        a, aq = (f'"{self.price(ask[0])}"', f'"{self.quantity(ask[1])}"') if ask[0] else ("null", "null")
        if event & 2:
            data = f'"A":{aq},"B":{bq},"E":{event},"T":{engine},"a":{a},"b":{b},"e":"bookTicker","s":"{self.symbol}","u":{update_id}'
        else:
            data = f'"e":"bookTicker","E":{event},"s":"{self.symbol}","a":{a},"A":{aq},"b":{b},"B":{bq},"u":{update_id},"T":{engine}'
        return self._enveloped(self._book_ticker, data, event)

    def trade(self, times: Times, trade_id: int, tick: int, steps: int, buyer_is_maker: bool) -> Frame:
        """Return a trade. The taker's order is the newer of the two, so its id is the higher one.

        Args:
            times: event time and engine time, µs since the Unix epoch.
            trade_id: the trade's id; the ids of the orders are derived from it.
            tick: price in ticks.
            steps: quantity in steps.
            buyer_is_maker: whether the resting order was the bid.
        """
        event, engine = times
        p, q, m = self.price(tick), self.quantity(steps), "true" if buyer_is_maker else "false"
        buyer, seller = trade_id * 2 + (not buyer_is_maker), trade_id * 2 + buyer_is_maker
        if event & 2:
            data = (
                f'"E":{event},"T":{engine},"a":"{seller}","b":"{buyer}","e":"trade","m":{m},'
                f'"p":"{p}","q":"{q}","s":"{self.symbol}","t":{trade_id}'
            )
        else:
            data = (
                f'"e":"trade","E":{event},"s":"{self.symbol}","p":"{p}","q":"{q}",'
                f'"b":"{buyer}","a":"{seller}","t":{trade_id},"T":{engine},"m":{m}'
            )
        return self._enveloped(self._trade, data, event)

    def liquidation(self, stream: str, times: Times, tick: int, steps: int, side: str) -> Frame:
        """Return a liquidation.

        Args:
            stream: `liquidation` or `liquidation.<symbol>`.
            times: event time and engine time, µs since the Unix epoch.
            tick: price in ticks.
            steps: quantity in steps.
            side: `Bid` or `Ask`.
        """
        event, engine = times
        data = (
            f'"E":{event},"S":"{side}","T":{engine},"e":"liquidation","p":"{self.price(tick)}",'
            f'"q":"{self.quantity(steps)}","s":"{self.symbol}"'
        )
        return self._enveloped(stream, data, event)

    def ticker(self, event: int, day: Candle) -> Frame:
        """Return the figures of the last 24 hours.

        Args:
            event: event time, µs since the Unix epoch.
            day: the 24 hours as one candle.
        """
        quote = padded(day.quote, self._price_places + self._quantity_places)
        data = (
            f'"E":{event},"V":"{quote}","c":"{self.price(day.close)}","e":"ticker","h":"{self.price(day.high)}",'
            f'"l":"{self.price(day.low)}","n":{day.trades},"o":"{self.price(day.open)}","s":"{self.symbol}",'
            f'"v":"{self.quantity(day.volume)}"'
        )
        return self._enveloped(f"ticker.{self.symbol}", data, event)

    def external_ticker(self, event: int, prices: tuple[int, int, int, int], volume: int, trades: int) -> Frame:
        """Return a provider's figures, ticker-shaped. The quote volume is the volume at the last price.

        Args:
            event: event time, µs since the Unix epoch.
            prices: first, highest, lowest and last price, in ticks.
            volume: traded quantity, in steps.
            trades: number of trades.
        """
        first, high, low, last = map(self.price, prices)
        v, quote = self.quantity(volume), padded(volume * prices[3], self._price_places + self._quantity_places)
        if event & 4:
            data = (
                f'"E":{event},"V":"{quote}","c":"{last}","e":"externalTicker","h":"{high}","l":"{low}","n":{trades},"o":"{first}",'
                f'"s":"{self.symbol}","v":"{v}"'
            )
        else:
            data = (
                f'"e":"externalTicker","E":{event},"s":"{self.symbol}","o":"{first}","c":"{last}","h":"{high}","l":"{low}",'
                f'"v":"{v}","V":"{quote}","n":{trades}'
            )
        return self._enveloped(f"externalTicker.{self.symbol}", data, event)

    def kline(self, interval: str, event: int, candle: Candle, closed: bool) -> Frame:
        """Return a candle; prices are null while nothing traded. `T` is the start of the next candle.

        Args:
            interval: the interval in the stream's name, such as `1m`.
            event: event time, µs since the Unix epoch.
            candle: its `t` and `T` are in UTC, ISO 8601 without a zone.
            closed: whether the candle is complete (`X`).
        """
        if candle.trades:
            open_, high, low, close = (
                f'"{padded(tick, self._price_places)}"' for tick in (candle.open, candle.high, candle.low, candle.close)
            )
        else:
            open_ = high = low = close = "null"
        x = "true" if closed else "false"
        data = (
            f'"E":{event},"T":"{naive_iso(candle.end_seconds)}","X":{x},"c":{close},"e":"kline","h":{high},"l":{low},'
            f'"n":{candle.trades},"o":{open_},"s":"{self.symbol}","t":"{naive_iso(candle.start_seconds)}",'
            f'"v":"{self.quantity(candle.volume)}"'
        )
        return self._enveloped(f"kline.{interval}.{self.symbol}", data, event)

    def mark_price(
        self, times: Times, mark: str, index: str | None, funding: str | None, next_funding_ms: int | None
    ) -> Frame:
        """Return the mark price; index, funding rate and funding time are omitted if None.

        Args:
            times: event time and engine time, µs since the Unix epoch.
            mark: mark price as decimal text.
            index: index price as decimal text.
            funding: funding rate as decimal text.
            next_funding_ms: when funding is next paid (`n`), ms since the Unix epoch.
        """
        event, engine = times
        f = f'"f":"{funding}",' if funding is not None else ""
        i = f'"i":"{index}",' if index is not None else ""
        n = f'"n":{next_funding_ms},' if next_funding_ms is not None else ""
        data = f'"E":{event},"T":{engine},"e":"markPrice",{f}{i}{n}"p":"{mark}","s":"{self.symbol}"'
        return self._enveloped(f"markPrice.{self.symbol}", data, event)

    def open_interest(self, event: int, contracts: int) -> Frame:
        """Return the open interest.

        Args:
            event: event time, µs since the Unix epoch.
            contracts: open interest in contracts (steps).
        """
        data = f'"e":"openInterest","E":{event},"s":"{self.symbol}","o":"{self.quantity(contracts)}"'
        return self._enveloped(f"openInterest.{self.symbol}", data, event)

    @staticmethod
    def _enveloped(stream: str, data: str, event: int) -> Frame:
        return enveloped(stream, data, event)


def enveloped(stream: str, data: str, event: int) -> Frame:
    """Return the frame with these fields.

    Args:
        stream: full name of the stream.
        data: the fields of `data` as JSON text, without the braces.
        event: event time in µs; it decides whether `data` or `stream` comes first.
    """
    if event & 2:
        return stream, f'{{"data":{{{data}}},"stream":"{stream}"}}'.encode()
    return stream, f'{{"stream":"{stream}","data":{{{data}}}}}'.encode()
