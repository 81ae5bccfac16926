"""Every public stream of every kind of market, compared with another client of the same exchange: all in Kafka, every value equal."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from embedded_kafka import BlockingKafka
from expected_records import canonical, expected
from plant import Exchange, Plant, running_plant, wait_until
from reading import read_topic

TYPES = "SPOT,PERP,IPERP,DATED,PREDICTION,RFQ,EXOTIC"
MARKET_STREAMS = (
    "depth,depth.200ms,depth.600ms,depth.1000ms,bookTicker,trade,ticker,kline.all,externalTicker,stockPrice"
)
PERP_STREAMS = "markPrice,openInterest,liquidation.symbol,liquidation"
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1month")
TOPICS = {
    "depth": ("market.depth", "DepthUpdate"),
    "depth.200ms": ("market.depth_200ms", "DepthUpdate"),
    "depth.600ms": ("market.depth_600ms", "DepthUpdate"),
    "depth.1000ms": ("market.depth_1000ms", "DepthUpdate"),
    "bookTicker": ("market.book_ticker", "BookTicker"),
    "trade": ("market.trade", "Trade"),
    "ticker": ("market.ticker", "Ticker"),
    "kline": ("market.kline", "Kline"),
    "externalTicker": ("market.external_ticker", "ExternalTicker"),
    "stockPrice": ("market.stock_price", "StockPrice"),
    "markPrice": ("perp.mark_price", "MarkPrice"),
    "openInterest": ("perp.open_interest", "OpenInterest"),
    "liquidation": ("perp.liquidation", "Liquidation"),
}
FUTURES = {
    "BTC_USDC_PERP",
    "ETH_USDC_PERP",
    "kSHIB_USDC_PERP",
    "AAPL.US_USDC_PERP",
    "ETH_USDC_IPERP",
    "BTC_USDC_270326",
}
SPOT = {"SOL_USDC", "NVDA.US_USDC"}
FRAMES = 10_000


@contextmanager
def witness(exchange: Exchange, streams: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Another client of the exchange, subscribed to the same streams: all its frames so far; it disconnects at the end."""
    frames: list[dict[str, Any]] = []
    with connect(exchange.ws_url, compression=None, max_size=None) as socket:
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": streams}))

        def listen() -> None:
            for payload in socket:
                frames.append(json.loads(payload, parse_float=Decimal))

        thread = threading.Thread(target=listen)
        thread.start()
        yield frames
        socket.close()
        thread.join(20)


def place_of(stream: str) -> tuple[str, str]:
    """Topic and record of a stream."""
    channel, _, rest = stream.partition(".")
    windowed = f"{channel}.{rest.partition('.')[0]}"
    return TOPICS[windowed if windowed in TOPICS else channel]


def said(value: dict[str, Any]) -> Any:
    """All fields of a record except the received time."""
    return canonical({name: item for name, item in value.items() if name != "received_time"})


def specs(plant: Plant) -> dict[str, int]:
    sent: dict[str, int] = plant.exchange.ask("/state")["frames_sent"]
    return sent


ODD_FORMS: tuple[Callable[[str, dict[str, Any]], bool], ...] = (
    lambda channel, data: channel == "kline" and data["X"],
    lambda channel, data: channel == "kline" and data["o"] is None,
    lambda channel, data: channel == "stockPrice" and data["bid"] is None and data["session"] is None,
    lambda channel, data: channel == "stockPrice" and data["bid"] is not None,
    lambda channel, data: channel == "markPrice" and "n" not in data,
    lambda channel, data: channel == "markPrice" and len(str(data.get("f"))) == 30,
    lambda channel, data: channel == "depth" and data["U"] < data["u"],
    lambda channel, data: channel == "depth" and data["a"] == data["b"] == [],
)


def is_complete(sent: dict[str, int], frames: list[dict[str, Any]]) -> bool:
    """Whether every stream spec was sent, including the wire's special forms."""
    wanted = {*TOPICS, *(f"kline.{each}" for each in INTERVALS)} - {"kline"}
    data = [(frame["stream"].partition(".")[0], frame["data"]) for frame in list(frames)]
    return all(sent.get(each) for each in wanted) and all(any(is_it(*each) for each in data) for is_it in ODD_FORMS)


def subscribed(plant: Plant) -> dict[str, int]:
    streams: dict[str, int] = plant.exchange.ask("/state")["subscriptions"]
    return streams


def test_every_stream_of_every_kind_of_market_is_in_kafka_as_sent(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "every.") as plant:
        exchange = plant.start_exchange(
            *("--symbols", "5", "--every-kind", "--rate", "2000", "--frames", str(FRAMES), "--start", "control"),
            *("--open-interest-seconds", "1"),
        )
        services = (
            plant.start("market-producer", "--market-types", TYPES, "--streams", MARKET_STREAMS),
            plant.start("perp-producer", "--market-types", TYPES, "--streams", PERP_STREAMS),
        )
        wait_until("all is subscribed", lambda: plant.has_all_subscriptions_of(*services))
        streams = sorted(subscribed(plant))
        with witness(exchange, streams) as frames:
            wait_until("the witness listens too", lambda: set(subscribed(plant).values()) == {2})
            exchange.play()
            for service in services:  # subscriptions are confirmed by the first frame
                wait_until("the producer is ready", service.is_ready)
            exchange.wait_finished()
            wait_until("candles close, and what comes by the clock comes", lambda: is_complete(specs(plant), frames))
        sent = sum(specs(plant).values())
        wait_until("all was taken", lambda: sum(each.metric("frames_total") for each in services) >= sent)
        assert [each.stop() for each in services] == [0, 0]
        records = {
            place: read_topic(plant.bootstrap_servers, plant.prefix + place[0], place[1]) for place in TOPICS.values()
        }
        letters = read_topic(plant.bootstrap_servers, plant.prefix + "ops.dead_letter", "DeadLetter")
        gaps = read_topic(plant.bootstrap_servers, plant.prefix + "ops.gap", "Gap")

    assert not letters
    assert {gap.value["reason"] for gap in gaps if gap.value} == {"STREAM_START"}
    seen: dict[tuple[str, str], Counter[Any]] = {place: Counter() for place in TOPICS.values()}
    for frame in frames:
        seen[place_of(frame["stream"])][said(expected(frame, 0))] += 1
    for place, found in records.items():
        ours = Counter(said(record.value) for record in found if record.value)
        assert seen[place], place
        assert seen[place] - ours == Counter(), place
        until = max(dict(each)["event_time"] for each in seen[place])
        surplus = [each for each in ours - seen[place] if dict(each)["event_time"] <= until]
        assert surplus == [], place
        assert all(record.key == record.value["symbol"] for record in found if record.value)
    check_streams_by_kind(streams)


def check_streams_by_kind(streams: list[str]) -> None:
    """Each kind of market has its streams and no others."""
    of: dict[str, set[str]] = {}
    for stream in streams:
        channel, _, rest = stream.partition(".")
        symbol = rest.partition(".")[2] if channel == "kline" or rest.split(".")[0].endswith("00ms") else rest
        of.setdefault(channel, set()).add(symbol)
    quiet = {"SOL_USDC_RFQ"}
    with_books = FUTURES | SPOT | {"SNOWFALL2026_USDC_PREDICTION", "WEATHER_USDC_EXOTIC", "BASKET_USDC_EXOTIC"}
    for channel in ("depth", "bookTicker", "externalTicker"):
        assert of[channel] == with_books
    for channel in ("trade", "ticker", "kline"):
        assert of[channel] == with_books | quiet
    assert of["markPrice"] == FUTURES | {"SNOWFALL2026_USDC_PREDICTION"}
    assert of["openInterest"] == FUTURES
    assert of["liquidation"] == {""}
    assert of["stockPrice"] == {"AAPL", "NVDA", "BRK.B"}


def test_streams_follow_markets_that_open_and_close(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "opening.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "300", "--cache-seconds", "0")
        plant.start_ready("market-producer", "--market-refresh", "0.5")
        plant.start_ready(
            "perp-producer", "--market-refresh", "0.5", "--streams", "markPrice,openInterest,liquidation.symbol"
        )
        wait_until("spot is subscribed", lambda: "depth.SOL_USDC" in subscribed(plant))
        exchange.order("list", symbol="NEW_USDC_PERP")
        exchange.order("list", symbol="NEWER_USDC_RFQ")
        exchange.order("delist", symbol="SOL_USDC")
        exchange.order("delist", symbol="ETH_USDC_PERP")
        wait_until(
            "the new perpetual has all its streams",
            lambda: (
                {
                    "depth.NEW_USDC_PERP",
                    "kline.1m.NEW_USDC_PERP",
                    "markPrice.NEW_USDC_PERP",
                    "openInterest.NEW_USDC_PERP",
                }
                <= subscribed(plant).keys()
            ),
        )
        wait_until("the RFQ market has what it can have", lambda: "trade.NEWER_USDC_RFQ" in subscribed(plant))
        assert "depth.NEWER_USDC_RFQ" not in subscribed(plant)
        wait_until(
            "nothing is subscribed of the closed ones",
            lambda: not any(stream.endswith((".SOL_USDC", ".ETH_USDC_PERP")) for stream in subscribed(plant)),
        )
        exchange.order("list", symbol="SOL_USDC")
        wait_until("spot is subscribed again", lambda: "depth.SOL_USDC" in subscribed(plant))
        asked = ("tail", "opening.market.depth", "--json", "--from-beginning", "-n", "1")
        assert plant.run(*asked).returncode == 0
        wait_until(
            "the new market's book moves in Kafka",
            lambda: "NEW_USDC_PERP" in symbols_of(plant, "market.depth", "DepthUpdate"),
        )
        wait_until("its mark price too", lambda: "NEW_USDC_PERP" in symbols_of(plant, "perp.mark_price", "MarkPrice"))
        states = {
            (status.value["stream"], status.value["status"])
            for status in read_topic(plant.bootstrap_servers, "opening.ops.stream_status", "StreamStatus")
            if status.value
        }
        assert ("markPrice.ETH_USDC_PERP", "UNSUBSCRIBED") in states
        assert ("depth.NEW_USDC_PERP", "LIVE") in states


def symbols_of(plant: Plant, topic: str, record: str) -> set[str]:
    found = read_topic(plant.bootstrap_servers, plant.prefix + topic, record)
    return {each.value["symbol"] for each in found if each.value}
