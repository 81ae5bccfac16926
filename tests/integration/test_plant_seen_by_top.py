"""`top` reads a real plant from Kafka alone: figures equal the exchange's, books and health are correct."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from embedded_kafka import BlockingKafka
from plant import Plant, Service, get, running_plant, wait_until

SYMBOLS = 5


@pytest.fixture(scope="module")
def rig(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plant, Service]]:
    """A plant, and its market-producer."""
    with running_plant(kafka.bootstrap_servers, tmp_path_factory.mktemp("top"), "top.") as plant:
        plant.start_exchange("--symbols", str(SYMBOLS), "--rate", "20", "--open-interest-seconds", "1")
        plant.start_ready("rest-poller")
        producer = plant.start_ready("market-producer")
        plant.start_ready("perp-producer")
        yield plant, producer


@pytest.fixture
def plant(rig: tuple[Plant, Service]) -> Plant:
    return rig[0]


def look(plant: Plant, *flags: str) -> dict[str, Any]:
    done = plant.run("top", "--once", "--json", *flags)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_it_shows_the_exchanges_figures(plant: Plant) -> None:
    wait_until("all books are LIVE", lambda: look(plant)["plant"]["books"]["LIVE"] == SYMBOLS, 90)
    told = look(plant)
    listed = {row["symbol"]: row for row in json.loads(get(plant.exchange.rest_url + "/api/v1/markets"))}
    rows = {row["symbol"]: row for row in told["markets"]}
    assert listed.keys() <= rows.keys()
    is_open = {symbol for symbol, row in rows.items() if row["book_status"] != "CLOSED"}
    assert is_open == {symbol for symbol, row in listed.items() if row["orderBookState"] != "Closed"}
    for symbol in is_open:
        row = rows[symbol]
        assert (row["book_status"], row["reason"]) == ("LIVE", ""), symbol
        assert row["age_ms"] < 60_000
        assert row["last_price"] is not None
        assert all(len(side) == 2 for side in (row["bid"], row["ask"]))
        if row["market_type"] == "PERP":
            assert None not in (row["mark_price"], row["open_interest"]), symbol
    assert rows["BTC_USDC_PERP"]["funding_rate"] is not None
    health = told["plant"]
    assert health["kafka"] == "available"
    covered = {each["service"]: each["covered_streams"] for each in health["producers"]}
    assert covered["market-producer"] > 3 * SYMBOLS
    assert covered["perp-producer"] > 0
    assert health["topics"]["market.depth"]["records_per_second"] > 0
    assert told["books_age_ms"] < 60_000


def test_the_table_has_a_line_for_each_market_and_search_filters_them(plant: Plant) -> None:
    done = plant.run("top", "--once", "--sort", "symbol")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"backpack-streams top   {SYMBOLS} of {SYMBOLS} books LIVE   ")
    assert sum("_USDC" in each and "  LIVE  " in each for each in done.stdout.splitlines()) == SYMBOLS
    assert [row["symbol"] for row in look(plant, "--search", "btc perp")["markets"]] == ["BTC_USDC_PERP"]


def test_a_book_that_nobody_vouches_for_is_stale_with_its_reason(rig: tuple[Plant, Service]) -> None:
    plant, producer = rig
    producer.suspend()
    try:
        wait_until("the books are not LIVE", lambda: look(plant)["plant"]["books"]["LIVE"] == 0)
        told = look(plant)
    finally:
        producer.resume()
    not_live = [row for row in told["markets"] if row["book_status"] != "CLOSED"]
    assert len(not_live) == SYMBOLS
    for row in not_live:
        assert row["book_status"] in ("STALE", "SYNCING")
        assert row["reason"].startswith("no producer has vouched for depth.")
    [age] = [each["age_ms"] for each in told["plant"]["producers"] if each["service"] == "market-producer"]
    assert age > 5_000
    wait_until("the books are LIVE again", lambda: look(plant)["plant"]["books"]["LIVE"] == SYMBOLS, 90)
