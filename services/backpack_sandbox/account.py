"""A synthetic account whose orders, positions, requests for quote and balances agree with each other and with the synthetic market.

Sans I/O and deterministic by its seed: time is an argument, frames are return values.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from backpack_sandbox.account_holdings import Holdings
from backpack_sandbox.account_orders import AccountMarket, Data
from backpack_sandbox.account_rfqs import AccountRfqs
from backpack_sandbox.decimals import plain
from backpack_sandbox.frames import Frame
from backpack_sandbox.streams import StreamName, parse_stream
from backpack_sandbox.synthetic import SyntheticVenue

_MARKETS_OF_A_KIND = 2
_EVENTS_KEPT = 20_000
_ENGINE_LAG_US = 500
_ACTS_A_TICK = 50


class SyntheticAccount:
    """The account of every registered key.

    Args:
        venue: its markets: the account trades in the first two perpetuals and the first two spot markets that are open,
            without the thin and the quiet ones.
        seed: determines its actions.
        start_us: wall clock at the start, µs since the Unix epoch; ids begin above those of an earlier start.
        every_us: time between two actions, µs.

    Attributes:
        sent: the newest 20,000 messages that were sent to subscribers, oldest first: the stream and the data.
    """

    def __init__(self, venue: SyntheticVenue, seed: int, start_us: int, every_us: int) -> None:
        self._bits = random.Random(seed ^ 0xACC0).getrandbits
        self._next_id = start_us // 1000
        self._every_us = every_us
        self._due_us = start_us + every_us
        self._now_us = self._event_us = start_us
        self._holdings = Holdings()
        self._wanted: Collection[str] = ()
        self._frames: list[Frame] = []
        self.sent: deque[Data] = deque(maxlen=_EVENTS_KEPT)
        listings = [
            market.listing for market in venue.markets.values() if not (market.listing.thin or market.listing.quiet)
        ]
        perps = [each.symbol for each in listings if each.is_perp][:_MARKETS_OF_A_KIND]
        spots = [each.symbol for each in listings if not each.is_perp][:_MARKETS_OF_A_KIND]
        self._places = [
            AccountMarket(venue.markets[symbol], self._holdings, self._emit, self._bits, self._new_id)
            for symbol in (*perps, *spots)
        ]
        spot = next((place for place in self._places if not place.market.listing.is_perp), None)
        self._rfqs = None if spot is None else AccountRfqs(spot, self._holdings, self._emit, self._bits, self._new_id)
        for place in self._places:
            if place.market.listing.is_perp:
                place.open_at_start()
                break

    def _new_id(self) -> int:
        self._next_id += 2
        return self._next_id

    def by_the_clock(self, now_us: int, wanted: Callable[[], Collection[str]]) -> list[Frame]:
        """Act as far as it is due. The account acts even without subscribers.

        A late call makes up for at most 50 actions; the others are skipped.

        Args:
            now_us: wall clock, µs since the Unix epoch.
            wanted: returns the names of the subscribed streams; called only if an action is due.

        Returns:
            The frames of the subscribed streams, in the order of the events.
        """
        if now_us < self._due_us:
            return []
        acts = min(_ACTS_A_TICK, 1 + (now_us - self._due_us) // self._every_us)
        self._due_us = max(self._due_us + acts * self._every_us, now_us - self._every_us)
        self._now_us, self._wanted = now_us, wanted()
        for _ in range(acts):
            self._act()
        frames, self._frames = self._frames, []
        return frames

    def _act(self) -> None:
        kind = self._bits(4)
        if kind < 3 and self._rfqs is not None:
            self._rfqs.act(self._now_us)
        elif self._places:
            place = self._places[self._bits(8) % len(self._places)]
            if kind == 3:
                place.tell_trigger()
            else:
                place.act()
        touched, self._holdings.touched = self._holdings.touched, {}
        for asset in touched:
            self._emit("balanceUpdate", None, {"e": "balanceUpdate", **self._balance(asset)})

    def _balance(self, asset: str) -> Data:
        balance = self._holdings.balance(asset)
        return {"a": asset, "A": plain(balance.available), "L": plain(balance.locked), "S": "0"}

    def _emit(self, channel: str, symbol: str | None, data: Data) -> None:
        data = self._timed(data)
        names = [f"account.{channel}", *([f"account.{channel}.{symbol}"] if symbol else [])]
        for name in names:
            if name in self._wanted:
                self._frames.append(_frame(name, data))
                self.sent.append({"stream": name, "data": data})

    def _timed(self, data: Data) -> Data:
        self._event_us = max(self._event_us + 1, self._now_us)
        return data | {"E": self._event_us, "T": self._event_us - _ENGINE_LAG_US}

    def greeting(self, stream: str, now_us: int) -> list[bytes]:
        """Return the first frames of a new subscription: the open positions, on `account.positionUpdate`.

        Args:
            stream: full name of the stream; with a symbol, only the position in that market is sent.
            now_us: wall clock, µs since the Unix epoch.

        Returns:
            The payloads, one per position; none for every other stream.
        """
        name = parse_stream(stream)
        if not isinstance(name, StreamName) or name.kind != "account.positionUpdate":
            return []
        self._now_us = now_us
        payloads = []
        for place in self._places:
            data = place.position_data()
            if data is not None and name.symbol in (None, place.symbol):
                data = self._timed(data)
                self.sent.append({"stream": stream, "data": data})
                payloads.append(_frame(stream, data)[1])
        return payloads

    def shown(self) -> dict[str, Any]:
        """Return the truth for the control API: what was sent, balances and positions.

        Amounts are decimal text. Keys: `sent` (oldest first), `balances` by asset, `positions` by symbol.
        """
        return {
            "sent": list(self.sent),
            "balances": {asset: self._balance(asset) for asset in sorted(self._holdings.balances)},
            "positions": {place.symbol: data for place in self._places if (data := place.position_data()) is not None},
        }


def _frame(stream: str, data: Data) -> Frame:
    """Encode a frame. The order of keys varies, as it does on the wire."""
    if data["E"] & 2:
        message: Data = {"data": dict(sorted(data.items())), "stream": stream}
    else:
        message = {"stream": stream, "data": data}
    return stream, json.dumps(message, separators=(",", ":")).encode()
