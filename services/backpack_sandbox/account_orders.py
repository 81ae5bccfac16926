"""The account's order in one synthetic market: placed at the touch, filled by the market's own trades. Sans I/O and deterministic.

A resting order is filled when the market prints a trade at its price, under that trade's id. A market order is the taker
of the last trade. So price, id and time of every fill are those of a trade on the public stream.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backpack_sandbox.account_holdings import QUOTE, ZERO, Holdings, Position
from backpack_sandbox.decimals import padded, plain
from backpack_sandbox.market import SyntheticMarket

Data = dict[str, Any]
Emit = Callable[[str, str | None, Data], None]
"""Takes an event: its channel such as `orderUpdate`, its symbol, its fields without times."""

_FEE_RATES = {True: Decimal("0.0002"), False: Decimal("0.0005")}
"""Fee rates by whether the order is the maker."""
_TRADES_LOOKED_AT = 50


@dataclass(slots=True)
class Order:
    """One live order.

    Attributes:
        order_id: the exchange's id.
        client_id: the client's id; None if it gave none.
        is_bid: whether it buys.
        price: limit price; of a market order, the price of the trade that fills it.
        quantity: the ordered quantity in units of the base asset.
        kind: `LIMIT` or `MARKET`.
        filled: the quantity filled so far.
        filled_quote: the sum of price times quantity of its fills, in the quote asset.
    """

    order_id: int
    client_id: int | None
    is_bid: bool
    price: Decimal
    quantity: Decimal
    kind: str = "LIMIT"
    filled: Decimal = ZERO
    filled_quote: Decimal = ZERO

    @property
    def rest(self) -> Decimal:
        """The quantity that is not filled yet."""
        return self.quantity - self.filled


class AccountMarket:
    """The account in one market.

    Args:
        market: the market whose trades fill the orders.
        holdings: the account's holdings, shared with its other markets.
        emit: takes each event.
        bits: returns as many random bits as its argument says, as an integer.
        new_id: returns the id of a new order or position.

    Attributes:
        order: the resting limit order; None if there is none.
    """

    def __init__(
        self,
        market: SyntheticMarket,
        holdings: Holdings,
        emit: Emit,
        bits: Callable[[int], int],
        new_id: Callable[[], int],
    ) -> None:
        self.market = market
        self.symbol = market.listing.symbol
        self.order: Order | None = None
        self._holdings = holdings
        self._emit = emit
        self._bits = bits
        self._new_id = new_id
        self._seen_trade_id = market.history.next_trade_id - 1

    def act(self) -> None:
        """Take one action.

        Without an order: place a limit order at the touch (three of four times), or send a market order. With one: fill
        it if the market has printed a trade at its price, else let it rest, cancel it, expire it or move it to the
        touch.
        """
        order = self.order
        if order is None:
            if self._bits(2):
                self._place()
            else:
                self._take()
        elif not self._fill_resting(order):
            fate = self._bits(3)
            if fate == 0:
                self._end(order, "orderExpired", "Expired", {"R": "UserPermissions"})
            elif fate <= 2:
                self._end(order, "orderCancelled", "Cancelled", {})
            elif fate <= 4:
                self._move(order)

    # Orders.

    def _decimal(self, number: int, places: int) -> Decimal:
        return Decimal(padded(number, places))

    def _touch(self, is_bid: bool) -> Decimal | None:
        side = self.market.bids if is_bid else self.market.asks
        return self._decimal(side.best, self.market.listing.price_places) if side.best else None

    def _quantity(self) -> Decimal:
        places = self.market.listing.quantity_places
        return self._decimal((1 + self._bits(6)) * max(1, 10**places // 50), places)

    def _place(self) -> None:
        is_bid = bool(self._bits(1))
        price = self._touch(is_bid)
        if price is None:
            return
        client_id = self._bits(31) if self._bits(1) else None
        self.order = Order(self._new_id(), client_id, is_bid, price, self._quantity())
        self._seen_trade_id = self.market.history.next_trade_id - 1
        self._lock(self.order, 1)
        self._tell(self.order, "orderAccepted", "New", {"t": None})

    def _take(self) -> None:
        """Send a market order: it is the taker of the last public trade."""
        trades = self.market.history.trades(0, 1)
        if not trades:
            return
        trade = trades[0]
        order = Order(
            self._new_id(),
            None,
            bool(not trade["isBuyerMaker"]),
            Decimal(trade["price"]),
            Decimal(trade["quantity"]),
            "MARKET",
        )
        self._tell(order, "orderAccepted", "New", {})
        self._fill(order, trade, order.quantity, is_maker=False)

    def _fill_resting(self, order: Order) -> bool:
        for trade in reversed(self.market.history.trades(0, _TRADES_LOOKED_AT)):
            if trade["id"] <= self._seen_trade_id:
                continue
            self._seen_trade_id = trade["id"]
            if bool(trade["isBuyerMaker"]) is order.is_bid and Decimal(trade["price"]) == order.price:
                self._fill(order, trade, min(order.rest, Decimal(trade["quantity"])), is_maker=True)
                return True
        return False

    def _fill(self, order: Order, trade: Data, quantity: Decimal, *, is_maker: bool) -> None:
        price = Decimal(trade["price"])
        fee = quantity * price * _FEE_RATES[is_maker]
        if is_maker:
            self._lock(order, -1)
        order.filled += quantity
        order.filled_quote += quantity * price
        is_done = not order.rest
        if is_done:
            self.order = None if is_maker else self.order
        elif is_maker:
            self._lock(order, 1)
        fields = {"t": trade["id"], "l": plain(quantity), "L": plain(price), "m": is_maker, "n": plain(fee), "N": QUOTE}
        self._tell(order, "orderFill", "Filled" if is_done else "PartiallyFilled", fields)
        signed = quantity if order.is_bid else -quantity
        self._holdings.add(QUOTE, -fee)
        if self.market.listing.is_perp:
            self._fill_position(signed, price)
        else:
            self._holdings.add(self.market.listing.base, signed)
            self._holdings.add(QUOTE, -signed * price)

    def _end(self, order: Order, event: str, status: str, fields: Data) -> None:
        self._lock(order, -1)
        self.order = None
        self._tell(order, event, status, fields)

    def _move(self, order: Order) -> None:
        price = self._touch(order.is_bid)
        if price is None or price == order.price:
            return
        self._lock(order, -1)
        order.price = price
        self._lock(order, 1)
        self._seen_trade_id = self.market.history.next_trade_id - 1
        self._tell(order, "orderModified", "PartiallyFilled" if order.filled else "New", {})

    def _lock(self, order: Order, sign: int) -> None:
        """Lock the amount that a spot order needs (`sign` 1), or release it (-1). A future needs margin, which no balance shows."""
        if self.market.listing.is_perp:
            return
        if order.is_bid:
            self._holdings.lock(QUOTE, sign * order.rest * order.price)
        else:
            self._holdings.lock(self.market.listing.base, sign * order.rest)

    def _tell(self, order: Order, event: str, status: str, fields: Data) -> None:
        is_limit = order.kind == "LIMIT"
        data: Data = {
            "e": event,
            "s": self.symbol,
            "S": "Bid" if order.is_bid else "Ask",
            "o": order.kind,
            "f": "GTC" if is_limit else "IOC",
            "q": plain(order.quantity),
            "X": status,
            "i": str(order.order_id),
            "z": plain(order.filled),
            "Z": plain(order.filled_quote),
            "V": "RejectTaker",
            "O": "USER",
            "r": False,
        }
        if is_limit:
            data["p"] = plain(order.price)
            data["y"] = True
        if order.client_id is not None:
            data["c"] = order.client_id
        self._emit("orderUpdate", self.symbol, data | fields)

    def tell_trigger(self) -> None:
        """Send the events of a stop order that is placed and then fails: `triggerPlaced`, `triggerFailed`. Holdings stay as they are."""
        order = Order(self._new_id(), None, False, self._touch(is_bid=False) or Decimal(1), self._quantity(), "MARKET")
        trigger = {"P": plain(order.price), "B": "MarkPrice", "Y": plain(order.quantity), "r": True}
        self._tell(order, "triggerPlaced", "TriggerPending", trigger)
        self._tell(order, "triggerFailed", "TriggerFailed", trigger)

    # Positions.

    def mark(self) -> Decimal:
        """Return the mid price with two more places; the anchor price while a side is empty."""
        bid, ask = self.market.bids.best, self.market.asks.best
        hundredths = (bid + ask) * 50 if bid and ask else self.market.listing.anchor * 100
        return self._decimal(hundredths, self.market.listing.price_places + 2)

    def open_at_start(self) -> None:
        """Open a long position that exists before the first subscription, at the mark price. Sends no event."""
        position = Position(self._new_id())
        position.fill(self._quantity() * 3, self.mark())
        self._holdings.positions[self.symbol] = position

    def _fill_position(self, signed: Decimal, price: Decimal) -> None:
        positions = self._holdings.positions
        position = positions.get(self.symbol)
        if position is None:
            position = positions[self.symbol] = Position(self._new_id())
            position.fill(signed, price)
            self._tell_position(position, "positionOpened")
            return
        crosses = position.quantity * signed < 0 and abs(signed) > abs(position.quantity)
        part = -position.quantity if crosses else signed
        profit = position.fill(part, price)
        if profit:
            self._holdings.add(QUOTE, profit)
        if position.quantity:
            self._tell_position(position, "positionAdjusted")
            return
        self._tell_position(position, "positionClosed")
        del positions[self.symbol]
        if crosses:
            self._fill_position(signed - part, price)

    def _tell_position(self, position: Position, event: str) -> None:
        self._emit("positionUpdate", self.symbol, {"e": event, **self._position_fields(position)})

    def position_data(self) -> Data | None:
        """Return the open position as a subscription starts with it, without an event type and without times; None if there is none."""
        position = self._holdings.positions.get(self.symbol)
        return None if position is None else self._position_fields(position)

    def _position_fields(self, position: Position) -> Data:
        """Return the fields: nearly all numbers as strings, the id as a number. The exchange does so, against its documentation."""
        mark, order = self.mark(), self.order
        waiting = (order.rest if order.is_bid else -order.rest) if order is not None else ZERO
        exposure = position.quantity + waiting
        return {
            "s": self.symbol,
            "b": plain(position.entry * (1 + _FEE_RATES[False])),
            "B": plain(position.entry),
            "f": "0.02",
            "M": plain(mark),
            "m": "0.0125",
            "q": plain(position.quantity),
            "Q": plain(exposure),
            "n": plain(abs(exposure) * mark),
            "i": position.position_id,
            "l": "0",
            "p": plain(position.realized),
            "P": plain((mark - position.entry) * position.quantity),
        }
