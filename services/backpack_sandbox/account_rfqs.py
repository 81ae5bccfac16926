"""The account's requests for quote, and its quotes for requests of others, one after another. Sans I/O and deterministic."""

from collections.abc import Callable
from decimal import Decimal

from backpack_sandbox.account_holdings import QUOTE, Holdings
from backpack_sandbox.account_orders import AccountMarket, Data, Emit
from backpack_sandbox.decimals import plain

_LIVES = (
    ("rfqActive", "rfqCandidate", "rfqAccepted", "rfqFilled"),
    ("rfqActive", "rfqRefreshed", "rfqCancelled"),
    ("quoteAccepted", "rfqFilled"),
    ("quoteCancelled",),
)
_STATUS = {"rfqCancelled": "Cancelled", "quoteCancelled": "Cancelled", "rfqFilled": "Filled"}
_WITH_QUOTE = frozenset({"rfqCandidate", "rfqAccepted", "rfqFilled", "quoteAccepted", "quoteCancelled"})
_VALID_MS = 60_000


class AccountRfqs:
    """One request at a time in one spot market; a filled one changes the balances.

    Args:
        place: the account in that market; its mark price is the price of the quotes.
        holdings: the account's holdings.
        emit: takes each `rfqUpdate` event.
        bits: returns as many random bits as its argument says, as an integer.
        new_id: returns the id of a new request; the id of its quote is one higher.
    """

    def __init__(
        self,
        place: AccountMarket,
        holdings: Holdings,
        emit: Emit,
        bits: Callable[[int], int],
        new_id: Callable[[], int],
    ) -> None:
        self._place = place
        self._holdings = holdings
        self._emit = emit
        self._bits = bits
        self._new_id = new_id
        self._base = place.market.listing.base
        self._symbol = f"{self._base}_{QUOTE}_RFQ"
        self._lives = 0
        self._left: list[str] = []
        self._rfq: Data = {}
        self._quantity = self._price = Decimal(0)

    def act(self, now_us: int) -> None:
        """Send the next event of the current request; begin another one if it is over.

        Args:
            now_us: wall clock, µs since the Unix epoch. A request is valid for 60 s (`w`, `W`: ms since the Unix
                epoch).
        """
        if not self._left:
            self._begin(now_us)
        event = self._left.pop(0)
        data = {"e": event, **self._rfq, "X": _STATUS.get(event, "New")}
        if event in _WITH_QUOTE:
            data |= {"u": self._rfq["R"] + 1, "p": plain(self._price)}
        if event == "rfqRefreshed":
            data["W"] = self._rfq["W"] = now_us // 1000 + _VALID_MS
        self._emit("rfqUpdate", self._symbol, data)
        if event == "rfqFilled":
            signed = self._quantity if self._rfq["S"] == "Bid" else -self._quantity
            self._holdings.add(self._base, signed)
            self._holdings.add(QUOTE, -signed * self._price)

    def _begin(self, now_us: int) -> None:
        self._left = list(_LIVES[self._lives % len(_LIVES)])
        self._lives += 1
        self._price = self._place.mark()
        self._quantity = Decimal(1 + self._bits(4))
        by_quote = self._bits(2) == 0
        amount = {"Q": plain(self._quantity * self._price)} if by_quote else {"q": plain(self._quantity)}
        rfq_id = self._new_id()
        self._rfq = {
            "R": rfq_id,
            "C": str(rfq_id % 10_000),
            "s": self._symbol,
            "S": "Bid" if self._bits(1) else "Ask",
            **amount,
            "w": now_us // 1000,
            "W": now_us // 1000 + _VALID_MS,
        }
