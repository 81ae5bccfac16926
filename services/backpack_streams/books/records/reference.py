"""Records of REST's catalogues, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "REFERENCE_ASSET",
    "REFERENCE_BORROW_LEND_APY",
    "REFERENCE_BORROW_LEND_MARKET",
    "REFERENCE_COLLATERAL",
    "REFERENCE_MARKET",
    "REFERENCE_MARKET_SESSION",
    "REFERENCE_SECURITY",
    "REFERENCE_STAKING_APY",
    "REFERENCE_SYSTEM_STATUS",
    "REFERENCE_VAULT",
    "REFERENCE_WALLET",
    "Asset",
    "BorrowLendApy",
    "BorrowLendMarket",
    "Collateral",
    "MarginFunction",
    "Market",
    "MarketSession",
    "Security",
    "SecuritySession",
    "StakingApy",
    "SystemStatus",
    "Token",
    "Vault",
    "Wallet",
]


class MarginFunction(TypedDict):
    """How a margin fraction grows with the size of a position."""

    kind: str
    base: Decimal | None
    factor: Decimal | None


class Market(TypedDict):
    """One market as the exchange lists it. The latest record of a symbol is its state; a tombstone says it is listed no more."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    base_symbol: str
    quote_symbol: str
    market_type: str
    order_book_state: str
    created_time: int | None
    is_visible: bool | None
    tick_size: Decimal | None
    minimum_price: Decimal | None
    maximum_price: Decimal | None
    step_size: Decimal | None
    minimum_quantity: Decimal | None
    maximum_quantity: Decimal | None
    funding_interval_millis: int | None
    funding_rate_upper_bound: Decimal | None
    funding_rate_lower_bound: Decimal | None
    open_interest_limit: Decimal | None
    rwa_market_type: str | None
    maximum_multiplier: Decimal | None
    minimum_multiplier: Decimal | None
    maximum_impact_multiplier: Decimal | None
    minimum_impact_multiplier: Decimal | None
    mean_mark_price_maximum_multiplier: Decimal | None
    mean_mark_price_minimum_multiplier: Decimal | None
    mean_premium_tolerance: Decimal | None
    borrow_entry_fee_maximum_multiplier: Decimal | None
    borrow_entry_fee_minimum_multiplier: Decimal | None
    maximum_price_update_multiplier: Decimal | None
    minimum_price_update_multiplier: Decimal | None
    initial_margin_function: MarginFunction | None
    maintenance_margin_function: MarginFunction | None
    position_limit_weight: Decimal | None
    raw: str
    cache_age_seconds: int | None


class Token(TypedDict):
    """The asset on one blockchain."""

    blockchain: str
    display_name: str | None
    contract_address: str | None
    deposit_enabled: bool | None
    minimum_deposit: Decimal | None
    withdraw_enabled: bool | None
    minimum_withdrawal: Decimal | None
    maximum_withdrawal: Decimal | None
    withdrawal_fee: Decimal | None
    native_decimals: int | None


class Asset(TypedDict):
    """One asset as the exchange lists it. The latest record of a symbol is its state; a tombstone says it is listed no more."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    display_name: str
    coingecko_id: str | None
    tokens: list[Token]
    raw: str
    cache_age_seconds: int | None


class Collateral(TypedDict):
    """How much of an asset counts as collateral, and the margin it asks for."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    initial_margin_function: MarginFunction | None
    maintenance_margin_function: MarginFunction | None
    haircut_weight: Decimal | None
    haircut_kind: str | None
    haircut_base: Decimal | None
    haircut_positive_curve_penalty: Decimal | None
    raw: str
    cache_age_seconds: int | None


class BorrowLendMarket(TypedDict):
    """The borrow and lend pool of one asset."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    state: str
    asset_mark_price: Decimal | None
    borrow_interest_rate: Decimal | None
    lend_interest_rate: Decimal | None
    borrowed_quantity: Decimal | None
    lent_quantity: Decimal | None
    utilization: Decimal | None
    fee_fraction: Decimal | None
    maximum_utilization: Decimal | None
    optimal_utilization: Decimal | None
    open_borrow_lend_limit: Decimal | None
    throttle_utilization_threshold: Decimal | None
    throttle_utilization_bound: Decimal | None
    throttle_update_fraction: Decimal | None
    step_size: Decimal | None
    raw: str
    cache_age_seconds: int | None


class BorrowLendApy(TypedDict):
    """Yearly rates of borrowing and lending an asset without a VIP tier."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    borrow_rate: Decimal | None
    lend_rate: Decimal | None
    raw: str
    cache_age_seconds: int | None


class StakingApy(TypedDict):
    """Yearly rate of staking an asset."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    staking_rate: Decimal | None
    dilution_factor: Decimal | None
    raw: str
    cache_age_seconds: int | None


class MarketSession(TypedDict):
    """Hours of the week in which markets of real-world assets trade."""

    name: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    description: str | None
    opens_at: str
    closes_at: str
    timezone: str
    start_weekday: int
    end_weekday: int
    raw: str
    cache_age_seconds: int | None


class SecuritySession(TypedDict):
    """A session in which a security trades."""

    name: str
    minimum_quantity: Decimal | None
    maximum_quantity: Decimal | None
    step_size: Decimal | None


class Security(TypedDict):
    """A security that can be traded."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    name: str | None
    cusip: str | None
    sessions: list[SecuritySession]
    raw: str
    cache_age_seconds: int | None


class Vault(TypedDict):
    """A vault and the terms on which its tokens are minted and redeemed."""

    vault_id: int
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    symbol: str | None
    vault_token: str | None
    mints_enabled: bool | None
    redeems_enabled: bool | None
    minimum_mint_quantity: Decimal | None
    minimum_redeem_tokens: Decimal | None
    redeem_delay_millis: int | None
    token_step_size: Decimal | None
    remaining_mint_quantity: Decimal | None
    raw: str
    cache_age_seconds: int | None


class Wallet(TypedDict):
    """An address that the exchange holds on a blockchain."""

    blockchain: str
    address: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    raw: str
    cache_age_seconds: int | None


class SystemStatus(TypedDict):
    """What the exchange says of itself."""

    name: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    status: str
    message: str | None
    raw: str
    cache_age_seconds: int | None


REFERENCE_MARKET: Final = RecordTopic[Market | None]("reference.market")
REFERENCE_ASSET: Final = RecordTopic[Asset | None]("reference.asset")
REFERENCE_COLLATERAL: Final = RecordTopic[Collateral | None]("reference.collateral")
REFERENCE_BORROW_LEND_MARKET: Final = RecordTopic[BorrowLendMarket | None]("reference.borrow_lend_market")
REFERENCE_BORROW_LEND_APY: Final = RecordTopic[BorrowLendApy | None]("reference.borrow_lend_apy")
REFERENCE_STAKING_APY: Final = RecordTopic[StakingApy | None]("reference.staking_apy")
REFERENCE_MARKET_SESSION: Final = RecordTopic[MarketSession | None]("reference.market_session")
REFERENCE_SECURITY: Final = RecordTopic[Security | None]("reference.security")
REFERENCE_VAULT: Final = RecordTopic[Vault | None]("reference.vault")
REFERENCE_WALLET: Final = RecordTopic[Wallet | None]("reference.wallet")
REFERENCE_SYSTEM_STATUS: Final = RecordTopic[SystemStatus | None]("reference.system_status")
