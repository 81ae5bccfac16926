"""Stream names are parsed as by the exchange, and refused with its errors."""

import json

import pytest

from backpack_sandbox.streams import StreamName, WireError, parse_stream


@pytest.mark.parametrize(
    ("name", "kind", "symbol"),
    [
        ("depth.BTC_USDC_PERP", "depth", "BTC_USDC_PERP"),
        ("depth.AAPL.US_USDC_PERP", "depth", "AAPL.US_USDC_PERP"),
        ("depth.200ms.AAPL.US_USDC_PERP", "depth.200ms", "AAPL.US_USDC_PERP"),
        ("kline.1month.kSHIB_USDC_PERP", "kline.1month", "kSHIB_USDC_PERP"),
        ("bookTicker.SOL_USDC", "bookTicker", "SOL_USDC"),
        ("liquidation", "liquidation", None),
        ("liquidation.SOL_USDC_PERP", "liquidation", "SOL_USDC_PERP"),
        ("stockPrice.AAPL", "stockPrice", "AAPL"),
        ("account.orderUpdate", "account.orderUpdate", None),
        ("account.orderUpdate.AAPL.US_USDC_PERP", "account.orderUpdate", "AAPL.US_USDC_PERP"),
    ],
)
def test_good_names(name, kind, symbol):
    assert parse_stream(name) == StreamName(kind, symbol)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("nonsense.BTC_USDC", 4006, "Invalid stream"),
        ("kline.7m.BTC_USDC", 4006, "Invalid stream"),
        ("kline.BTC_USDC", 4006, "Invalid stream"),
        ("depth", 4006, "Invalid stream"),
        ("depth.", 4006, "Invalid stream"),
        ("trade.BTC USDC", 4006, "Invalid stream"),
        ("account.somethingElse", 4006, "Invalid stream"),
        ("", 4006, "Invalid stream"),
        ("depth.250ms.BTC_USDC", 4008, "Invalid depth window"),
    ],
)
def test_bad_names(name, code, message):
    error = parse_stream(name)
    assert isinstance(error, WireError)
    assert json.loads(error.payload) == {"id": None, "error": {"code": code, "message": message}}
