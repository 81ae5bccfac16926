"""One synthetic market: an order book on a random walk, and trades, best prices and depth frames that agree with it.

Sans I/O and deterministic: the same listing, seed, start and calls give the same bytes. Prices are integers in ticks,
quantities integers in steps; neither is ever a float. The book is never crossed.
"""

import random
import zlib
from collections import deque
from collections.abc import Callable

from backpack_sandbox.frames import Frame, FrameWriter
from backpack_sandbox.history import History
from backpack_sandbox.ledger import Listed, Said
from backpack_sandbox.levels import Side
from backpack_sandbox.listings import Listing
from backpack_sandbox.past import mixed
from backpack_sandbox.views import BookView
from backpack_sandbox.windows import DepthWindow

UNDO_FRAMES = 512
_LIQUIDATION_EVERY = 40
_DENSE_LEVELS = 100

Changes = dict[int, int]
Undo = list[tuple[bool, int, int]]
"""Levels before a frame, to be undone in reverse order: whether it is a bid, tick, quantity."""


class SyntheticMarket:
    """The matching engine of one symbol.

    Args:
        listing: the market.
        seed: determines every move.
        start_us: wall clock at the start, µs since the Unix epoch; update ids and trade ids begin above those of an earlier start.
        first_id: the first update id and trade id; None: derived from `start_us`.
    """

    def __init__(self, listing: Listing, seed: int, start_us: int, first_id: int | None = None) -> None:
        self.listing = listing
        self.writer = FrameWriter(listing)
        key = mixed(seed, zlib.crc32(listing.symbol.encode()))
        self._random = random.Random(key)
        self._bits: Callable[[int], int] = self._random.getrandbits
        self.bids, self.asks = Side(1), Side(-1)
        self._min_levels, self._max_levels = (1, 4) if listing.thin else (100, 400)
        self._lot: int = max(1, 10**listing.quantity_places // 50)
        self.first_update_id = self.last_update_id = start_us // 100 + key % 997
        self.event_us = self.engine_us = start_us
        self.first_trade_id = start_us // 10_000 + key % 89
        if first_id is not None:
            self.first_update_id = self.last_update_id = first_id - 1
            self.first_trade_id = first_id
        self.listed: Listed | None = None
        self.history = History(listing, key, start_us, self.first_trade_id)
        self.depth_frames = 0
        self.book_ticker_frames = 0
        self.wanted: set[str] = set()
        self.windows: dict[str, DepthWindow] = {}
        self._undo: deque[tuple[int, int, Undo]] = deque(maxlen=UNDO_FRAMES)
        self._frame_undo: Undo = []
        self._b: Changes = {}
        self._a: Changes = {}
        self._traded: tuple[int, int, bool] | None = None
        self._touch: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._drift_limit = max(40, listing.anchor // 50)
        self._fill_book()

    def _fill_book(self) -> None:
        levels = 3 if self.listing.thin else 180
        for side in (self.bids, self.asks):
            tick = self.listing.anchor
            for _ in range(levels):
                tick -= side.sign * (1 + (self._bits(3) == 0) + (self._bits(5) == 0) * 3)
                side.put(tick, self._fresh_quantity(self._bits(16)))
        self._touch = self._touch_now()

    def _fresh_quantity(self, bits: int) -> int:
        return ((bits & 1023) + 1) * self._lot

    def _touch_now(self) -> tuple[int, int, int, int]:
        bid, ask = self.bids.best, self.asks.best
        return bid, self.bids.levels.get(bid, 0), ask, self.asks.levels.get(ask, 0)

    def step(self, now_us: int) -> list[Frame]:
        """Take one action: one depth frame, and the frames that follow from it. Return frames only of streams in `wanted`.

        Trade and bookTicker come before the depth frame that contains the same change.

        Args:
            now_us: wall clock, µs since the Unix epoch. Event and engine times never go backwards, even if it does.
        """
        bits = self._bits(64)
        b: Changes = {}
        a: Changes = {}
        undo: Undo = []
        self._b, self._a, self._frame_undo = b, a, undo
        ids = self._act(bits)
        event = self.event_us = now_us if now_us > self.event_us else self.event_us
        before_id, before_us = self.last_update_id, self.engine_us
        engine = event - 300 - (bits >> 53)
        if engine > before_us:
            self.engine_us = engine
        else:
            engine = before_us
        self._undo.append((before_id, before_us, undo))
        last = self.last_update_id = before_id + ids
        self.depth_frames += 1
        frames: list[Frame] = []
        if self.listed is not None:
            said = Said(now_us, event, before_id + 1, last)
            self.listed.depth(said, engine, (b, a), (self.bids.levels, self.asks.levels))
        if self._traded:
            self._print_trade(frames, event, engine)
        touch = self._touch
        if self.bids.best != touch[0] or self.asks.best != touch[2] or touch[0] in b or touch[2] in a:
            self._print_touch(frames, event, engine)
        if "depth" in self.wanted:
            frames.append(self.writer.depth((event, engine), (before_id + 1, last), a, b))
        if self.windows:
            for window in self.windows.values():
                window.add(before_id + 1, last, engine, a, b)
        return frames

    def _print_touch(self, frames: list[Frame], event: int, engine: int) -> None:
        touch = self._touch_now()
        if touch == self._touch:
            return
        self._touch = touch
        self.book_ticker_frames += 1
        if self.listed is not None:
            self.listed.note("bookTicker", Said(event, event, self.last_update_id, self.last_update_id))
        if "bookTicker" in self.wanted:
            frames.append(self.writer.book_ticker((event, engine), self.last_update_id, touch[:2], touch[2:]))

    def _act(self, bits: int) -> int:
        """Change the book; return the number of update ids that the frame takes."""
        kind, bits = bits & 127, bits >> 7
        if kind < 84:
            self._near(bits)
        elif kind < 98:
            self._improve(bits)
        elif kind < 108 and not self.listing.quiet:
            self._trade(bits)
        elif kind < 114:
            self._far(bits)
        elif kind < 116:
            return 1
        else:
            ids = 2 + bits % 4
            for _ in range(ids):
                self._near(self._bits(48))
            return ids
        return 1

    def _put(self, side: Side, tick: int, quantity: int) -> None:
        if side.sign > 0:
            self._frame_undo.append((True, tick, side.put(tick, quantity)))
            self._b[tick] = quantity
        else:
            self._frame_undo.append((False, tick, side.put(tick, quantity)))
            self._a[tick] = quantity

    def _sides(self, bits: int) -> tuple[Side, Side]:
        return (self.bids, self.asks) if bits & 1 else (self.asks, self.bids)

    def _near(self, bits: int) -> None:
        side = self.bids if bits & 1 else self.asks
        levels = side.levels
        if self._max_levels < _DENSE_LEVELS:
            self._thin(side, bits)
            return
        offset = (bits >> 1) & (bits >> 9) & 255
        tick = side.best - side.sign * offset
        quantity = ((bits >> 20 & 1023) + 1) * self._lot
        if tick in levels:
            if not bits >> 40 & (1 if offset else 7) and len(levels) > self._min_levels:
                quantity = 0
        elif len(levels) >= self._max_levels or tick <= 0:
            tick, quantity = side.farthest(), 0
        self._put(side, tick, quantity)

    def _thin(self, side: Side, bits: int) -> None:
        """Remove the best level as often as add a level, so that the side is empty from time to time."""
        tick = side.best - side.sign * (bits >> 1 & 15) if side.best else self._reopening_tick(side)
        if bits >> 44 & 1 and side.best:
            self._put(side, side.best, 0)
        elif len(side.levels) < self._max_levels or tick in side.levels:
            self._put(side, tick, self._fresh_quantity(bits >> 20))

    def _reopening_tick(self, side: Side) -> int:
        other = self.asks if side.sign > 0 else self.bids
        return (other.best or self.listing.anchor) - side.sign

    def _drift(self) -> int:
        """Return 1 if the price has moved too high, -1 if too low, 0 while it is near its anchor."""
        away = (self.bids.best or self.asks.best or self.listing.anchor) - self.listing.anchor
        return 0 if abs(away) < self._drift_limit else (1 if away > 0 else -1)

    def _improve(self, bits: int) -> None:
        drift = self._drift()
        side, other = self._sides(bits if not drift else (drift < 0))
        tick = side.best + side.sign
        if (
            side.best
            and (not other.best or (other.best - tick) * side.sign > 0)
            and len(side.levels) < self._max_levels
        ):
            self._put(side, tick, self._fresh_quantity(bits >> 20))
        else:
            self._near(bits >> 2)

    def _trade(self, bits: int) -> None:
        drift = self._drift()
        maker, _ = self._sides(bits if not drift else (drift > 0))
        if not maker.best:
            return
        tick, resting = maker.best, maker.levels[maker.best]
        steps = resting if bits >> 2 & 3 == 0 else 1 + (bits >> 8) % resting
        if steps == resting and len(maker.levels) <= self._min_levels and not self.listing.thin:
            steps = max(1, resting // 2)
        if resting == steps and len(maker.levels) <= self._min_levels and not self.listing.thin:
            self._put(maker, maker.farthest() - maker.sign, self._lot)
        self._put(maker, tick, resting - steps)
        self._traded = tick, steps, maker.sign > 0

    def _far(self, bits: int) -> None:
        side, _ = self._sides(bits)
        tick = side.best - side.sign * (300 + (bits >> 1 & 2047))
        if not side.best or tick <= 0 or tick in side.levels or len(side.levels) >= self._max_levels:
            self._near(bits >> 3)
        else:
            self._put(side, tick, self._fresh_quantity(bits >> 20))

    def _print_trade(self, frames: list[Frame], event: int, engine: int) -> None:
        assert self._traded is not None  # the caller has checked
        tick, steps, buyer_is_maker = self._traded
        self._traded = None
        trade_id = self.history.add(engine, tick, steps, buyer_is_maker)
        if self.listed is not None:
            self.listed.note("trade", Said(event, event, trade_id, trade_id))
        if "trade" in self.wanted:
            frames.append(self.writer.trade((event, engine), trade_id, tick, steps, buyer_is_maker))
        if self.listing.is_future and trade_id % _LIQUIDATION_EVERY == 0:
            taker = "Ask" if buyer_is_maker else "Bid"
            if self.listed is not None:
                detail = f"{taker} {self.writer.price(tick)} {self.writer.quantity(steps)}"
                self.listed.note("liquidation", Said(event, event, detail=detail))
            for kind, stream in (
                ("liquidation.all", "liquidation"),
                ("liquidation", f"liquidation.{self.writer.symbol}"),
            ):
                if kind in self.wanted:
                    frames.append(self.writer.liquidation(stream, (event, engine), tick, steps, taker))

    def view(self, behind: int = 0) -> BookView:
        """Return the whole book.

        Args:
            behind: how many update ids ago; the book is that after a whole frame, and at most `UNDO_FRAMES` frames old.
        """
        bids, asks = dict(self.bids.levels), dict(self.asks.levels)
        last_update_id, engine_us = self.last_update_id, self.engine_us
        target = last_update_id - behind
        for earlier_id, earlier_us, undo in reversed(self._undo):
            if last_update_id <= target:
                break
            for bid, tick, quantity in reversed(undo):
                (bids if bid else asks)[tick] = quantity
            last_update_id, engine_us = earlier_id, earlier_us
        return BookView.of_integers(self.listing, bids, asks, last_update_id, engine_us)
