"""A recording as a venue: plays its frames in order and keeps its own books, trades and figures while it plays.

Sans I/O. The books here are the truth that tests compare with: one dict per side keyed by Decimal, the recorded
snapshot with every later update applied.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from backpack_sandbox.decimals import plain
from backpack_sandbox.intervals import naive_iso
from backpack_sandbox.listings import Listing
from backpack_sandbox.recording import RecordedFrame, Recording
from backpack_sandbox.streams import StreamName, parse_stream
from backpack_sandbox.views import BookView

_DATED = re.compile(r"_\d{6}\Z")
_TRADES_KEPT = 10_000
_UNDO_FRAMES = 512

Side = dict[Decimal, Decimal]


@dataclass(slots=True)
class ReplayedBook:
    """One symbol's book: the snapshot until an update with a higher id is played, then the snapshot plus updates."""

    bids: Side
    asks: Side
    last_update_id: int
    engine_us: int
    undo: deque[tuple[int, int, list[tuple[bool, Decimal, Decimal]]]] = field(
        default_factory=lambda: deque(maxlen=_UNDO_FRAMES)
    )

    def apply(self, data: dict[str, Any]) -> None:
        """Apply a depth update, unless the book includes it already."""
        if int(data["u"]) <= self.last_update_id:
            return
        before: list[tuple[bool, Decimal, Decimal]] = []
        for bid, side, changes in ((True, self.bids, data["b"]), (False, self.asks, data["a"])):
            for price_text, quantity_text in changes:
                price, quantity = Decimal(price_text), Decimal(quantity_text)
                before.append((bid, price, side.get(price, Decimal(0))))
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.undo.append((self.last_update_id, self.engine_us, before))
        self.last_update_id, self.engine_us = int(data["u"]), int(data["T"])

    def view(self, symbol: str, behind: int) -> BookView:
        """Return the whole book, or the book about `behind` update ids ago."""
        bids, asks, last_id, engine_us = dict(self.bids), dict(self.asks), self.last_update_id, self.engine_us
        for earlier_id, earlier_us, before in reversed(self.undo):
            if last_id <= self.last_update_id - behind:
                break
            for bid, price, quantity in reversed(before):
                (bids if bid else asks)[price] = quantity
            last_id, engine_us = earlier_id, earlier_us
        return BookView.of_decimals(symbol, bids, asks, last_id, engine_us)


@dataclass(slots=True)
class _Sequence:
    first_update_id: int | None = None
    last_update_id: int | None = None
    frames: int = 0
    first_id: int | None = None
    last_id: int | None = None
    count: int = 0

    def shown(self) -> dict[str, Any]:
        depth = {"first_update_id": self.first_update_id, "last_update_id": self.last_update_id, "frames": self.frames}
        return {"depth": depth, "trades": {"first_id": self.first_id, "last_id": self.last_id, "count": self.count}}


class RecordedVenue:
    """Answers from what has been played so far."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._listings = {symbol: _listing(symbol) for symbol in recording.symbols}
        self._books = {symbol: _seeded(snapshot.body) for symbol, snapshot in recording.snapshots.items()}
        self._sequences = {symbol: _Sequence() for symbol in self._listings}
        self._trades: dict[str, deque[dict[str, Any]]] = {}
        self._latest: dict[tuple[str, str], dict[str, Any]] = {}
        self._klines: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._produced: Counter[str] = Counter()

    def play(self, frame: RecordedFrame) -> None:
        """Record a frame that is sent now."""
        name = parse_stream(frame.stream) if frame.stream else None
        if not isinstance(name, StreamName):
            return
        self._produced[name.kind] += 1
        symbol, data = name.symbol, frame.data
        if symbol is None:
            return
        if name.kind == "depth":
            self._depth(symbol, data)
        elif name.kind == "trade":
            self._trade(symbol, data)
        elif name.kind.startswith("kline."):
            self._klines.setdefault((symbol, name.kind.removeprefix("kline.")), {})[str(data["t"])] = data
        else:
            self._latest[symbol, name.kind] = data

    def closed_to(self, frame: RecordedFrame) -> bool:
        """Whether the frame's market was closed by a fault during the playback."""
        name = parse_stream(frame.stream) if frame.stream else None
        listing = self._listings.get(name.symbol or "") if isinstance(name, StreamName) else None
        return listing is not None and listing.state == "Closed"

    def _depth(self, symbol: str, data: dict[str, Any]) -> None:
        sequence = self._sequences[symbol]
        sequence.frames += 1
        if sequence.first_update_id is None:
            sequence.first_update_id = int(data["U"])
        sequence.last_update_id = int(data["u"])
        if symbol in self._books:
            self._books[symbol].apply(data)

    def _trade(self, symbol: str, data: dict[str, Any]) -> None:
        sequence = self._sequences[symbol]
        sequence.count += 1
        if sequence.first_id is None:
            sequence.first_id = int(data["t"])
        sequence.last_id = int(data["t"])
        self._trades.setdefault(symbol, deque(maxlen=_TRADES_KEPT)).appendleft(data)

    def listings(self) -> list[Listing]:
        """Return the markets of the recording's symbols."""
        return list(self._listings.values())

    def listing(self, symbol: str) -> Listing | None:
        """Return one of them; None if there is none of that name."""
        return self._listings.get(symbol)

    def book_symbols(self) -> list[str]:
        """Return the symbols that have a snapshot."""
        return list(self._books)

    def book(self, symbol: str, behind: int = 0) -> BookView | None:
        """Return a symbol's book; None if the recording has no snapshot of it."""
        book = self._books.get(symbol)
        return book.view(symbol, behind) if book else None

    def sequences(self) -> dict[str, Any]:
        """Return the ids played so far."""
        return {symbol: sequence.shown() for symbol, sequence in self._sequences.items()}

    def produced(self) -> dict[str, int]:
        """Return the number of frames played so far, by kind."""
        return dict(self._produced)

    def trades(self, symbol: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return trades played so far, newest first."""
        return [_trade_row(data) for data in list(self._trades.get(symbol, ()))[offset : offset + limit]]

    def ticker(self, symbol: str, interval: str = "1d") -> dict[str, Any] | None:
        """Return figures of the latest ticker frame, else of the trades so far; no recording lasts longer than a day."""
        data = self._latest.get((symbol, "ticker"))
        if data is not None:
            first, last = Decimal(data["o"]), Decimal(data["c"])
            figures = Decimal(data["h"]), Decimal(data["l"]), Decimal(data["v"]), Decimal(data["V"])
            return _ticker_row(symbol, first, last, figures, int(data["n"]))
        trades = self._trades.get(symbol)
        if not trades:
            return None
        prices = [Decimal(trade["p"]) for trade in trades]
        volume = sum((Decimal(trade["q"]) for trade in trades), Decimal(0))
        quote = sum((Decimal(trade["q"]) * Decimal(trade["p"]) for trade in trades), Decimal(0))
        return _ticker_row(symbol, prices[-1], prices[0], (max(prices), min(prices), volume, quote), len(trades))

    def mark_price(self, symbol: str, now_us: int) -> dict[str, Any] | None:
        """Return the latest mark price; None if none was played."""
        data = self._latest.get((symbol, "markPrice"))
        if data is None:
            return None
        row: dict[str, Any] = {"markPrice": plain(Decimal(data["p"])), "symbol": symbol}
        for letter, name in (("f", "fundingRate"), ("i", "indexPrice")):
            if data.get(letter) is not None:
                row[name] = plain(Decimal(data[letter]))
        return row | {"nextFundingTimestamp": data["n"]} if data.get("n") is not None else row

    def open_interest(self, symbol: str, now_us: int) -> dict[str, Any] | None:
        """Return the latest open interest; None if none was played."""
        data = self._latest.get((symbol, "openInterest"))
        if data is None:
            return None
        return {"symbol": symbol, "openInterest": plain(Decimal(data["o"])), "timestamp": int(data["E"]) // 1000}

    def funding_rates(self, symbol: str, offset: int, limit: int, now_us: int) -> tuple[list[dict[str, Any]], int]:
        """Return no funding rates: a recording has none, unless the answer itself was recorded."""
        return [], 0

    def klines(
        self, symbol: str, interval: str, from_seconds: int, to_seconds: int, now_us: int
    ) -> list[dict[str, Any]]:
        """Return the candles played so far that begin in [from, to], each in its latest state."""
        played = self._klines.get((symbol, interval), {})
        wanted = naive_iso(from_seconds), naive_iso(to_seconds)
        return [_kline_row(played[start]) for start in sorted(played) if wanted[0] <= start[:19] <= wanted[1]]

    def recorded_body(self, path: str) -> bytes | None:
        """Return a recorded answer; None if there is none."""
        return self._recording.bodies.get(path)

    def watch(self, stream: str, now_us: int) -> None:
        """Do nothing: there is nothing to prepare."""

    def unwatch(self, stream: str) -> None:
        """Do nothing: there is nothing to stop."""

    def list_market(self, symbol: str, now_us: int, first_id: int | None = None) -> bool:
        """Reopen a closed market. A recording has no other markets, and its ids cannot be changed."""
        known = self._listings.get(symbol)
        if known is None or known.state == "Open" or first_id is not None:
            return False
        self._listings[symbol] = _listing(symbol)
        return True

    def delist_market(self, symbol: str, now_us: int, gone: bool = False) -> bool:
        """Close a market; it stays on the list. Return False if there is none, or if it must be removed (`gone`)."""
        known = self._listings.get(symbol)
        if known is None or gone:
            return False
        self._listings[symbol] = known.closed()
        return True

    def pace(self, symbol: str, weight: float) -> bool:
        """Return False: a recording has its own pace."""
        return False


def _listing(symbol: str) -> Listing:
    if symbol.endswith("_PERP"):
        market_type = "PERP"
    elif _DATED.search(symbol):
        market_type = "DATED"
    else:
        market_type = "SPOT"
    return Listing(symbol, market_type, 8, 8, 1)


def _seeded(body: dict[str, Any]) -> ReplayedBook:
    def side(name: str) -> Side:
        return {Decimal(price): Decimal(quantity) for price, quantity in body[name]}

    return ReplayedBook(side("bids"), side("asks"), int(body["lastUpdateId"]), int(body["timestamp"]))


def _trade_row(data: dict[str, Any]) -> dict[str, Any]:
    price, quantity = Decimal(data["p"]), Decimal(data["q"])
    return {
        "id": int(data["t"]),
        "price": plain(price),
        "quantity": plain(quantity),
        "quoteQuantity": plain(price * quantity),
        "timestamp": int(data["T"]) // 1000,
        "isBuyerMaker": data["m"],
    }


def _ticker_row(
    symbol: str, first: Decimal, last: Decimal, figures: tuple[Decimal, Decimal, Decimal, Decimal], trades: int
) -> dict[str, Any]:
    high, low, volume, quote = figures
    percent = plain(((last - first) / first).quantize(Decimal("0.000001"))) if first else "N/A"
    return {
        "symbol": symbol,
        "firstPrice": plain(first),
        "lastPrice": plain(last),
        "priceChange": plain(last - first),
        "priceChangePercent": percent,
        "high": plain(high),
        "low": plain(low),
        "volume": plain(volume),
        "quoteVolume": plain(quote),
        "trades": str(trades),
    }


def _kline_row(data: dict[str, Any]) -> dict[str, Any]:
    def price(letter: str) -> str | None:
        return plain(Decimal(data[letter])) if data.get(letter) is not None else None

    return {
        "start": data["t"].replace("T", " "),
        "end": data["T"].replace("T", " "),
        "open": price("o"),
        "high": price("h"),
        "low": price("l"),
        "close": price("c"),
        "volume": plain(Decimal(data["v"])),
        "quoteVolume": plain(Decimal(data["v"]) * Decimal(data["c"] or 0)),
        "trades": str(data["n"]),
    }
