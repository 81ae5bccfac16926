"""Converts trades, candles and funding rates of the REST API to the records of their streams."""

from typing import Any

from backpack_streams.bus.decimals import RATE_SCALE, bytes_from_unscaled, unscaled_from_text
from backpack_streams.exchange import rest_wire
from backpack_streams.publishing.sources import REST


def trade_record(trade: rest_wire.Trade, received_us: int) -> dict[str, Any]:
    """Return a Trade record. REST gives times in whole milliseconds and no order ids. `received_us` is in µs since the Unix epoch."""
    return {
        "symbol": trade.symbol,
        "source": REST,
        "event_time": trade.timestamp_ms * 1000,
        "engine_time": None,
        "received_time": received_us,
        "trade_id": trade.trade_id,
        "price": trade.price,
        "quantity": trade.quantity,
        "quote_quantity": trade.quote_quantity,
        "buyer_order_id": None,
        "seller_order_id": None,
        "is_buyer_maker": trade.is_buyer_maker,
    }


def kline_record(candle: rest_wire.Kline, received_us: int) -> dict[str, Any]:
    """Return a Kline record of a closed candle; REST does not give its event time. `received_us` is in µs since the Unix epoch."""
    return {
        "symbol": candle.symbol,
        "source": REST,
        "event_time": None,
        "engine_time": None,
        "received_time": received_us,
        "interval": candle.interval,
        "start_time": candle.start_us,
        "end_time": candle.end_us,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "base_volume": candle.volume,
        "quote_volume": candle.quote_volume,
        "trades": candle.trades,
        "is_closed": True,
    }


def funding_rate_record(rate: rest_wire.FundingRate, received_us: int) -> dict[str, Any]:
    """Return a FundingRate record of a settled interval. `received_us` is in µs since the Unix epoch.

    Raises:
        DecimalDoesNotFit: the rate is not a decimal, or has too many digits.
    """
    return {
        "symbol": rate.symbol,
        "source": REST,
        "event_time": None,
        "engine_time": None,
        "received_time": received_us,
        "interval_end_time": rate.interval_end_us,
        "funding_rate": bytes_from_unscaled(unscaled_from_text(rate.funding_rate, RATE_SCALE)),
        "is_settled": True,
        "cache_age_seconds": None,
    }
