"""A producer that does not know yet what Kafka has: it waits, says why, and stops at once when asked."""

import urllib.error
import urllib.request
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from embedded_kafka import BlockingKafka
from plant import Service, running_plant, wait_until
from reading import read_topic

PREFIX = "start."


def why_not_ready(service: Service) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/readyz", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as refusal:
        return refusal.read().decode()
    except OSError:
        return ""


def test_a_start_without_an_exchange_waits_says_so_and_stops_on_sigterm(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, PREFIX) as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "200")
        exchange.order("refuse", seconds=600, on="ws")
        service = plant.start("market-producer", "--streams", "depth,trade")
        wait_until("it says what it waits for", lambda: "not confirmed by the exchange" in why_not_ready(service))
        assert service.stop() == 0
        assert read_topic(kafka.bootstrap_servers, PREFIX + "market.depth", None) == []
        assert read_topic(kafka.bootstrap_servers, PREFIX + "ops.watermark", None) == [], "it has vouched for nothing"


def test_a_start_continues_when_the_exchange_is_back(kafka: BlockingKafka, tmp_path: Path) -> None:
    prefix = "startback."
    with running_plant(kafka.bootstrap_servers, tmp_path, prefix) as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "200")
        exchange.order("refuse", seconds=10, on="ws")
        service = plant.start("market-producer", "--streams", "depth,trade")
        wait_until("it says what it waits for", lambda: "not confirmed by the exchange" in why_not_ready(service))
        wait_until("it is ready", service.is_ready)
        wait_until("updates arrive", lambda: bool(read_topic(kafka.bootstrap_servers, prefix + "market.depth", None)))
        reasons = {
            each.value["reason"]
            for each in read_topic(kafka.bootstrap_servers, prefix + "ops.gap", "Gap")
            if each.value
        }
        assert reasons == {"STREAM_START"}, "what was before is not known, and that is on record"


def test_the_losses_in_a_market_that_closed_in_the_meantime_are_on_record_once(
    kafka: BlockingKafka, tmp_path: Path
) -> None:
    """The producer is killed, the market moves on and is closed for good: no message will ever reveal what was missed."""
    prefix, symbol = "startclosed.", "BTC_USDC_PERP"
    with running_plant(kafka.bootstrap_servers, tmp_path, prefix) as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "200")
        first = plant.start("market-producer", "--streams", "depth,trade")
        wait_until("it is ready", first.is_ready)
        wait_until(
            "it has vouched", lambda: len(read_topic(kafka.bootstrap_servers, prefix + "ops.watermark", None)) > 2
        )
        first.kill()
        at = exchange.ask(f"/books/{symbol}")["last_update_id"]
        wait_until("the market moves on", lambda: exchange.ask(f"/books/{symbol}")["last_update_id"] > at + 20)
        exchange.order("delist", symbol=symbol, gone=False)

        def gaps() -> list[dict[str, Any]]:
            records = read_topic(kafka.bootstrap_servers, prefix + "ops.gap", "Gap")
            rows = [each.value for each in records if each.value]
            return [row for row in rows if row["symbol"] == symbol and row["reason"] == "RESTART"]

        for _ in range(2):
            again = plant.start("market-producer", "--streams", "depth,trade")
            wait_until("it is ready", again.is_ready)
            wait_until("what was missed is on record", lambda: len(gaps()) >= 2)
            assert again.stop() == 0
        by_stream = {row["stream"]: row for row in gaps()}
        assert len(gaps()) == len(by_stream) == 2
        for stream, topic, record, field in (
            (f"depth.{symbol}", "market.depth", "DepthUpdate", "last_update_id"),
            (f"trade.{symbol}", "market.trade", "Trade", "trade_id"),
        ):
            kept = read_topic(kafka.bootstrap_servers, prefix + topic, record)
            ids = [each.value[field] for each in kept if each.value and each.value["symbol"] == symbol]
            assert by_stream[stream]["last_id"] == max(ids)
            assert by_stream[stream]["last_time"] < by_stream[stream]["next_time"]


def test_the_losses_in_a_market_missing_from_the_first_list_are_on_record_up_to_its_return(
    kafka: BlockingKafka, tmp_path: Path
) -> None:
    """Nothing of such a market is published until a later list includes it; the gap ends only then, not at the end of the start."""
    prefix, symbol = "startpartial.", "BTC_USDC_PERP"
    options = ("--streams", "bookTicker,depth,trade", "--market-refresh", "5")
    with running_plant(kafka.bootstrap_servers, tmp_path, prefix) as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "200")
        first = plant.start("market-producer", *options)
        wait_until("it is ready", first.is_ready)
        wait_until(
            "it has vouched", lambda: len(read_topic(plant.bootstrap_servers, prefix + "ops.watermark", None)) > 2
        )
        assert first.stop() == 0
        exchange.order("markets-partial", symbol=symbol, count=1)
        again = plant.start("market-producer", *options)
        wait_until("it is ready", again.is_ready)

        def rows(topic: str, record: str) -> list[dict[str, Any]]:
            found = read_topic(plant.bootstrap_servers, prefix + topic, record)
            return [each.value for each in found if each.value and each.value["symbol"] == symbol]

        def gaps() -> list[dict[str, Any]]:
            return [row for row in rows("ops.gap", "Gap") if row["reason"] != "STREAM_START"]

        streams = {f"{channel}.{symbol}" for channel in ("bookTicker", "depth", "trade")}
        wait_until(
            "it is on record twice: when it was left out, and when it is carried again",
            lambda: Counter(row["stream"] for row in gaps()) == dict.fromkeys(streams, 2),
        )
        in_turn = sorted(gaps(), key=lambda row: row["next_time"])
        closed, later = in_turn[2]["next_time"], {row["stream"]: row for row in in_turn[3:]}
        assert later.keys() == streams
        assert all(row["last_time"] is not None and row["last_time"] <= closed for row in later.values())
        until, ticker_times = later[f"bookTicker.{symbol}"]["next_time"], set[Any]()
        ticker_times.update(row["received_time"] for row in rows("market.book_ticker", "BookTicker"))
        second = timedelta(seconds=1)
        assert not [each for each in ticker_times if closed < each < until - second], "nothing came before its end"
        for stream, topic, record, first_id, last_id in (
            (f"depth.{symbol}", "market.depth", "DepthUpdate", "first_update_id", "last_update_id"),
            (f"trade.{symbol}", "market.trade", "Trade", "trade_id", "trade_id"),
        ):
            told, kept = later[stream], rows(topic, record)
            assert told["last_id"] == max(row[last_id] for row in kept if row["received_time"] < closed)
            assert told["next_id"] == min(row[first_id] for row in kept if row["received_time"] > closed)
        starts = [row for row in rows("ops.gap", "Gap") if row["reason"] == "STREAM_START"]
        assert len(starts) == len(streams), "it is known what was before"
