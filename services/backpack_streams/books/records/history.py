"""Records of REST's histories, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "HISTORY_BORROW_LEND_MARKET",
    "HISTORY_VAULT",
    "BorrowLendHistory",
    "VaultHistory",
]


class BorrowLendHistory(TypedDict):
    """One past moment of an asset's borrow and lend pool; event_time is that moment."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    interval: str
    borrow_interest_rate: Decimal | None
    lend_interest_rate: Decimal | None
    borrowed_quantity: Decimal | None
    lent_quantity: Decimal | None
    utilization: Decimal | None
    cache_age_seconds: int | None


class VaultHistory(TypedDict):
    """One past moment of a vault; event_time is that moment."""

    vault_id: int
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    interval: str
    net_asset_value: Decimal | None
    vault_equity: Decimal | None
    token_circulating_supply: Decimal | None
    cache_age_seconds: int | None


HISTORY_BORROW_LEND_MARKET: Final = RecordTopic[BorrowLendHistory]("history.borrow_lend_market")
HISTORY_VAULT: Final = RecordTopic[VaultHistory]("history.vault")
