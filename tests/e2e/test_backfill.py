"""`backfill` as its users run it: killed and run again, and with every kind of wrong argument."""

import signal
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from embedded_kafka import BlockingKafka
from plant import PROGRAM, Plant, running_plant, wait_until
from reading import read_topic

SYMBOL = "BTC_USDC_PERP"
DAYS = 4
MINUTES = DAYS * 1_440


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def rows(plant: Plant, topic: str, record: str) -> list[dict[str, Any]]:
    return [each.value for each in read_topic(plant.bootstrap_servers, plant.prefix + topic, record) if each.value]


def backfill(plant: Plant, *arguments: str) -> subprocess.CompletedProcess[str]:
    return plant.run("backfill", *arguments, "--rest-url", plant.exchange.rest_url, "--rate-limit-share", "1")


def test_a_killed_backfill_continues_where_it_was(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "backfill.") as plant:
        plant.start_exchange("--symbols", "3", "--rate", "50")
        plant.run("topics", "apply")
        start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=DAYS)
        end = start + timedelta(days=DAYS) - timedelta(minutes=10)
        which = ("kline.1m", SYMBOL, "--from", iso(start), "--to", iso(end))
        command = [*PROGRAM, "backfill", *which, "--rest-url", plant.exchange.rest_url, *plant.kafka_flags()]
        with subprocess.Popen(
            [*command, "--rate-limit-share", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            wait_until("some of it is written", lambda: len(rows(plant, "market.kline", "Kline")) >= 1_000)
            run.send_signal(signal.SIGKILL)
        written = len(rows(plant, "market.kline", "Kline"))
        assert written < MINUTES - 10, "it was killed in the middle"

        done = backfill(plant, *which)
        assert done.returncode == 0, done.stderr
        assert "after an earlier run" in done.stdout
        assert "100%" in done.stderr
        candles = rows(plant, "market.kline", "Kline")
        starts = [round(candle["start_time"].timestamp()) // 60 for candle in candles]
        assert sorted(set(starts)) == list(range(starts[0], starts[0] + MINUTES - 10))
        assert len(starts) - len(set(starts)) <= 1_000, "at most the page that was under way comes twice"
        assert all(candle["is_closed"] and candle["source"] == "REST" for candle in candles)

        again = backfill(plant, *which)
        assert (again.returncode, again.stdout.split()[0]) == (0, "0")
        assert len(rows(plant, "market.kline", "Kline")) == len(candles)


def test_backfill_of_trades_and_funding_rates_reaches_the_exchanges_limit(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "kept.") as plant:
        exchange = plant.start_exchange(
            "--symbols", "3", "--rate", "200", "--frames", "1000", "--historical-requests-per-minute", "100000"
        )
        exchange.wait_finished()
        plant.run("topics", "apply")
        now = datetime.now(UTC)
        done = backfill(plant, "trade", SYMBOL, "--from", iso(now - timedelta(hours=1)))
        assert done.returncode == 0, done.stderr
        trades = rows(plant, "market.trade", "Trade")
        ids = [trade["trade_id"] for trade in trades]
        assert ids == list(range(ids[0], exchange.ask("/sequences")[SYMBOL]["trades"]["last_id"] + 1))
        assert len(ids) > 1_000
        assert all(trade["price"] * trade["quantity"] == trade["quote_quantity"] for trade in trades)
        assert isinstance(trades[0]["price"], Decimal)

        far = backfill(
            plant, "trade", SYMBOL, "--from", iso(now - timedelta(days=20)), "--to", iso(now - timedelta(minutes=1))
        )
        assert far.returncode == 1
        assert "the exchange gives the newest 10,000" in far.stderr
        assert len({trade["trade_id"] for trade in rows(plant, "market.trade", "Trade")}) >= 9_900

        done = backfill(plant, "fundingRate", SYMBOL, "--from", iso(now - timedelta(hours=30)))
        assert done.returncode == 0, done.stderr
        rates = rows(plant, "perp.funding_rate", "FundingRate")
        assert 29 <= len(rates) <= 31
        assert all(rate["is_settled"] for rate in rates)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kline.1m", SYMBOL, "--from", "2999-01-01"), ("--from", "in the future")),
        (("kline.1m", SYMBOL, "--from", "2025-01-02", "--to", "2999-01-01"), ("--to", "in the future")),
        (("kline.1m", SYMBOL, "--from", "2025-01-02", "--to", "2025-01-01"), ("--from must be before --to",)),
        (("kline.1m", SYMBOL, "--from", "yesterday"), ("yesterday", "no time")),
        (("kline.1m", SYMBOL), ("--from",)),
        (("kline.7m", SYMBOL, "--from", "2025-01-01"), ("kline.7m",)),
        (("candles", SYMBOL, "--from", "2025-01-01"), ("candles",)),
        (("depth", SYMBOL, "--from", "2025-01-01"), ("no history of depth", "trade, kline.<interval>")),
        (("trade", "BTC_USDC_PERPP", "--from", "2025-01-01"), ("unknown symbol", "did you mean BTC_USDC_PERP")),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    with running_plant("127.0.0.1:1", tmp_path, "wrong.") as plant:
        if arguments[1] != SYMBOL:
            plant.start_exchange("--symbols", "3")
            arguments = (*arguments, "--rest-url", plant.exchange.rest_url)
        done = plant.run("backfill", *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
