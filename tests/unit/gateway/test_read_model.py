"""The endpoints' answers from a read model that a test fills: cached while unchanged, refused with the reason, sent to listeners."""

from decimal import Decimal
from typing import Any

import pytest

from backpack_streams.books.market_view import MarketViews
from backpack_streams.gateway.answers import Answer
from backpack_streams.gateway.changes import BOOK, LIQUIDATIONS, MARK_PRICE, MARKETS, TICKER, TRADES, Change
from backpack_streams.gateway.endpoints import KLINE_INTERVALS, Endpoints
from backpack_streams.gateway.errors import RequestError, UnavailableError, UnknownSymbolError
from backpack_streams.gateway.history import History
from backpack_streams.gateway.json_text import Levels
from backpack_streams.gateway.kept_answers import KeptAnswers
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.topic_names import (
    KLINE_TOPIC,
    LIQUIDATION_TOPIC,
    MARK_PRICE_TOPIC,
    OPEN_INTEREST_TOPIC,
    TICKER_TOPIC,
    TRADE_TOPIC,
)
from vouched_plant import Clock
from vouched_plant import Plant as VouchedPlant

SECOND = 1_000_000
NOW = 1_796_000_000 * SECOND
ONE = 10**18


class NoOlderRecords:
    async def further(self, topic: str, symbol: str) -> bool:
        return False


def market(symbol: str, kind: str = "SPOT") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "base_symbol": symbol.split("_", maxsplit=1)[0],
        "quote_symbol": "USDC",
        "market_type": kind,
        "order_book_state": "Open",
        "raw": '{"createdAt":"2025-01-21T06:34:54"}',
        "created_time": None,
    }


def value(symbol: str, at: int = NOW, **fields: Any) -> dict[str, Any]:
    times = {"event_time": at, "engine_time": None, "received_time": at, "cache_age_seconds": None}
    return {"symbol": symbol, "source": "WEBSOCKET", **times, **fields}


def ticker(symbol: str, last: str, at: int = NOW) -> dict[str, Any]:
    numbers = dict.fromkeys(("first_price", "high", "low", "base_volume", "quote_volume"), Decimal(1))
    change = {"price_change": None, "price_change_percent": None}
    return value(symbol, at, last_price=Decimal(last), trades=3, **numbers, **change)


def mark(symbol: str, price: str) -> dict[str, Any]:
    next_us = NOW + 3600 * SECOND
    rate = Decimal("0.00001")
    return value(symbol, mark_price=Decimal(price), index_price=None, funding_rate=rate, next_funding_time=next_us)


def trade(trade_id: int) -> dict[str, Any]:
    record = value("A", NOW + trade_id, trade_id=trade_id, price=Decimal(2), quantity=Decimal(3), quote_quantity=None)
    return record | {"engine_time": NOW + trade_id, "is_buyer_maker": True}


class Model:
    """A read model with two markets and its endpoints."""

    def __init__(self) -> None:
        self.now_us = NOW + 2 * SECOND
        self.data = MarketData(now_us=lambda: self.now_us)
        for symbol, kind in (("A", "SPOT"), ("A_PERP", "PERP")):
            self.data.take_market(symbol, market(symbol, kind), 1)
        history = History(self.data, NoOlderRecords(), None, lambda: self.now_us)  # type: ignore[arg-type]
        self.endpoints = Endpoints(self.data, history, PlantView(self.data, Plant(), lambda: self.now_us))

    def ask(self, name: str, **parameters: Any) -> Answer:
        answer: Answer = getattr(self.endpoints, name)(parameters)
        return answer

    def book(self, **parameters: Any) -> Answer:
        return self.ask("orderbook", **{"symbol": "A", "depth": 25, "allow_stale": "false"} | parameters)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def plant(model: Model) -> VouchedPlant:
    """A producer and the book of market A."""
    plant = VouchedPlant(Clock())
    plant.live()
    model.data.set_books(MarketViews(plant.reader.books))
    model.now_us = plant.clock.wall_us() + SECOND
    return plant


def test_an_answer_is_the_same_object_until_its_data_changes(model: Model) -> None:
    model.data.take(TICKER_TOPIC, "A", ticker("A", "2"), 5)
    first = model.ask("ticker", symbol="A")
    model.now_us += SECOND
    again = model.ask("ticker", symbol="A")
    assert again.encoded is first.encoded
    assert (first.fresh["age_ms"], again.fresh["age_ms"]) == (2000, 3000)
    model.data.take(TICKER_TOPIC, "A", ticker("A", "3", NOW + 1), 6)
    other = model.ask("ticker", symbol="A")
    assert other.encoded is not first.encoded
    assert other.data["ticker"]["last_price"] == 3


def test_a_record_that_cannot_be_taken_blocks_no_later_one(model: Model) -> None:
    told: list[str] = []
    model.data.subscribe(lambda change: told.append(change.symbol))
    with pytest.raises(KeyError):
        model.data.take(TICKER_TOPIC, "A", {}, 5, is_news=False)
    model.data.take(TICKER_TOPIC, "A", ticker("A", "2"), 6)
    assert told == ["A"]


def test_all_tickers_are_as_old_as_the_oldest(model: Model) -> None:
    model.data.take(TICKER_TOPIC, "A_PERP", ticker("A_PERP", "2", NOW - SECOND), 5)
    model.data.take(TICKER_TOPIC, "A", ticker("A", "2"), 6)
    answer = model.ask("ticker", symbol=None)
    assert [row["symbol"] for row in answer.data["tickers"]] == ["A", "A_PERP"]
    assert answer.fresh == {"as_of": NOW - SECOND, "age_ms": 3000}
    model.data.take(TICKER_TOPIC, "A", ticker("A", "4", NOW + 1), 7)
    assert model.ask("ticker", symbol=None).data["tickers"][0]["last_price"] == 4


def test_markets_are_filtered_by_kind_and_follow_the_list(model: Model) -> None:
    assert model.ask("markets", type="PERP").data["count"] == 1
    assert model.ask("markets", type=None).data["count"] == 2
    model.data.take_market("A_PERP", None, 2)
    answer = model.ask("markets", type=None)
    assert [row["symbol"] for row in answer.data["markets"]] == ["A"]
    with pytest.raises(UnknownSymbolError, match="there is no market 'A_PERP'"):
        model.ask("ticker", symbol="A_PERP")


def test_a_book_is_encoded_once_for_all_clients_and_has_its_age(model: Model, plant: VouchedPlant) -> None:
    first = model.book()
    assert first.data["bids"] == Levels([(ONE, ONE)])
    assert first.data["asks"] == Levels([(2 * ONE, ONE)])
    assert (first.fresh["book_status"], first.fresh["reason"]) == ("LIVE", "")
    assert first.fresh["age_ms"] == (model.now_us - first.fresh["as_of"]) // 1000
    assert model.book().encoded is first.encoded
    assert model.book(depth=1).encoded is not first.encoded
    plant.read(plant.update())
    after = model.book()
    assert after.encoded is not first.encoded
    assert after.data["last_update_id"] == first.data["last_update_id"] + 1
    assert after.data["bids"] == Levels([(ONE, 11 * ONE)])


def test_a_book_that_a_snapshot_replaced_at_the_same_id_is_encoded_again(model: Model, plant: VouchedPlant) -> None:
    first = model.book()
    model.data.books_changed(["A"])
    assert model.book().encoded is not first.encoded


def test_a_book_that_is_not_live_is_refused_with_the_reason(model: Model, plant: VouchedPlant) -> None:
    levels = model.book().data["bids"]
    plant.pass_(10.0)
    with pytest.raises(UnavailableError, match="the book of A is STALE: no producer has vouched") as refusal:
        model.book()
    assert refusal.value.meta["book_status"] == "STALE"
    assert refusal.value.meta["reason"] in str(refusal.value)
    assert refusal.value.retry_after_seconds
    stale = model.book(allow_stale="true")
    assert (stale.fresh["book_status"], stale.data["bids"]) == ("STALE", levels)


def test_the_age_of_a_book_is_right_even_if_clocks_differ(model: Model, plant: VouchedPlant) -> None:
    age_ms = model.book().fresh["age_ms"]
    model.now_us += 600 * SECOND
    watermark = {"instance": "a", "published_time": plant.clock.wall_us(), "is_final": False}
    model.data.clock_offsets.take(watermark, plant.clock.wall_us() + 600 * SECOND)
    assert model.book().fresh["age_ms"] == age_ms


def test_a_listed_market_without_a_book_is_syncing(model: Model) -> None:
    with pytest.raises(UnavailableError, match="SYNCING: Kafka has no snapshot"):
        model.book()
    answer = model.book(allow_stale="true")
    assert (answer.data["bids"], answer.data["last_update_id"]) == (Levels([]), None)


@pytest.mark.parametrize("name", ["ticker", "funding", "orderbook"])
def test_for_an_unknown_market_the_nearest_one_is_suggested(model: Model, name: str) -> None:
    with pytest.raises(UnknownSymbolError, match="did you mean 'A_PERP'"):
        model.ask(name, symbol="a_perp", depth=1, allow_stale="true")


def test_without_kafka_only_meta_and_plant_are_answered(model: Model, plant: VouchedPlant) -> None:
    model.data.take(TICKER_TOPIC, "A", ticker("A", "2"), 5)
    model.data.set_unavailable("pulse", "Kafka at k:9092 has not answered")
    for name in ("ticker", "orderbook", "funding"):
        with pytest.raises(UnavailableError, match="Kafka at k:9092 has not answered"):
            model.ask(name, symbol="A", depth=1, allow_stale="true")
    with pytest.raises(UnavailableError, match="k:9092"):
        model.ask("markets", type=None)
    assert model.ask("meta").data["kline_intervals"] == list(KLINE_INTERVALS)
    assert model.ask("plant").data["kafka"] == "Kafka at k:9092 has not answered"
    model.data.set_unavailable("pulse", "")
    assert model.ask("ticker", symbol="A").data["symbol"] == "A"


def test_before_the_market_list_arrives_no_market_is_unknown() -> None:
    data = MarketData()
    with pytest.raises(UnavailableError, match="the market list is not in Kafka yet"):
        data.check_symbol("A")


def test_funding_joins_mark_price_and_open_interest(model: Model) -> None:
    with pytest.raises(UnavailableError, match="no mark price of A_PERP"):
        model.ask("funding", symbol="A")
    model.data.take(MARK_PRICE_TOPIC, "A_PERP", mark("A_PERP", "5"), 1)
    assert model.ask("funding", symbol="A").data["open_interest"] is None
    model.data.take(OPEN_INTEREST_TOPIC, "A_PERP", value("A_PERP", open_interest=Decimal(9)), 2)
    answer = model.ask("funding", symbol="A")
    assert (answer.data["symbol"], answer.data["mark_price"], answer.data["open_interest"]) == ("A_PERP", 5, 9)


def test_a_market_without_funding_is_not_found(model: Model) -> None:
    model.data.take_market("B", market("B"), 3)
    with pytest.raises(UnknownSymbolError, match="no perpetual of B"):
        model.ask("funding", symbol="B")


async def test_trades_are_as_old_as_their_stream(model: Model) -> None:
    for trade_id in (1, 2):
        model.data.take(TRADE_TOPIC, "A", trade(trade_id), trade_id)
    answer = await model.endpoints.trades({"symbol": "A", "limit": 5})
    assert [row["id"] for row in answer.data["trades"]] == [2, 1]
    assert (answer.data["trades"][0]["side"], answer.fresh["as_of"]) == ("sell", NOW + 2)
    model.data.set_completeness(lambda topic, stream: NOW + SECOND if stream == "trade.A" else None)
    again = await model.endpoints.trades({"symbol": "A", "limit": 5})
    assert (again.encoded is answer.encoded, again.fresh["as_of"]) == (True, NOW + SECOND)


async def test_a_market_without_candles_is_reported(model: Model) -> None:
    with pytest.raises(RequestError, match="no candles of A with the interval 1m"):
        await model.endpoints.klines({"symbol": "A", "interval": "1m", "limit": 5})


def test_listeners_get_each_change_once_and_no_history(model: Model) -> None:
    heard: list[Change] = []
    leave = model.data.subscribe(heard.append)
    model.data.take(TRADE_TOPIC, "A", trade(5), 1)
    model.data.take(TRADE_TOPIC, "A", trade(5), 2)
    model.data.take(TRADE_TOPIC, "A", trade(4), -1, is_news=False)
    model.data.take(TICKER_TOPIC, "A", ticker("A", "2"), 3)
    model.data.take(MARK_PRICE_TOPIC, "A_PERP", mark("A_PERP", "5"), 4)
    liquidation = value("A_PERP", side="Bid", price=Decimal(1), quantity=Decimal(1))
    model.data.take(LIQUIDATION_TOPIC, "A_PERP", liquidation, 5)
    model.data.take_market("A", None, 6)
    model.data.books_changed(["A"])
    leave()
    model.data.take(TRADE_TOPIC, "A", trade(6), 7)
    assert [(change.channel, change.symbol, change.sequence) for change in heard] == [
        (TRADES, "A", 1),
        (TICKER, "A", 3),
        (MARK_PRICE, "A_PERP", 4),
        (LIQUIDATIONS, "A_PERP", 5),
        (MARKETS, "A", 6),
        (BOOK, "A", -1),
    ]
    assert model.data.sequence(TRADES, "A") == 7
    assert model.data.sequence(TICKER, "B") == -1
    assert [entry.row["id"] for entry in model.data.newest(TRADES, "A", 9)] == [6, 5, 4]


def test_candles_are_sent_with_their_interval_and_quote_volume(model: Model) -> None:
    heard: list[Change] = []
    model.data.take(TRADE_TOPIC, "A", trade(5), 1)
    model.data.subscribe(heard.append)
    minute = NOW // 60_000_000 * 60_000_000
    record = value("A", NOW + 10, interval="1m", start_time=minute, end_time=minute + 60_000_000, is_closed=False)
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(2))
    model.data.take(
        KLINE_TOPIC, "A", record | prices | {"base_volume": Decimal(3), "quote_volume": None, "trades": 1}, 2
    )
    [change] = heard
    assert (change.channel, change.row and change.row["quote_volume"]) == ("klines.1m", 6)


def test_only_the_most_recently_requested_answers_are_kept() -> None:
    kept = KeptAnswers(2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, 1, "", dict)
    made = kept.made
    kept.get("a", 1, "", dict)
    assert kept.made == made
    kept.get("b", 1, "", dict)
    assert kept.made == made + 1


def test_rows_that_rest_brought_first_are_told_when_they_come_from_kafka(model: Model) -> None:
    told: list[tuple[str, int]] = []
    model.data.subscribe(lambda change: told.append((change.channel, change.sequence)))
    trade = value("A", trade_id=1, price=Decimal(2), quantity=Decimal(3), quote_quantity=None, is_buyer_maker=True)
    model.data.take(TRADE_TOPIC, "A", trade | {"source": "REST"}, -1, is_news=False)
    model.data.take(TRADE_TOPIC, "A", trade | {"engine_time": NOW + 500}, 4)
    model.data.take(TRADE_TOPIC, "A", trade | {"engine_time": NOW + 500}, 5)
    assert told == [(TRADES, 4)]


def test_tickers_of_delisted_markets_are_not_among_all(model: Model) -> None:
    for symbol, at in (("A", NOW), ("A_PERP", NOW - 3600 * SECOND)):
        model.data.take(TICKER_TOPIC, symbol, ticker(symbol, "2", at), 5)
    model.ask("ticker", symbol=None)
    model.data.take_market("A_PERP", None, 9)
    answer = model.ask("ticker", symbol=None)
    assert [row["symbol"] for row in answer.data["tickers"]] == ["A"]
    assert answer.fresh["as_of"] == NOW


def test_a_changed_row_of_the_market_list_is_no_new_market(model: Model) -> None:
    told: list[tuple[str, bool]] = []
    model.data.subscribe(lambda change: told.append((change.symbol, change.row is not None)))
    model.data.take_market("A", market("A") | {"order_book_state": "Closed"}, 2)
    assert model.data.markets()["A"]["status"] == "Closed"
    assert told == []
    model.data.take_market("A", None, 3)
    model.data.take_market("A", market("A"), 4)
    assert told == [("A", False), ("A", True)]


def test_a_replaced_market_list_tells_of_new_markets(model: Model) -> None:
    told: list[Change] = []
    model.data.subscribe(told.append)
    model.data.set_markets({**model.data.markets(), "B": {"symbol": "B"}})
    assert [(change.channel, change.symbol, change.row) for change in told] == [(MARKETS, "B", {"symbol": "B"})]
