"""What a producer reports about its streams: which are alive, and for how long the others were silent."""

import math
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from backpack_streams.exchange.clock import ExchangeClock, Skew
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange_clients.measures import by_channel, clock_measures
from backpack_streams.feed import measures
from backpack_streams.feed.gap_reasons import loss_reasons
from backpack_streams.feed.measures import router_measures
from backpack_streams.markets.known_markets import ListAnswer
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.measures import market_list_measures
from backpack_streams.markets.selection import ListedMarket
from backpack_streams.publishing import reports
from backpack_streams.publishing.measures import report_measures
from unit.feed.recorded_queues import STREAM_SPECS, Plant, depth_frame, liquidation_frame, trade_frame

SECOND = 1_000_000


class Scraped:
    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"backpack_streams_{name}", labels)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Microseconds, in a list so that tests can change it."""
    now = [100 * SECOND]
    monkeypatch.setattr(measures, "_wall_us", lambda: now[0])
    return now


def test_silence_is_measured_for_the_channel_and_for_its_quietest_stream(clock: list[int]) -> None:
    plant = Plant(["trade.X", "trade.Y", "trade.Z", "depth.X", "liquidation"])
    scrape = Scraped(router_measures(plant.router, STREAM_SPECS, per_stream=False))
    plant.send(trade_frame(1, SECOND), at_us=110 * SECOND)
    plant.send(trade_frame(1, SECOND) | {"stream": "trade.Y"}, at_us=130 * SECOND)
    clock[0] = 150 * SECOND
    assert scrape("channel_silence_seconds", channel="trade") == 20.0
    assert scrape("stream_silence_seconds", channel="trade") == 40.0
    assert scrape("channel_silence_seconds", channel="depth") == 50.0, "since the start"
    assert scrape("channel_silence_seconds", channel="ticker") is None, "nobody subscribed to it"
    assert [scrape("streams_delivering", channel=each) for each in ("trade", "depth", "ticker")] == [2, 0, 0]


def test_one_stream_of_all_markets_counts_once(clock: list[int]) -> None:
    plant = Plant(["liquidation"])
    scrape = Scraped(router_measures(plant.router, STREAM_SPECS, per_stream=True))
    assert scrape("stream_last_frame_timestamp_seconds", stream="liquidation") is None
    plant.send(liquidation_frame(SECOND), at_us=120 * SECOND)
    assert scrape("stream_last_frame_timestamp_seconds", stream="liquidation") == 120.0


def test_every_loss_that_happened_was_counted_from_zero() -> None:
    plant = Plant(["depth.X", "trade.X"])
    for spec in STREAM_SPECS:
        plant.reporter.expect(spec.channel, loss_reasons(spec))
    expected = set(plant.reporter.gaps)
    for first, last in ((1, 1), (2, 2), (9, 9)):
        plant.send(depth_frame(first, last, last * SECOND), at_us=last * SECOND)
    plant.send(b'{"stream":"depth.X","data":{"e":"depth"}}', at_us=20 * SECOND)
    plant.send(trade_frame(5, SECOND), at_us=20 * SECOND)
    plant.send(trade_frame(9, 2 * SECOND), at_us=20 * SECOND)
    plant.uncover(0)
    plant.cover(1, at=40.0)
    plant.tick(60.0)
    happened = {key for key, times in plant.reporter.gaps.items() if times}
    assert ("depth", "SEQUENCE_BREAK") in happened
    assert ("depth", "DISCONNECTED") in happened
    assert happened - expected == {("depth", reports.STREAM_START), ("trade", reports.STREAM_START)}
    scrape = Scraped(report_measures(plant.reporter))
    assert scrape("gaps_total", channel="trade", reason="BUFFER_FULL") == 0
    assert scrape("gaps_total", channel="depth", reason="UNREADABLE_FRAME") == 1
    assert [scrape("dead_letters_total", reason=each) for each in ("UNPARSABLE", "INTERNAL")] == [1, 0]


def test_streams_are_counted_by_their_channel() -> None:
    streams = ["depth.X", "depth.200ms.X", "kline.1m.AAPL.US_USDC", "account.orderUpdate", "liquidation"]
    assert by_channel(streams, ["depth", "kline", "account.orderUpdate", "trade"]) == {
        "depth": 2,
        "kline": 1,
        "account.orderUpdate": 1,
        "trade": 0,
    }


def test_a_clock_that_was_never_compared_is_not_reported_as_right() -> None:
    clock = ExchangeClock()
    scrape = Scraped(clock_measures(clock))
    assert math.isnan(scrape("clock_ahead_seconds") or 0.0)
    clock.skew = Skew.measured(5_000_000, 3_000, 5_200_000)
    assert scrape("clock_ahead_seconds") == pytest.approx(2.0995)
    assert scrape("clock_uncertainty_seconds") == pytest.approx(0.1005)


def test_rejected_changes_of_the_market_list_are_reported() -> None:
    markets = MarketList(RestClient(), ["SPOT"])
    scrape = Scraped(market_list_measures(markets))
    assert scrape("market_list_age_seconds") is None
    everything = [ListedMarket(f"M{number}", "SPOT", "Open") for number in range(9)]
    for at, rows in ((0, everything), (60, everything[5:]), (120, []), (240, everything[5:])):
        markets._take([ListAnswer(rows, (), 0, at)])
    assert scrape("market_list_missing_markets") == 5
    assert scrape("market_list_refused_disappearances_total") == 1
    assert scrape("market_list_ignored_answers_total", reason="IGNORED_EMPTY") == 1
    assert scrape("market_list_ignored_answers_total", reason="IGNORED_OLDER") == 0
    assert scrape("market_list_age_seconds") is not None
