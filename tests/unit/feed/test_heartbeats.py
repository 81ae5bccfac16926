"""A confirmed subscription that does not deliver is detected by the missing ticker of its market."""

import pytest

from backpack_streams.exchange.session_actions import SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.delivery import Delivery
from backpack_streams.feed.heartbeats import LATE_SECONDS, Heartbeats
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.start import Start
from unit.feed.recorded_queues import Plant, depth_frame, trade_frame

STREAMS = ("depth.X", "trade.X", "ticker.X", "depth.Y", "ticker.Y", "trade.Z")


def ticker(symbol: str, at: float) -> dict[str, object]:
    us = round(at * 1_000_000)
    numbers = {"o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "V": "1", "n": 1}
    return {"stream": f"ticker.{symbol}", "data": {"e": "ticker", "E": us, "T": us, "s": symbol, **numbers}}


class Market:
    """Streams of three markets on one socket, two of them with a heartbeat, second by second."""

    def __init__(self) -> None:
        self.plant = Plant(STREAMS, sockets=0)
        self.delivery = Delivery(self.plant.coverage, self.plant.router, ReadPause(_nothing, _nothing), Start(0.0))
        self.delivery.expect(("ticker.X", "ticker.Y"))
        self.delivery.resume({}, dict.fromkeys(STREAMS), self.plant.moment)
        self.take(StreamsActive(STREAMS, 1, 0.0))
        self.doubted: dict[str, str] = {}

    def pass_to(self, until: float, *beating: str) -> None:
        """The tickers of these markets come once a second, and the socket answers."""
        while self.plant.now < until:
            self.plant.now += 1.0
            for symbol in beating:
                self.plant.send(ticker(symbol, self.plant.now), 1, round(self.plant.now * 1_000_000))
            self.take(SocketProven(1, self.plant.now))
            self.doubted |= self.delivery.on_tick(self.plant.moment, 0.0)

    def counts(self) -> set[str]:
        """Streams whose coverage since the last break counts for a successor."""
        return {name for interval, names in self.plant.coverage.statement() if interval.is_settled for name in names}

    def reconnect(self) -> None:
        """The socket goes, and another one is confirmed at once."""
        self.lose()
        self.plant.now += 0.25
        self.take(StreamsActive(STREAMS, 1, self.plant.now))

    def take_away(self, stream: str) -> None:
        """The session knows that a stream is not delivered."""
        self.take(StreamsInactive((stream,), 1, self.plant.now, "SILENT"))

    def lose(self) -> dict[str, float]:
        """The socket goes; returns until when each stream is stated as covered, in seconds."""
        self.take(StreamsInactive(STREAMS, 1, self.plant.now, "DISCONNECTED"))
        return {
            name: (interval.until or 0) / 1_000_000
            for interval, names in self.plant.coverage.statement()
            for name in names
        }

    def succeed(self, socket: int, at: float) -> None:
        """A successor is confirmed at `at`, and only then the first socket, last heard of now, is given up."""
        through, self.plant.now = self.plant.now, at
        self.take(StreamsActive(STREAMS, socket, at))
        self.take(StreamsInactive(STREAMS, 1, through, "DISCONNECTED"))

    def succeed_for(self, socket: int, seconds: float, *beating: str) -> None:
        """Nothing comes for 6 s, a successor delivers heartbeats for `seconds`, and then the first socket is given up as silent."""
        through = self.plant.now
        self.plant.now += 6.0
        self.take(StreamsActive(STREAMS, socket, self.plant.now))
        until = self.plant.now + seconds
        while self.plant.now < until:
            self.plant.now += 1.0
            for symbol in beating:
                self.plant.send(ticker(symbol, self.plant.now), socket, round(self.plant.now * 1_000_000))
            self.take(SocketProven(socket, self.plant.now))
            self.delivery.on_tick(self.plant.moment, 0.0)
        self.take(StreamsInactive(STREAMS, 1, through, "SILENT"))

    def take(self, event: StreamsActive | StreamsInactive | SocketProven) -> None:
        self.delivery.on_coverage(event, self.plant.moment)


def _nothing() -> None:
    pass


def test_all_streams_are_covered_until_the_last_proof_of_the_socket_while_heartbeats_come() -> None:
    market = Market()
    market.pass_to(20.0, "X", "Y")
    assert market.doubted == {}
    assert market.lose() == dict.fromkeys(STREAMS, 20.0)


def test_a_market_without_heartbeat_was_covered_until_its_last_one() -> None:
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


def test_a_successor_after_the_last_heartbeat_does_not_cover_the_time_before_it() -> None:
    market = Market()
    market.pass_to(20.0, "X", "Y")
    market.pass_to(23.0, "Y")
    market.succeed(2, 23.5)
    [told] = [row for row in market.plant.partition_queues.gaps if row["stream"] == "ticker.X"]
    assert (told["last_time"], told["next_time"]) == (20_000_000, 23_500_000)
    [told] = [row for row in market.plant.partition_queues.gaps if row["stream"] == "ticker.Y"]
    assert (told["last_time"], told["next_time"]) == (23_000_000, 23_500_000), "no heartbeat is missing there"


def test_heartbeats_of_a_successor_prove_nothing_about_the_socket_before_it() -> None:
    """The old socket is given up only after the successor has delivered heartbeats for a while; it never delivered the market."""
    market = Market()
    market.pass_to(20.0, "X", "Y")
    market.reconnect()
    market.pass_to(23.25, "Y")
    market.succeed_for(2, 10.0, "X", "Y")
    told = [row for row in market.plant.partition_queues.gaps if row["stream"] == "ticker.X"]
    assert [(row["last_time"], row["next_time"]) for row in told][1:] == [(20_250_000, 29_250_000)]
    told = [row for row in market.plant.partition_queues.gaps if row["stream"] == "ticker.Y"]
    assert [(row["last_time"], row["next_time"]) for row in told][1:] == [(23_250_000, 29_250_000)]


def test_after_a_break_only_markets_proven_to_deliver_count_for_a_successor() -> None:
    """A subscription may be confirmed and forgotten, and this producer killed before it can know."""
    market = Market()
    market.pass_to(20.0, "X", "Y")
    assert market.counts() == set(STREAMS)
    market.reconnect()
    market.pass_to(26.0, "Y")
    assert market.counts() == {"depth.Y", "ticker.Y", "trade.Z"}, "what its last break cost is on record, X's too"
    market.pass_to(27.0, "X", "Y")
    assert market.counts() == set(STREAMS)


def test_a_heartbeat_just_before_a_break_proves_nothing_after_it() -> None:
    market = Market()
    market.pass_to(20.0, "Y")
    market.plant.send(ticker("X", 20.1), 1, 20_100_000)
    market.reconnect()
    market.pass_to(24.0, "Y")
    assert not market.counts() & {"depth.X", "ticker.X", "trade.X"}


def test_a_whole_market_is_doubted_once_its_heartbeat_is_late() -> None:
    market = Market()
    market.pass_to(10.0, "X", "Y")
    market.pass_to(10.0 + LATE_SECONDS, "Y")
    assert market.doubted == {}
    market.pass_to(12.0 + LATE_SECONDS, "Y")
    assert market.doubted.keys() == {"depth.X", "trade.X", "ticker.X"}


def test_a_heartbeat_known_not_to_be_delivered_proves_nothing_about_its_market() -> None:
    """The exchange ignores the subscription of a ticker, and that is known: no trade for some seconds is then normal."""
    market = Market()
    market.pass_to(10.0, "X", "Y")
    for second in range(11, 40):
        if second < 19:
            market.plant.send(trade_frame(second, second), 1, second * 1_000_000)
        market.pass_to(float(second), "Y")
        for stream in market.doubted.keys() & {"ticker.X"}:
            market.take_away(stream)
    assert market.doubted.keys() == {"ticker.X", "depth.X"}


def test_a_heartbeat_that_may_not_exist_proves_nothing_by_its_absence() -> None:
    market = Market()
    market.delivery.existing.clear()
    market.pass_to(20.0, "Y")
    assert market.doubted == {}, "the market may have no ticker"
    assert market.lose() == dict.fromkeys(STREAMS, 20.0)


@pytest.mark.parametrize("seconds", [6.0, 60.0])
def test_if_no_heartbeat_comes_at_all_no_market_is_doubted(seconds: float) -> None:
    market = Market()
    market.pass_to(10.0, "X", "Y")
    market.pass_to(10.0 + seconds)
    assert market.doubted == {}
    assert market.lose()["depth.Y"] == 10.0


def test_a_market_whose_heartbeat_has_never_come_is_not_doubted_repeatedly() -> None:
    market = Market()
    market.pass_to(60.0, "Y")
    assert market.doubted == {}


def test_a_stream_that_is_added_to_a_market_may_be_lost_at_once() -> None:
    market = Market()
    market.pass_to(20.0, "X", "Y")
    market.plant.want((*STREAMS, "bookTicker.X"))
    market.plant.now += 0.25
    market.take(StreamsActive(("bookTicker.X",), 1, market.plant.now))
    market.take_away("bookTicker.X")
    assert not market.plant.coverage.is_covered("bookTicker.X")


@pytest.mark.parametrize("away_seconds", [0.0, 3.0])
def test_a_stream_that_is_wanted_again_has_shown_nothing(away_seconds: float) -> None:
    market = Market()
    market.pass_to(20.0, "X", "Y")
    market.take(StreamsInactive(("depth.X", "trade.X", "ticker.X"), 1, 20.0, "UNSUBSCRIBED"))
    market.plant.want(("depth.Y", "ticker.Y"))
    market.pass_to(20.0 + away_seconds, "Y")
    market.plant.want(STREAMS)
    market.take(StreamsActive(("depth.X", "trade.X", "ticker.X"), 1, market.plant.now))
    market.pass_to(40.0, "Y")
    assert market.lose()["ticker.X"] == 20.0 + away_seconds, "it was covered for no time at all"


def test_streams_that_are_no_longer_wanted_leave_nothing_behind() -> None:
    heartbeats, plant = Heartbeats(), Plant(())
    for number in range(100):
        plant.want((f"ticker.M{number}", f"depth.M{number}"))
        heartbeats.look(plant.router.feeds, float(number))
    assert len(heartbeats._seen) == len(plant.router.feeds)
