"""What is put on record of a record that Kafka refuses for good: its stream and its bounds, so that it can be fetched again."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backpack_streams.bus.publisher import Rejected
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.reporter import Reporter
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.rest_poller.refilling import span_of

MINUTE = 60_000_000


def stream_of(topic_name: str, symbol: str, record: Mapping[str, Any]) -> str:
    channel = topic_name.removeprefix("market.")
    return f"{channel}.{record['interval']}.{symbol}" if "interval" in record else f"{channel}.{symbol}"


def refused(topic_name: str, value: bytes | None = None, **record: Any) -> dict[str, Any]:
    """The gap that follows."""
    gaps: list[dict[str, Any]] = []
    publishing = Publishing("the-service", PublishingSettings(bootstrap_servers=("nowhere:1",)), stream_of)
    publishing.reporter = cast(
        Reporter, SimpleNamespace(dead_letter=lambda **_: None, gap=lambda **gap: gaps.append(gap))
    )
    if record:
        shared = {"symbol": "X", "source": "WEBSOCKET", "event_time": 1, "engine_time": 1, "received_time": 1}
        value = publishing.encoder(topic_name)(shared | record)
    publishing._on_rejected(Rejected(f"backpack.{topic_name}", 0, (b"X", value, 1), "it is too large"))
    [gap] = gaps
    return gap


def candle(*, is_closed: bool) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close", "base_volume", "quote_volume", "trades"))
    return {"interval": "1m", "start_time": MINUTE, "end_time": 2 * MINUTE, "is_closed": is_closed} | prices


def test_a_refused_closed_candle_is_a_gap_of_its_interval_that_names_its_times() -> None:
    gap = refused("market.kline", **candle(is_closed=True))
    assert (gap["stream"], gap["lost_records"]) == ("kline.1m.X", 1)
    assert (gap["last_time_us"], gap["next_time_us"]) == (MINUTE, 2 * MINUTE)


def test_a_refused_open_candle_is_not_to_be_fetched() -> None:
    gap = refused("market.kline", **candle(is_closed=False))
    assert gap["stream"] == "kline.1m.X"
    assert not gap.keys() & {"last_time_us", "next_time_us"}


def test_a_refused_trade_is_a_gap_that_is_refilled() -> None:
    sides = {"buyer_order_id": None, "seller_order_id": None, "is_buyer_maker": True}
    gap = refused("market.trade", trade_id=7, price=b"\1", quantity=b"\1", **sides)
    assert span_of(gap) == (7, 8)


def test_refused_updates_of_a_book_are_a_gap_that_a_snapshot_has_to_include() -> None:
    gap = refused("market.depth", first_update_id=7, last_update_id=9, bids=[], asks=[])
    assert (gap["stream"], gap["last_id"], gap["next_id"]) == ("depth.X", 6, 10)


@pytest.mark.parametrize("value", [None, b"", b"no record"])
def test_a_refused_value_that_is_no_record_is_a_gap_without_bounds(value: bytes | None) -> None:
    gap = refused("market.trade", value)
    assert (gap["stream"], gap["reason"], gap["lost_records"]) == ("trade.X", "REJECTED_BY_KAFKA", 1)
    assert not gap.keys() & {"last_id", "next_id"}
