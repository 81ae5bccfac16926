"""All synthetic markets together: their turns, the frames that are due by the clock, and their answers for REST.

Sans I/O: time is an argument, frames are return values.
"""

import random
import zlib
from collections import Counter
from dataclasses import replace
from typing import Any

from backpack_sandbox.candles import Candle
from backpack_sandbox.frames import Frame
from backpack_sandbox.ledger import LEDGER_INTERVAL, Ledger, Said
from backpack_sandbox.listings import BYSTANDERS, EVERY_KIND, Listing, opened_listing, synthetic_listings
from backpack_sandbox.market import SyntheticMarket
from backpack_sandbox.past import mixed
from backpack_sandbox.perpetual import Perpetual
from backpack_sandbox.stocks import Provider
from backpack_sandbox.streams import DEPTH_WINDOWS_MS, StreamName, parse_stream
from backpack_sandbox.views import BookView
from backpack_sandbox.windows import DepthWindow

_TURNS = 4099
_SLOTS = 20
_SLOT_US = 1_000_000 // _SLOTS


class SyntheticVenue:
    """Markets that move by a seeded random walk; see `SyntheticMarket`.

    Args:
        count: number of open markets.
        seed: determines every move.
        start_us: wall clock at the start, µs since the Unix epoch.
        open_interest_us: time between two openInterest frames of a market, µs.
        every_kind: whether there is also a market of every other type.
        ledger: keeps all messages, if given.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        start_us: int,
        open_interest_us: int = 60_000_000,
        every_kind: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self._seed = seed
        self.ledger = ledger
        self._delisted: dict[str, Listing] = {}
        self._weights: dict[str, float] = {}
        self._start_us = start_us
        self._open_interest_us = open_interest_us
        self._listings: dict[str, Listing] = {}
        self.markets: dict[str, SyntheticMarket] = {}
        self._perpetuals: dict[str, Perpetual] = {}
        self._watched: set[str] = set()
        self._windowed: set[str] = set()
        self._provider = Provider(seed)
        self._quoted: set[str] = set()
        self._turns: list[SyntheticMarket] = []
        self._turn = 0
        self._slot = start_us // _SLOT_US
        self._interest_slot = start_us // open_interest_us
        opened = [*synthetic_listings(count), *(EVERY_KIND if every_kind else ())]
        for listing in [*opened, *BYSTANDERS]:
            self._listings[listing.symbol] = listing
        for listing in opened:
            self._open(listing, start_us)
        self._deal_turns()

    def _open(self, listing: Listing, now_us: int, first_id: int | None = None) -> None:
        self._listings[listing.symbol] = listing
        if not listing.has_book:
            return
        self.markets[listing.symbol] = market = SyntheticMarket(listing, self._seed, now_us, first_id)
        if listing.has_mark_price:
            key = mixed(self._seed + 1, zlib.crc32(listing.symbol.encode()))
            self._perpetuals[listing.symbol] = Perpetual(market, key)
        if self.ledger is not None:
            self._keep_ledger(self.ledger, market, now_us)

    @staticmethod
    def _keep_ledger(ledger: Ledger, market: SyntheticMarket, now_us: int) -> None:
        book = market.bids.levels, market.asks.levels
        market.listed = listed = ledger.begin(market.listing, now_us, market.last_update_id, book)

        def note(interval: str, candle: Candle, event_us: int) -> None:
            start = candle.start_seconds
            listed.note(f"kline.{interval}", Said(event_us, event_us, start, start))

        market.history.on_closed = note
        market.history.watch(LEDGER_INTERVAL, now_us)

    def _open_markets(self) -> list[SyntheticMarket]:
        return [market for symbol, market in self.markets.items() if self._is_open(symbol)]

    def _is_open(self, symbol: str) -> bool:
        listing = self._listings.get(symbol)
        return listing is not None and listing.state == "Open"

    def _deal_turns(self) -> None:
        markets = [each for each in self._open_markets() if self._weights.get(each.listing.symbol, 1)]
        order = random.Random(self._seed)
        if not markets:
            self._turns = []
        elif self._weights:
            weights = [self._weights.get(each.listing.symbol, 1) for each in markets]
            self._turns = order.choices(markets, weights, k=_TURNS)
        else:
            self._turns = [*markets, *(order.choice(markets) for _ in range(_TURNS))]
        self._turn = 0

    def pace(self, symbol: str, weight: float) -> bool:
        """Give a market `weight` turns for each turn of the others; with 0 it sends only what is due by the clock."""
        if symbol not in self.markets:
            return False
        self._weights[symbol] = weight
        self._deal_turns()
        return True

    def advance(self, count: int, now_us: int, symbol: str | None = None) -> list[Frame]:
        """Take `count` actions, one depth frame each, in one market or in all of them by turns."""
        frames: list[Frame] = []
        if symbol is not None:
            market = self.markets.get(symbol)
            if market is not None and self._is_open(symbol):
                for _ in range(count):
                    frames += market.step(now_us)
            return frames
        turns, turn = self._turns, self._turn
        if not turns:
            return frames
        for _ in range(count):
            frames += turns[turn].step(now_us)
            turn += 1
            if turn == len(turns):
                turn = 0
        self._turn = turn
        return frames

    def by_the_clock(self, now_us: int) -> list[Frame]:
        """Return frames that are due by time: tickers, mark prices and candles once a second, windows, open interest."""
        frames: list[Frame] = []
        for symbol in self._windowed:
            market = self.markets[symbol]
            for window in market.windows.values():
                frame = window.due(now_us, market.writer)
                if frame:
                    frames.append(frame)
        slot = now_us // _SLOT_US
        if slot > self._slot:
            markets = self._open_markets()
            for due in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
                for market in markets[due % _SLOTS :: _SLOTS]:
                    self._every_second(market, now_us, frames)
                if due % _SLOTS == 0:
                    frames += [self._provider.quote(ticker, now_us) for ticker in sorted(self._quoted)]
            self._slot = slot
        if now_us // self._open_interest_us > self._interest_slot:
            self._interest_slot = now_us // self._open_interest_us
            for market in self._open_markets():
                if market.listed is not None and market.listing.is_future:
                    market.listed.note("openInterest", Said(now_us, now_us))
                if "openInterest" in market.wanted and market.listing.is_future:
                    frames.append(self._perpetuals[market.listing.symbol].open_interest_frame(now_us))
        return frames

    def _every_second(self, market: SyntheticMarket, now_us: int, frames: list[Frame]) -> None:
        wanted = market.wanted
        if market.listed is not None:
            if market.history.day().trades:
                market.listed.note("ticker", Said(now_us, now_us))
            if market.listing.has_mark_price:
                market.listed.note("markPrice", Said(now_us, now_us))
        if "ticker" in wanted and market.history.day().trades:
            frames.append(market.writer.ticker(now_us, market.history.day()))
        if "externalTicker" in wanted and market.listing.rwa_market_type:
            frames.append(self._provider.ticker(market.listing, market.writer, now_us))
        if "markPrice" in wanted and market.listing.has_mark_price:
            frames.append(self._perpetuals[market.listing.symbol].mark_frame(now_us))
        frames += market.history.kline_frames(now_us, market.writer)

    def watch(self, stream: str, now_us: int) -> None:
        """Begin to make the frames of a stream."""
        name = parse_stream(stream)
        if not isinstance(name, StreamName) or name.private:
            return
        self._watched.add(stream)
        if self.ledger is not None:
            self.ledger.subscribed(stream, now_us)
        if name.symbol is None:
            for market in self.markets.values():
                market.wanted.add("liquidation.all")
        elif name.kind == "stockPrice":
            if self._provider.knows(name.symbol):
                self._quoted.add(name.symbol)
        elif name.symbol in self.markets and self._is_open(name.symbol):
            self._watch(self.markets[name.symbol], name.kind, now_us)

    def _watch(self, market: SyntheticMarket, kind: str, now_us: int) -> None:
        channel, _, detail = kind.partition(".")
        if detail in DEPTH_WINDOWS_MS:
            market.windows.setdefault(detail, DepthWindow(detail, now_us))
            self._windowed.add(market.listing.symbol)
        elif channel == "kline":
            market.history.watch(detail, now_us)
        else:
            market.wanted.add(kind)

    def unwatch(self, stream: str) -> None:
        """Stop making the frames of a stream."""
        self._watched.discard(stream)
        name = parse_stream(stream)
        if not isinstance(name, StreamName) or name.private:
            return
        if name.symbol is None:
            for market in self.markets.values():
                market.wanted.discard("liquidation.all")
        elif name.kind == "stockPrice":
            self._quoted.discard(name.symbol)
        elif name.symbol in self.markets:
            market = self.markets[name.symbol]
            channel, _, detail = name.kind.partition(".")
            market.wanted.discard(name.kind)
            market.windows.pop(detail, None)
            if channel == "kline" and not (market.listed is not None and detail == LEDGER_INTERVAL):
                market.history.unwatch(detail)

    def list_market(self, symbol: str, now_us: int, first_id: int | None = None) -> bool:
        """Open a new market, or reopen a closed one with a new book; its ids begin at `first_id` if given."""
        known = self._listings.get(symbol) or self._delisted.pop(symbol, None)
        if known is not None and known.state == "Open":
            return False
        opened = opened_listing(symbol) if known is None else replace(known, state="Open")
        self._open(opened, now_us, first_id)
        self._deal_turns()
        for stream in list(self._watched):
            name = parse_stream(stream)
            if isinstance(name, StreamName) and name.symbol in (symbol, None):
                self.watch(stream, now_us)
        return True

    def delist_market(self, symbol: str, now_us: int, gone: bool = False) -> bool:
        """Close a market. It stays on the list as closed, or is removed from the list (`gone`)."""
        known = self._listings.get(symbol)
        if known is None:
            return False
        if self.ledger is not None:
            self.ledger.end(symbol, now_us)
        self._listings[symbol] = known.closed()
        if gone:
            self._delisted[symbol] = self._listings.pop(symbol)
        if symbol in self.markets:
            self.markets[symbol].wanted.clear()
            self.markets[symbol].windows.clear()
        self._windowed.discard(symbol)
        self._deal_turns()
        return True

    def listings(self) -> list[Listing]:
        """Return every market, in the order of `/markets`."""
        return list(self._listings.values())

    def listing(self, symbol: str) -> Listing | None:
        """Return one market; None if there is none of that name."""
        return self._listings.get(symbol)

    def book_symbols(self) -> list[str]:
        """Return the symbols of open markets."""
        return [market.listing.symbol for market in self._open_markets()]

    def book(self, symbol: str, behind: int = 0) -> BookView | None:
        """Return a market's book; an empty one for a market that is only listed."""
        market = self.markets.get(symbol)
        if market is not None and symbol in self._listings:
            return market.view(behind)
        listing = self._listings.get(symbol)
        return BookView(symbol, [], [], 1, self._start_us) if listing and listing.has_book else None

    def sequences(self) -> dict[str, Any]:
        """Return ids of depth frames and trades by symbol. `first_update_id` is the U of the first frame."""
        return {
            symbol: {
                "depth": {
                    "first_update_id": market.first_update_id + 1,
                    "last_update_id": market.last_update_id,
                    "frames": market.depth_frames,
                },
                "trades": {
                    "first_id": market.first_trade_id,
                    "last_id": market.history.next_trade_id - 1,
                    "count": market.history.next_trade_id - market.first_trade_id,
                },
            }
            for symbol, market in self.markets.items()
        }

    def produced(self) -> dict[str, int]:
        """Return the number of depth, trade and bookTicker frames so far."""
        made: Counter[str] = Counter({"depth": 0, "trade": 0, "bookTicker": 0})
        for market in self.markets.values():
            made["depth"] += market.depth_frames
            made["trade"] += market.history.next_trade_id - market.first_trade_id
            made["bookTicker"] += market.book_ticker_frames
        return dict(made)

    def trades(self, symbol: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return trades, newest first."""
        market = self.markets.get(symbol)
        return market.history.trades(offset, limit) if market else []

    def ticker(self, symbol: str, interval: str = "1d") -> dict[str, Any] | None:
        """Return figures of an open market's last day or week."""
        market = self.markets.get(symbol)
        return market.history.ticker_row(interval) if market and self._is_open(symbol) else None

    def mark_price(self, symbol: str, now_us: int) -> dict[str, Any] | None:
        """Return the mark price of a future or a prediction market."""
        perpetual = self._perpetuals.get(symbol)
        return perpetual.mark_row(now_us) if perpetual else None

    def open_interest(self, symbol: str, now_us: int) -> dict[str, Any] | None:
        """Return the open interest of a future."""
        perpetual = self._perpetuals.get(symbol)
        return perpetual.open_interest_row(now_us) if perpetual and perpetual.listing.is_future else None

    def funding_rates(self, symbol: str, offset: int, limit: int, now_us: int) -> tuple[list[dict[str, Any]], int]:
        """Return funding intervals of a perpetual."""
        perpetual = self._perpetuals.get(symbol)
        is_funded = perpetual is not None and perpetual.listing.is_perp
        return perpetual.funding_rows(offset, limit, now_us) if perpetual and is_funded else ([], 0)

    def klines(
        self, symbol: str, interval: str, from_seconds: int, to_seconds: int, now_us: int
    ) -> list[dict[str, Any]]:
        """Return candles of a market."""
        market = self.markets.get(symbol)
        return market.history.klines(interval, from_seconds, to_seconds, now_us // 1_000_000) if market else []

    def recorded_body(self, path: str) -> bytes | None:
        """Return None: no answers are recorded here."""
        return None
