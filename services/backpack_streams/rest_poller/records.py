"""Rows of the REST API as records: the only place that knows both."""

from typing import Any

from backpack_streams.bus.decimals import RATE_SCALE, bytes_from_unscaled, unscaled_from_text
from backpack_streams.exchange import rest_wire
from backpack_streams.feed.family import DECIMALS, REST, optional_decimal

Row = dict[str, Any]


def _heading(symbol: str, received_us: int, event_us: int | None = None, engine_us: int | None = None) -> Row:
    return {
        "symbol": symbol,
        "source": REST,
        "event_time": event_us,
        "engine_time": engine_us,
        "received_time": received_us,
    }


def _rate(text: str) -> bytes:
    return bytes_from_unscaled(unscaled_from_text(text, RATE_SCALE))


def market_row(market: rest_wire.Market, received_us: int, age_seconds: int | None) -> Row:
    """A Market record."""
    return _heading(market.symbol, received_us) | {
        "base_symbol": market.base,
        "quote_symbol": market.quote,
        "market_type": market.market_type,
        "order_book_state": market.order_book_state,
        "created_time": market.created_at_us,
        "is_visible": market.visible,
        "tick_size": optional_decimal(market.tick_size),
        "minimum_price": optional_decimal(market.min_price),
        "maximum_price": optional_decimal(market.max_price),
        "step_size": optional_decimal(market.step_size),
        "minimum_quantity": optional_decimal(market.min_quantity),
        "maximum_quantity": optional_decimal(market.max_quantity),
        "funding_interval_millis": market.funding_interval_ms,
        "funding_rate_upper_bound": optional_decimal(market.funding_rate_upper_bound),
        "funding_rate_lower_bound": optional_decimal(market.funding_rate_lower_bound),
        "open_interest_limit": optional_decimal(market.open_interest_limit),
        "rwa_market_type": market.rwa_market_type,
        "raw": market.raw,
        "cache_age_seconds": age_seconds,
    }


def asset_row(asset: rest_wire.Asset, received_us: int, age_seconds: int | None) -> Row:
    """An Asset record."""
    return _heading(asset.symbol, received_us) | {
        "display_name": asset.display_name or asset.symbol,
        "coingecko_id": asset.coingecko_id,
        "tokens": [
            {
                "blockchain": token.blockchain,
                "display_name": token.display_name,
                "contract_address": token.contract_address,
                "deposit_enabled": token.deposit_enabled,
                "minimum_deposit": optional_decimal(token.minimum_deposit),
                "withdraw_enabled": token.withdraw_enabled,
                "minimum_withdrawal": optional_decimal(token.minimum_withdrawal),
                "maximum_withdrawal": optional_decimal(token.maximum_withdrawal),
                "withdrawal_fee": optional_decimal(token.withdrawal_fee),
                "native_decimals": token.native_decimals,
            }
            for token in asset.tokens
        ],
        "raw": asset.raw,
        "cache_age_seconds": age_seconds,
    }


def ticker_row(ticker: rest_wire.Ticker, received_us: int, age_seconds: int | None) -> Row:
    """A Ticker record."""
    return _heading(ticker.symbol, received_us) | {
        "first_price": optional_decimal(ticker.first_price),
        "last_price": optional_decimal(ticker.last_price),
        "high": optional_decimal(ticker.high),
        "low": optional_decimal(ticker.low),
        "base_volume": optional_decimal(ticker.volume),
        "quote_volume": optional_decimal(ticker.quote_volume),
        "trades": ticker.trades,
        "price_change": optional_decimal(ticker.price_change),
        "price_change_percent": optional_decimal(ticker.price_change_percent),
        "cache_age_seconds": age_seconds,
    }


def mark_price_row(mark: rest_wire.MarkPrice, received_us: int, age_seconds: int | None) -> Row:
    """A MarkPrice record."""
    next_ms = mark.next_funding_time_ms
    return _heading(mark.symbol, received_us) | {
        "mark_price": DECIMALS[mark.mark_price],
        "index_price": optional_decimal(mark.index_price),
        "funding_rate": None if mark.funding_rate is None else _rate(mark.funding_rate),
        "next_funding_time": None if next_ms is None else next_ms * 1000,
        "cache_age_seconds": age_seconds,
    }


def open_interest_row(interest: rest_wire.OpenInterest, received_us: int, age_seconds: int | None) -> Row:
    """An OpenInterest record; its event time is the one REST gives."""
    return _heading(interest.symbol, received_us, event_us=interest.timestamp_ms * 1000) | {
        "open_interest": optional_decimal(interest.open_interest),
        "cache_age_seconds": age_seconds,
    }


def funding_rate_row(rate: rest_wire.FundingRate, received_us: int, age_seconds: int | None) -> Row:
    """A FundingRate record; an interval that has not ended is not settled."""
    answered_us = received_us - (age_seconds or 0) * 1_000_000
    return _heading(rate.symbol, received_us) | {
        "interval_end_time": rate.interval_end_us,
        "funding_rate": _rate(rate.funding_rate),
        "is_settled": rate.interval_end_us <= answered_us,
        "cache_age_seconds": age_seconds,
    }


def snapshot_row(
    snapshot: rest_wire.DepthSnapshot,
    received_us: int,
    depth_limit: int,
    delta_topic: str,
    delta_partition: int,
    delta_offset: int,
) -> Row:
    """A BookSnapshot record, best levels first. A side as long as the limit may have been cut there."""
    return _heading(snapshot.symbol, received_us, engine_us=snapshot.timestamp_us) | {
        "origin": "SEED",
        "last_update_id": snapshot.last_update_id,
        "bids": _levels(snapshot.bids, descending=True),
        "asks": _levels(snapshot.asks, descending=False),
        "bids_complete": len(snapshot.bids) < depth_limit,
        "asks_complete": len(snapshot.asks) < depth_limit,
        "depth_limit": depth_limit,
        "delta_topic": delta_topic,
        "delta_partition": delta_partition,
        "delta_offset": delta_offset,
    }


def _levels(levels: tuple[tuple[str, str], ...], descending: bool) -> list[dict[str, bytes]]:
    ordered = sorted(((unscaled_from_text(price), quantity) for price, quantity in levels), reverse=descending)
    return [{"price": bytes_from_unscaled(price), "quantity": DECIMALS[quantity]} for price, quantity in ordered]


def is_crossed(snapshot: rest_wire.DepthSnapshot) -> bool:
    """Whether the best bid reaches the best ask: such a snapshot is wrong."""
    if not snapshot.bids or not snapshot.asks:
        return False
    best_bid = max(unscaled_from_text(price) for price, _ in snapshot.bids)
    return best_bid >= min(unscaled_from_text(price) for price, _ in snapshot.asks)
