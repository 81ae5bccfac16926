"""What is not delivered although it was confirmed shows by the ticker that is missing with it."""

import pytest

from backpack_streams.exchange.session_actions import LinkProven, StreamsActive, StreamsInactive
from backpack_streams.feed.delivery import Delivery
from backpack_streams.feed.heartbeats import LATE_SECONDS
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.start import Start
from unit.feed.recorded_lanes import Plant, depth_frame

STREAMS = ("depth.X", "trade.X", "ticker.X", "depth.Y", "ticker.Y", "trade.Z")


def ticker(symbol: str, at: float) -> dict[str, object]:
    us = round(at * 1_000_000)
    numbers = {"o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "V": "1", "n": 1}
    return {"stream": f"ticker.{symbol}", "data": {"e": "ticker", "E": us, "T": us, "s": symbol, **numbers}}


class Market:
    """Streams of three markets on one link, two of which have a heartbeat, second by second."""

    def __init__(self) -> None:
        self.plant = Plant(STREAMS, links=0)
        self.delivery = Delivery(self.plant.coverage, self.plant.router, ReadPause(_nothing, _nothing), Start(0.0))
        self.delivery.existing.update(("ticker.X", "ticker.Y"))
        self.delivery.resume({}, dict.fromkeys(STREAMS), self.plant.moment)
        self._take(StreamsActive(STREAMS, 1, 0.0))
        self.doubted: dict[str, str] = {}

    def pass_to(self, until: float, *beating: str) -> None:
        """The tickers of these markets come once a second, and the link answers."""
        while self.plant.now < until:
            self.plant.now += 1.0
            for symbol in beating:
                self.plant.send(ticker(symbol, self.plant.now), 1, round(self.plant.now * 1_000_000))
            self._take(LinkProven(1, self.plant.now))
            self.doubted |= self.delivery.on_tick(self.plant.moment, 0.0)

    def lose(self) -> dict[str, float]:
        """The link goes; until when each stream is stated as covered, in seconds."""
        self._take(StreamsInactive(STREAMS, 1, self.plant.now, "DISCONNECTED"))
        return {
            name: (interval.until or 0) / 1_000_000
            for interval, names in self.plant.coverage.statement()
            for name in names
        }

    def _take(self, event: StreamsActive | StreamsInactive | LinkProven) -> None:
        self.delivery.on_coverage(event, self.plant.moment)


def _nothing() -> None:
    pass


def test_all_is_covered_until_the_link_was_proven_while_heartbeats_come() -> None:
    market = Market()
    market.pass_to(20.0, "X", "Y")
    assert market.doubted == {}
    assert market.lose() == dict.fromkeys(STREAMS, 20.0)


def test_a_market_whose_heartbeat_is_missing_was_covered_until_it_came_last() -> None:
    market = Market()
    market.pass_to(10.0, "X", "Y")
    market.pass_to(14.0, "Y")
    market.plant.send(depth_frame(1, 1, 14_000_000), 1, 14_000_000)
    market.pass_to(21.0, "Y")
    covered = market.lose()
    assert {name for name, until in covered.items() if until == 10.0} == {"trade.X", "ticker.X"}
    assert covered["depth.X"] == 15.0, "it brought something itself: noticed at the next look"
    assert {covered[name] for name in ("depth.Y", "ticker.Y", "trade.Z")} == {21.0}


def test_a_market_whose_heartbeat_never_came_was_never_covered() -> None:
    market = Market()
    market.pass_to(20.0, "Y")
    assert market.lose()["trade.X"] == 0.0


def test_a_market_is_doubted_as_a_whole_once_its_heartbeat_is_late() -> None:
    market = Market()
    market.pass_to(10.0, "X", "Y")
    market.pass_to(10.0 + LATE_SECONDS, "Y")
    assert market.doubted == {}
    market.pass_to(12.0 + LATE_SECONDS, "Y")
    assert market.doubted.keys() == {"depth.X", "trade.X", "ticker.X"}


def test_one_that_is_a_little_late_or_that_nobody_knows_to_exist_shows_nothing() -> None:
    market = Market()
    market.delivery.existing.clear()
    market.pass_to(20.0, "Y")
    assert market.doubted == {}, "the market may have no ticker"
    assert market.lose() == dict.fromkeys(STREAMS, 20.0)


@pytest.mark.parametrize("seconds", [6.0, 60.0])
def test_where_no_heartbeat_comes_at_all_no_market_is_to_blame(seconds: float) -> None:
    market = Market()
    market.pass_to(10.0, "X", "Y")
    market.pass_to(10.0 + seconds)
    assert market.doubted == {}
    assert market.lose()["depth.Y"] == 10.0


def test_a_market_whose_heartbeat_has_never_come_is_not_doubted_again_and_again() -> None:
    market = Market()
    market.pass_to(60.0, "Y")
    assert market.doubted == {}
