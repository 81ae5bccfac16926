"""Each answer of the read API, field by field and to the last digit, compared with one computed from the exchange's own state."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from embedded_kafka import BlockingKafka
from gateway_answers import ENVELOPE, ReadApi, candle, levels, market, texts, ticker, trade, trimmed
from plant import Exchange, Plant, get, running_plant, wait_until
from reading import read_topic

TYPES = ("SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ")
MARKETS = ("SOL_USDC", "BTC_USDC_PERP", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP", "ETH_USDC_IPERP", "BTC_USDC_270326")
FUTURES = ("BTC_USDC_PERP", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP", "ETH_USDC_IPERP", "BTC_USDC_270326")
LEAST_TRADES = 30
START_SECONDS = 180.0


class Rig:
    """A plant at rest behind a gateway, and the frames that the exchange still sends by the clock."""

    def __init__(self, plant: Plant, api: ReadApi, frames: dict[str, list[dict[str, Any]]]) -> None:
        self.plant = plant
        self.api = api
        self.frames = frames

    @property
    def exchange(self) -> Exchange:
        return self.plant.exchange

    def rest(self, path: str) -> Any:
        """The exchange's own answer."""
        return json.loads(get(self.exchange.rest_url + path))

    def frame(self, stream: str, event_time: int) -> dict[str, Any]:
        """The exchange's frame on a stream at a moment (µs), as this test received it."""
        wait_until(f"{stream} of {event_time} is here", lambda: self._find(stream, event_time) is not None)
        found = self._find(stream, event_time)
        assert found is not None
        return found

    def _find(self, stream: str, event_time: int) -> dict[str, Any] | None:
        return next((each for each in self.frames.get(stream, []) if each["E"] == event_time), None)


@contextmanager
def listening(exchange: Exchange, streams: list[str]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The frames of these streams, by stream; numbers are text as sent."""
    frames: dict[str, list[dict[str, Any]]] = {}
    with connect(exchange.ws_url, compression=None, max_size=None, ping_interval=None) as socket:
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": streams}))

        def listen() -> None:
            for payload in socket:
                frame = json.loads(payload)
                frames.setdefault(frame["stream"], []).append(frame["data"])

        thread = threading.Thread(target=listen)
        thread.start()
        yield frames
        socket.close()
        thread.join(20)


@pytest.fixture(scope="module")
def rig(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_plant(kafka.bootstrap_servers, folder, "gateway.") as plant:
        exchange = plant.start_exchange(
            *("--symbols", "5", "--every-kind", "--rate", "100"),
            *("--open-interest-seconds", "1", "--cache-seconds", "0", "--historical-requests-per-minute", "10000"),
        )
        plant.start_ready("rest-poller", "--ticker-refresh", "0", "--mark-price-refresh", "0")
        services = [plant.start("market-producer"), plant.start("perp-producer")]
        api = ReadApi(plant, "--rate-limit-share", "1", "--rest-queue-timeout", "60", "--max-age", "30")
        streams = [f"{name}.{each}" for name in ("ticker", "markPrice", "openInterest") for each in MARKETS]
        with listening(exchange, streams) as frames:
            for service in services:
                wait_until("a producer is ready", service.is_ready, START_SECONDS)
            api.wait_ready()
            wait_until("there are some trades", lambda: _trades_sent(exchange) >= LEAST_TRADES, START_SECONDS)
            exchange.finish()
            exchange.wait_finished()
            yield Rig(plant, api, frames)


def _trades_sent(exchange: Exchange) -> int:
    """The number of trades of the market with the fewest."""
    sequences = exchange.ask("/sequences")
    return min(int(sequences[symbol]["trades"]["count"]) for symbol in MARKETS)


def settled(what: str, ours: Callable[[], Any], truth: Callable[[], Any]) -> Any:
    """Wait until both are equal: some rows change by the clock, so either may be a moment ahead. Returns the equal value."""
    deadline = time.monotonic() + 30
    while True:
        before = truth()
        answer = ours()
        if answer == before or answer == truth():
            return answer
        if time.monotonic() > deadline:
            assert answer == before, what
        time.sleep(0.2)


def test_the_envelope_equals_that_of_the_facade(rig: Rig) -> None:
    body = rig.api.ask("/v1/ticker?symbol=SOL_USDC").body
    assert list(body) == ENVELOPE
    assert list(body["meta"]) == ["timestamp", "request_id"]
    assert (body["status"], body["message"], body["success"]) == ("ok", "Ticker retrieved successfully", True)


@pytest.mark.parametrize("kind", [None, *TYPES])
def test_markets(rig: Rig, kind: str | None) -> None:
    query = "&".join(f"marketType={each}" for each in ([kind] if kind else TYPES))
    rows = sorted(map(market, rig.rest(f"/api/v1/markets?{query}")), key=lambda row: row["symbol"])
    data = rig.api.data("/v1/markets" + (f"?type={kind}" if kind else ""))
    assert list(data) == ["note", "source", "type", "count", "markets"]
    assert (data["source"], data["type"], data["count"]) == ("Backpack", kind, len(rows))
    assert data["markets"] == rows
    assert rows


@pytest.mark.parametrize("symbol", MARKETS)
def test_ticker(rig: Rig, symbol: str) -> None:
    data = settled(
        "the ticker",
        lambda: texts(rig.api.data(f"/v1/ticker?symbol={symbol}")["ticker"]),
        lambda: ticker(next(row for row in rig.rest(_tickers()) if row["symbol"] == symbol)),
    )
    assert data["last_price"] is not None
    answer = rig.api.data(f"/v1/ticker?symbol={symbol}")
    assert list(answer) == ["note", "source", "symbol", "ticker", "as_of", "age_ms"]
    sent = rig.frame(f"ticker.{symbol}", answer["as_of"])
    row = texts(answer["ticker"])
    wire = {"last_price": "c", "first_price": "o", "high": "h", "low": "l", "volume": "v", "quote_volume": "V"}
    assert {name: row[name] for name in wire} == {name: trimmed(sent[key]) for name, key in wire.items()}
    assert answer["ticker"]["trades"] == sent["n"]
    assert 0 <= answer["age_ms"] < 30_000


def _tickers() -> str:
    return "/api/v1/tickers?" + "&".join(f"marketType={each}" for each in TYPES)


def test_all_tickers(rig: Rig) -> None:
    def ours() -> list[dict[str, Any]]:
        data = rig.api.data("/v1/ticker")
        assert list(data) == ["note", "source", "count", "tickers", "as_of", "age_ms"]
        assert data["count"] == len(data["tickers"])
        return [texts(row) for row in data["tickers"] if row["symbol"] in MARKETS]

    def truth() -> list[dict[str, Any]]:
        rows = sorted(map(ticker, rig.rest(_tickers())), key=lambda row: row["symbol"])
        return [row for row in rows if row["symbol"] in MARKETS]

    assert len(settled("all tickers", ours, truth)) == len(MARKETS)


@pytest.mark.parametrize("depth", [1, 25, 100])
@pytest.mark.parametrize("symbol", MARKETS)
def test_orderbook(rig: Rig, symbol: str, depth: int) -> None:
    truth = rig.exchange.ask(f"/books/{symbol}")
    data = rig.api.data(f"/v1/orderbook?symbol={symbol}&depth={depth}")
    fields = ["note", "source", "symbol", "asks", "bids", "last_update_id", "book_status", "reason", "as_of", "age_ms"]
    assert list(data) == fields
    assert (data["symbol"], data["book_status"], data["reason"]) == (symbol, "LIVE", "")
    assert data["last_update_id"] == truth["last_update_id"]
    assert [texts(level) for level in data["asks"]] == levels(truth["asks"])[:depth]
    assert [texts(level) for level in data["bids"]] == levels(truth["bids"])[:depth]
    assert 0 <= data["age_ms"] < 30_000
    assert abs(time.time() * 1000 - data["as_of"] / 1000 - data["age_ms"]) < 30_000


def test_decimals_as_strings_have_the_same_digits(rig: Rig) -> None:
    path = "/v1/orderbook?symbol=SOL_USDC&depth=5"
    numbers, strings = rig.api.data(path), rig.api.data(path + "&decimals=string")
    assert [texts(level) for level in numbers["bids"]] == strings["bids"]
    assert isinstance(strings["bids"][0]["price"], str)


@pytest.mark.parametrize("limit", [1, 50, 200])
@pytest.mark.parametrize("symbol", MARKETS)
def test_trades(rig: Rig, symbol: str, limit: int) -> None:
    rows = list(map(trade, rig.rest(f"/api/v1/trades?symbol={symbol}&limit={limit}")))
    data = rig.api.data(f"/v1/trades?symbol={symbol}&limit={limit}")
    assert list(data) == ["note", "source", "symbol", "count", "trades", "as_of", "age_ms"]
    assert [texts(row) for row in data["trades"]] == rows
    assert data["count"] == len(rows) == limit


def test_trades_name_rest_as_their_source_if_kafka_has_too_few(rig: Rig) -> None:
    records = read_topic(rig.plant.bootstrap_servers, rig.plant.prefix + "market.trade", "Trade")
    in_kafka = len({each.value["trade_id"] for each in records if each.value and each.key == "SOL_USDC"})
    assert 1 < in_kafka < 200
    assert rig.api.data(f"/v1/trades?symbol=SOL_USDC&limit={in_kafka}")["source"] == "Backpack"
    assert rig.api.data("/v1/trades?symbol=SOL_USDC&limit=200")["source"] == "Backpack REST"


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "4h", "1d", "1w"])
@pytest.mark.parametrize("symbol", ["SOL_USDC", "AAPL.US_USDC_PERP"])
def test_klines(rig: Rig, symbol: str, interval: str) -> None:
    length = {"1m": 60, "5m": 300, "1h": 3600, "4h": 14_400, "1d": 86_400, "1w": 604_800}[interval]

    def truth() -> list[dict[str, Any]]:
        start = int(time.time()) - 31 * length
        path = f"/api/v1/klines?symbol={symbol}&interval={interval}&startTime={start}"
        return list(map(candle, rig.rest(path)))[-30:]

    def ours() -> list[dict[str, Any]]:
        data = rig.api.data(f"/v1/klines?symbol={symbol}&interval={interval}&limit=30")
        assert list(data) == ["note", "source", "symbol", "interval", "count", "candles", "as_of", "age_ms"]
        assert data["count"] == len(data["candles"])
        return [texts(row) for row in data["candles"]]

    assert settled(f"{interval} of {symbol}", ours, truth)


@pytest.mark.parametrize("symbol", FUTURES)
def test_funding(rig: Rig, symbol: str) -> None:
    def ages() -> bool:
        data = rig.api.data(f"/v1/funding?symbol={symbol}")
        return data["open_interest_timestamp"] is not None

    wait_until("the open interest is here", ages)
    data = rig.api.data(f"/v1/funding?symbol={symbol}")
    names = ["symbol", "mark_price", "index_price", "funding_rate", "next_funding_timestamp"]
    assert list(data)[2:] == [*names, "open_interest", "open_interest_timestamp", "as_of", "age_ms"]
    sent = rig.frame(f"markPrice.{symbol}", data["as_of"])
    row = texts(data)
    assert row["symbol"] == symbol
    assert row["mark_price"] == trimmed(sent["p"])
    assert row["index_price"] == trimmed(sent.get("i"))
    assert row["funding_rate"] == trimmed(sent.get("f"))
    assert data["next_funding_timestamp"] == sent.get("n")
    rows = [
        each for each in rig.frames[f"openInterest.{symbol}"] if each["E"] // 1000 == data["open_interest_timestamp"]
    ]
    assert [row["open_interest"]] == [trimmed(each["o"]) for each in rows]


def test_funding_adds_a_missing_perp_suffix(rig: Rig) -> None:
    assert rig.api.data("/v1/funding?symbol=AAPL.US_USDC")["symbol"] == "AAPL.US_USDC_PERP"


def test_meta_names_every_endpoint_and_interval(rig: Rig) -> None:
    data = rig.api.data("/v1/meta")
    assert list(data) == ["note", "source", "service", "description", "endpoints", "kline_intervals", "sample"]
    assert {"/v1/markets", "/v1/ticker", "/v1/orderbook", "/v1/klines", "/v1/trades", "/v1/funding"} <= {
        *data["endpoints"]
    }
    assert data["kline_intervals"][:3] == ["1s", "1m", "3m"]
    assert rig.api.ask(data["sample"]).status == 200


def test_the_plant_describes_itself(rig: Rig) -> None:
    books = {symbol for symbol in rig.exchange.ask("/books") if "EXOTIC" not in symbol}
    wait_until("every book is LIVE", lambda: rig.api.data("/v1/plant")["books"]["LIVE"] == len(books))
    data = rig.api.data("/v1/plant")
    assert data["kafka"] == "available"
    assert {row["service"] for row in data["producers"]} == {"market-producer", "perp-producer"}
    assert all(row["covered_streams"] and row["age_ms"] < 30_000 for row in data["producers"])
    assert {row["status"] for row in data["books"]["not_live"]} <= {"CLOSED"}
    assert {symbol for symbol, status in data["books"]["statuses"].items() if status == "LIVE"} == books
    assert data["topics"]["market.ticker"]["records_per_second"] > 0
    assert data["topics"]["market.depth"]["complete_through"] is not None


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v1/orderbook?symbol=NOPE_USDC", 404, "there is no market 'NOPE_USDC'"),
        ("/v1/ticker?symbol=SOL_USDx", 404, "did you mean 'SOL_USDC'?"),
        ("/v1/trades?symbol=sol_usdc", 404, "did you mean 'SOL_USDC'?"),
        ("/v1/klines?symbol=NOPE_USDC", 404, "there is no market"),
        ("/v1/funding?symbol=NOPE", 404, "there is no market"),
        ("/v1/funding?symbol=NVDA.US_USDC", 404, "there is no perpetual of NVDA.US_USDC"),
        ("/v1/orderbook?symbol=SOL_USDC&depth=0", 400, "depth"),
        ("/v1/trades?symbol=SOL_USDC&limit=201", 400, "limit"),
        ("/v1/klines?symbol=SOL_USDC&interval=7m", 400, "interval"),
        ("/v1/orderbook?symbol=WIF_USDC", 503, "WIF_USDC"),
    ],
)
def test_an_answer_without_data_says_why(rig: Rig, path: str, status: int, says: str) -> None:
    answer = rig.api.ask(path)
    assert answer.status == status
    assert list(answer.body) == ENVELOPE
    assert (answer.body["data"], answer.body["status"], answer.body["success"]) == (None, "error", False)
    assert says in answer.body["message"]
