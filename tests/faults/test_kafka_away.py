"""Kafka is slow or unavailable: what fits in the buffer is written later, what does not is on record, and nothing is out of order."""

import time
from functools import partial
from pathlib import Path

import pytest

from embedded_kafka import BlockingKafka, EmbeddedKafka
from plant import Service, get, running_plant, wait_until
from reading import read_topic


@pytest.fixture
def own_kafka(tmp_path: Path) -> BlockingKafka:
    """A broker that a test may stop."""
    return BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0))


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_frames_wait_while_kafka_is_unavailable(own_kafka: BlockingKafka, tmp_path: Path, kill: bool) -> None:
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "away.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "300", "--frames", "4500", "--start", "control")
        plant.start_ready("rest-poller")
        producer = plant.start("market-producer", "--streams", "depth,trade")
        wait_until("the producer is ready", producer.is_ready)
        exchange.play()
        time.sleep(2)
        broker.stop_broker(0, kill=kill)
        time.sleep(5)
        assert producer.metric("publish_buffer_bytes") > 0
        broker.start_broker(0)
        exchange.wait_finished()
        wait_until("all is acknowledged", lambda: producer.metric("publish_buffer_bytes") == 0)
        assert producer.metric("publish_refused_records_total") == 0
        depth = [
            each.value
            for each in read_topic(broker.bootstrap_servers, "away.market.depth", "DepthUpdate")
            if each.value
        ]
        trades = [
            each.value for each in read_topic(broker.bootstrap_servers, "away.market.trade", "Trade") if each.value
        ]
        sequences = exchange.ask("/sequences")
        gaps = [each.value for each in read_topic(broker.bootstrap_servers, "away.ops.gap", "Gap") if each.value]
    assert {gap["reason"] for gap in gaps} == {"STREAM_START"}
    last: dict[str, int] = {}
    for update in depth:
        previous = last.get(update["symbol"])
        if previous is not None and update["last_update_id"] <= previous:
            continue  # a duplicate after a batch was sent again
        assert previous is None or update["first_update_id"] == previous + 1
        last[update["symbol"]] = update["last_update_id"]
    traded = [symbol for symbol, each in sequences.items() if each["depth"]["frames"]]
    assert last == {symbol: sequences[symbol]["depth"]["last_update_id"] for symbol in traded}
    assert len({(trade["symbol"], trade["trade_id"]) for trade in trades}) == sum(
        each["trades"]["count"] for each in sequences.values()
    )


def test_a_loss_after_the_last_written_update_is_not_shown_as_live(own_kafka: BlockingKafka, tmp_path: Path) -> None:
    """No update follows the loss: only the Gap record reveals that the book is behind."""
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "end.") as plant:
        exchange = plant.start_exchange("--symbols", "1", "--rate", "2000", "--frames", "24000", "--start", "control")
        plant.start_ready("rest-poller")
        producer = plant.start("market-producer", "--streams", "depth", "--buffer-mib", "1")
        wait_until("the producer is ready", producer.is_ready)
        exchange.play()
        time.sleep(1)
        broker.stop_broker(0, kill=True)
        exchange.wait_finished()
        wait_until("all was read", lambda: producer.metric("frames_total") == 24000)
        assert producer.metric("publish_refused_records_total") > 0
        broker.start_broker(0)
        wait_until("all is acknowledged", lambda: producer.metric("publish_buffer_bytes") == 0)
        wait_until("the gap is on record", lambda: producer.metric("gaps_total") >= 2)
        truth = exchange.ask("/books/BTC_USDC_PERP")
        wait_until(
            "the book is healed", lambda: plant.books()["BTC_USDC_PERP"]["last_update_id"] == truth["last_update_id"]
        )
        book = plant.books()["BTC_USDC_PERP"]
    assert (book["bids"], book["asks"]) == (truth["bids"], truth["asks"])


def test_records_that_do_not_fit_the_buffer_are_a_gap_with_bounds(own_kafka: BlockingKafka, tmp_path: Path) -> None:
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "full.") as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "1500", "--frames", "60000", "--start", "control")
        plant.start_ready("rest-poller")
        producer = plant.start("market-producer", "--streams", "depth", "--buffer-mib", "1")
        wait_until("the producer is ready", producer.is_ready)
        exchange.play()
        time.sleep(2)
        broker.stop_broker(0, kill=True)
        wait_until("the buffer is full", lambda: producer.metric("publish_refused_records_total") > 100)
        assert producer.metric("publish_buffer_bytes") <= 1.1 * 1024 * 1024
        broker.start_broker(0)
        exchange.wait_finished()
        wait_until("all is acknowledged", lambda: producer.metric("publish_buffer_bytes") == 0)
        time.sleep(1)
        depth = [
            each.value
            for each in read_topic(broker.bootstrap_servers, "full.market.depth", "DepthUpdate")
            if each.value
        ]
        gaps = [each.value for each in read_topic(broker.bootstrap_servers, "full.ops.gap", "Gap") if each.value]
        books = plant.books()
        truth = exchange.ask("/books")
    full = [gap for gap in gaps if gap["reason"] == "BUFFER_FULL"]
    assert sum(gap["lost_records"] for gap in full) == 60000 - len(
        {(each["symbol"], each["last_update_id"]) for each in depth}
    )
    holes = set()
    last: dict[str, int] = {}
    for update in depth:
        symbol, previous = update["symbol"], last.get(update["symbol"])
        if previous is not None and update["first_update_id"] > previous + 1:
            holes.add((symbol, previous, update["first_update_id"]))
        last[symbol] = max(update["last_update_id"], previous or 0)
    assert holes
    assert holes <= {(gap["symbol"], gap["last_id"], gap["next_id"]) for gap in full}
    for symbol, book in books.items():
        assert book["last_update_id"] == truth[symbol]["last_update_id"]
        assert book["bids"] == truth[symbol]["bids"]
        assert book["asks"] == truth[symbol]["asks"]


SERVICES = ("rest-poller", "market-producer", "perp-producer", "book-builder")


def waits_for_kafka(service: Service) -> bool:
    return "Kafka is unreachable" in service.why_not_ready()


def has_published(service: Service) -> bool:
    return service.metric("published_records_total") > 0


def test_services_that_start_without_kafka_wait_for_it(own_kafka: BlockingKafka, tmp_path: Path) -> None:
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "later.") as plant:
        plant.start_exchange("--symbols", "3", "--rate", "100")
        broker.stop_broker(0)
        services = [plant.start(name) for name in SERVICES]
        for each in services:
            wait_until(f"{each.arguments[0]} says what it waits for", partial(waits_for_kafka, each))
            assert get(f"http://127.0.0.1:{each.port}/healthz")
        stopped = plant.start("market-producer")
        wait_until("it waits too", partial(waits_for_kafka, stopped))
        assert stopped.stop() == 0, stopped.log_tail()
        broker.start_broker(0)
        for each in services:
            wait_until(f"{each.arguments[0]} is ready", each.is_ready)
            wait_until("/metrics shows the attempt that succeeded", partial(has_published, each))
        assert len(plant.books()) == 3, "all are LIVE, or it would fail"
