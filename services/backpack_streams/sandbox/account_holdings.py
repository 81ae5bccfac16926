"""What the synthetic account holds: balances of assets and positions of futures, and how fills change them. Sans-I/O, exact."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
QUOTE = "USDC"
_ENTRY_PLACES = Decimal("0.00000001")
_START = {QUOTE: Decimal(5_000_000)}
_START_OF_OTHERS = Decimal(100_000)


@dataclass(slots=True)
class Balance:
    """One asset: what is free, and what open orders hold."""

    available: Decimal
    locked: Decimal = ZERO


@dataclass(slots=True)
class Position:
    """One position: signed quantity, average entry price, profit taken so far."""

    position_id: int
    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    realized: Decimal = ZERO

    def fill(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Take in a fill (negative quantity: sold) that does not cross zero; answers the profit that it realizes."""
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
    """All balances and positions. `touched` are the assets that changed since it was last emptied."""

    balances: dict[str, Balance] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)

    def balance(self, asset: str) -> Balance:
        """The balance of an asset, as the account was funded if nothing happened to it yet."""
        return self.balances.setdefault(asset, Balance(_START.get(asset, _START_OF_OTHERS)))

    def add(self, asset: str, amount: Decimal) -> None:
        """More (or less) of what is free."""
        self.balance(asset).available += amount
        self.touched[asset] = None

    def lock(self, asset: str, amount: Decimal) -> None:
        """Hold for an order (negative: give back)."""
        balance = self.balance(asset)
        balance.available -= amount
        balance.locked += amount
        self.touched[asset] = None
