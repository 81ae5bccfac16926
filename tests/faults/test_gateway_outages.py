"""Kafka or the exchange is unavailable: the gateway says so, with true ages, and recovers by itself."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from embedded_kafka import BlockingKafka, EmbeddedKafka
from gateway_answers import ENVELOPE, ReadApi, levels, texts
from plant import Plant, get, running_plant, wait_until

SYMBOL = "SOL_USDC"
OUTAGE_SECONDS = 45
BOOK = f"/v1/orderbook?symbol={SYMBOL}&depth=50"
OF_KAFKA = (BOOK, f"/v1/ticker?symbol={SYMBOL}", f"/v1/trades?symbol={SYMBOL}&limit=1", "/v1/markets", "/v1/ticker")


@pytest.fixture
def own_kafka(tmp_path: Path) -> BlockingKafka:
    """A broker that a test may stop."""
    return BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0))


def started(plant: Plant) -> ReadApi:
    plant.start_exchange("--symbols", "3", "--rate", "100", "--cache-seconds", "0")
    plant.start_ready("rest-poller", "--market-refresh", "1")
    plant.start_ready("market-producer", "--streams", "depth,trade,ticker")
    api = ReadApi(plant)
    api.wait_ready()
    wait_until("all is answered", lambda: all(api.ask(path).status == 200 for path in OF_KAFKA))
    return api


def ends_equal(plant: Plant, api: ReadApi) -> None:
    """The exchange stops; then the gateway's book equals the exchange's, level for level."""
    plant.exchange.finish()
    plant.exchange.wait_finished()
    truth = plant.exchange.ask(f"/books/{SYMBOL}")

    def answer() -> dict[str, Any]:
        return api.ask(BOOK).body["data"] or {}

    wait_until("the book has come to rest", lambda: answer().get("last_update_id") == truth["last_update_id"])
    book = api.data(BOOK)
    for side in ("bids", "asks"):
        assert [texts(level) for level in book[side]] == levels(truth[side])[:50]
    assert book["book_status"] == "LIVE"


@pytest.mark.timeout(600)
def test_without_kafka_every_answer_says_why_and_all_recover(own_kafka: BlockingKafka, tmp_path: Path) -> None:
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "gateway-kafka.") as plant:
        api = started(plant)
        broker.stop_broker(0, kill=True)
        wait_until("it is noticed", lambda: all(api.ask(path).status == 503 for path in OF_KAFKA))
        for path in OF_KAFKA:
            answer = api.ask(path)
            assert list(answer.body) == ENVELOPE
            assert answer.body["data"] is None
            assert "Kafka" in answer.body["message"]
        assert api.data("/v1/meta")["service"] == "backpack-streams gateway"
        assert "Kafka" in api.data("/v1/plant")["kafka"]
        assert "ok" in get(f"http://127.0.0.1:{api.service.port}/healthz")
        broker.start_broker(0)
        wait_until("all is answered again", lambda: all(api.ask(path).status == 200 for path in OF_KAFKA), 120)
        assert api.data("/v1/plant")["kafka"] == "available"
        ends_equal(plant, api)


@pytest.mark.timeout(600)
def test_without_the_exchange_answers_continue_with_growing_ages(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "gateway-exchange.") as plant:
        api = started(plant)
        plant.exchange.order("refuse", seconds=OUTAGE_SECONDS)
        plant.exchange.order("cut")
        wait_until("the book is not LIVE", lambda: api.ask(BOOK).status == 503)
        refusal = api.ask(BOOK).body
        assert refusal["meta"]["book_status"] == "STALE"
        assert refusal["meta"]["reason"]
        assert refusal["meta"]["reason"] in refusal["message"]
        assert refusal["meta"]["age_ms"] > 0
        stale = api.data(BOOK + "&allow_stale=true")
        assert (stale["book_status"], bool(stale["bids"])) == ("STALE", True)
        ticker = api.data(f"/v1/ticker?symbol={SYMBOL}")
        wait_until(
            "ages grow",
            lambda: (
                api.data(BOOK + "&allow_stale=true")["age_ms"] > stale["age_ms"] + 3_000
                and api.data(f"/v1/ticker?symbol={SYMBOL}")["age_ms"] > ticker["age_ms"] + 3_000
            ),
        )
        assert api.data(BOOK + "&allow_stale=true")["last_update_id"] == stale["last_update_id"]
        assert api.data(f"/v1/trades?symbol={SYMBOL}")["trades"]
        not_live = api.data("/v1/plant")["books"]["not_live"]
        assert SYMBOL in {row["symbol"] for row in not_live if row["status"] == "STALE"}
        wait_until("the book is LIVE again", lambda: api.ask(BOOK).status == 200, 4 * OUTAGE_SECONDS)
        wait_until(
            "the ticker is young", lambda: api.data(f"/v1/ticker?symbol={SYMBOL}")["age_ms"] < ticker["age_ms"] + 2_000
        )
        ends_equal(plant, api)


def test_the_gateway_starts_with_only_the_watermark_topic(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "gateway-early.") as plant:
        plant.start_exchange("--symbols", "1", "--rate", "100")
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.create_topics([NewTopic("gateway-early.ops.watermark", 1)])["gateway-early.ops.watermark"].result(30)
        api = ReadApi(plant)
        wait_until("it lacks a topic", lambda: "market.depth does not exist" in api.service.why_not_ready())
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth")
        api.wait_ready()
        wait_until("its books are LIVE", lambda: api.ask("/v1/orderbook?symbol=BTC_USDC_PERP").status == 200)
