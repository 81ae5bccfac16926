"""Against pandas and Polars themselves: every digit, nulls for missing values, times with their zone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from recorded_markets import Follower, recorded_records

from backpack_streams.books.adapters.frames import Tops
from backpack_streams.books.market_book import MarketBook
from backpack_streams.errors import BookError

SYMBOL = "LINK_USDC_PERP"
COLUMNS = ["symbol", "status", "last_update_id", "engine_time"] + [
    f"{name}_{level}" for level in (1, 2) for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
]


def tops() -> tuple[Tops, MarketBook]:
    found = Tops(levels=2)
    found.add(MarketBook("EMPTY_USDC"))
    follower = Follower(SYMBOL)
    for record in recorded_records(SYMBOL):
        follower.take(record)
        if record.name == "BookSnapshot":
            found.add(follower.market)
    found.add(follower.market)
    return found, follower.market


def last_row(market: MarketBook) -> dict[str, Any]:
    bids, asks = market.book.depth(2)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=market.engine_time)
    values = [SYMBOL, "LIVE", market.last_update_id, moment, *bids[0], *asks[0], *bids[1], *asks[1]]
    return dict(zip(COLUMNS, values, strict=True))


def test_a_polars_frame_is_exact() -> None:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    found, market = tops()
    frame = found.polars()
    assert frame.columns == COLUMNS
    assert frame.schema["bid_price_1"] == polars.Decimal(38, 18)
    assert frame.schema["engine_time"] == polars.Datetime("us", "UTC")
    assert frame.row(-1, named=True) == last_row(market)
    assert frame.row(0) == ("EMPTY_USDC", "SYNCING", *[None] * 10)
    assert Tops().polars().is_empty()


def test_a_pandas_frame_is_exact() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found, market = tops()
    frame = found.pandas()
    assert list(frame.columns) == COLUMNS
    assert str(frame["engine_time"].dtype).startswith("datetime64[")
    assert str(frame["engine_time"].dt.tz) == "UTC"
    assert frame.iloc[-1].to_dict() == last_row(market)
    assert isinstance(frame["bid_price_1"].iloc[-1], Decimal)
    assert pandas.isna(frame["engine_time"].iloc[0])
    assert frame["bid_price_1"].iloc[0] is None
    assert len(Tops().pandas()) == 0


def test_records_give_the_same_rows_as_books() -> None:
    found, market = tops()
    from_records = Tops(levels=2)
    value = {"symbol": SYMBOL, "status": "LIVE", "engine_time": market.engine_time}
    from_records.add_record(value | {"last_update_id": market.last_update_id} | market.book.to_record(20))
    assert {name: column[-1:] for name, column in found._columns.items()} == from_records._columns
    for broken in ({}, value | {"last_update_id": 1, "bids": None, "asks": []}):
        with pytest.raises(BookError, match="no BookTop"):
            from_records.add_record(broken)
    with pytest.raises(BookError, match="1 or more"):
        Tops(0)
    assert len(from_records) == 1
