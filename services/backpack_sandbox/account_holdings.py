"""The synthetic account's holdings: balances of assets and positions of futures, and how fills change them. Sans I/O, exact."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
QUOTE = "USDC"
_ENTRY_PLACES = Decimal("0.00000001")
_START = {QUOTE: Decimal(5_000_000)}
_START_OF_OTHERS = Decimal(100_000)


@dataclass(slots=True)
class Balance:
    """One asset, in units of the asset.

    Attributes:
        available: the free amount.
        locked: the amount locked by open orders.
    """

    available: Decimal
    locked: Decimal = ZERO


@dataclass(slots=True)
class Position:
    """One position in a future.

    Attributes:
        position_id: the exchange's id.
        quantity: in units of the base asset; negative while short.
        entry: average entry price, rounded half to even at 8 places.
        realized: profit realized so far, in the quote asset, without fees.
    """

    position_id: int
    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    realized: Decimal = ZERO

    def fill(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Apply a fill that does not cross zero.

        Args:
            quantity: bought quantity in units of the base asset; negative if sold.
            price: price of the fill.

        Returns:
            The profit that it realizes, in the quote asset and without fees; 0 if the position grows.
        """
        before = self.quantity
        self.quantity = before + quantity
        if before * quantity >= 0:
            cost = before * self.entry + quantity * price
            self.entry = (cost / self.quantity).quantize(_ENTRY_PLACES, ROUND_HALF_EVEN)
            return ZERO
        profit = (self.entry - price) * quantity
        self.realized += profit
        return profit


@dataclass(slots=True)
class Holdings:
    """All balances and positions.

    Attributes:
        balances: by asset; see `balance` for an asset that is not in it yet.
        positions: the open positions by symbol.
        touched: the assets that changed since it was last emptied, in order of their first change.
    """

    balances: dict[str, Balance] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)

    def balance(self, asset: str) -> Balance:
        """Return the balance of an asset; at its first use the account is funded with it: 5,000,000 USDC, 100,000 of any other."""
        return self.balances.setdefault(asset, Balance(_START.get(asset, _START_OF_OTHERS)))

    def add(self, asset: str, amount: Decimal) -> None:
        """Add to the free amount; a negative amount reduces it."""
        self.balance(asset).available += amount
        self.touched[asset] = None

    def lock(self, asset: str, amount: Decimal) -> None:
        """Lock an amount for an order; a negative amount releases it."""
        balance = self.balance(asset)
        balance.available -= amount
        balance.locked += amount
        self.touched[asset] = None
