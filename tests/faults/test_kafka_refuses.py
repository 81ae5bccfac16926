"""Records that Kafka refuses are on record; a report that it refuses is counted and logged, and nothing is vouched for any more."""

from pathlib import Path

import pytest

from embedded_kafka import BlockingKafka
from kafka_faults import limit_records
from plant import Plant, Service, running_plant, wait_until
from reading import read_topic

TOO_SMALL_BYTES = 80


def producer_of_trades(plant: Plant) -> Service:
    plant.start_exchange("--symbols", "2", "--rate", "100")
    producer = plant.start_ready("market-producer", "--streams", "trade")
    wait_until("it publishes", lambda: producer.metric("published_records_total") > 20)
    return producer


def test_a_record_that_kafka_refuses_for_good_is_a_dead_letter_and_a_gap(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "refuses.") as plant:
        producer = producer_of_trades(plant)
        limit_records(kafka, "refuses.market.trade", TOO_SMALL_BYTES)
        wait_until("records are refused", lambda: producer.metric("publish_rejected_records_total") >= 5)
        producer.stop()
        assert "a report is lost" not in producer.log.read_text()
        letters = [each.value for each in read_topic(kafka.bootstrap_servers, "refuses.ops.dead_letter", "DeadLetter")]
        gaps = [each.value for each in read_topic(kafka.bootstrap_servers, "refuses.ops.gap", "Gap")]
    refused = [letter for letter in letters if letter and letter["reason"] == "REJECTED_BY_KAFKA"]
    assert len(refused) >= 5
    assert {letter["origin"] for letter in refused} == {"refuses.market.trade"}
    assert all(letter["payload"] for letter in refused)
    on_record = sum(gap["lost_records"] for gap in gaps if gap and gap["reason"] == "REJECTED_BY_KAFKA")
    assert on_record == len(refused)


@pytest.mark.parametrize("topic", ["ops.dead_letter", "ops.gap"])
def test_a_report_that_kafka_refuses_is_counted_and_logged(kafka: BlockingKafka, tmp_path: Path, topic: str) -> None:
    prefix = f"refuses-{topic}."
    with running_plant(kafka.bootstrap_servers, tmp_path, prefix) as plant:
        producer = producer_of_trades(plant)
        assert producer.metric("reports_lost_total") == 0
        limit_records(kafka, prefix + topic, TOO_SMALL_BYTES)
        limit_records(kafka, prefix + "market.trade", TOO_SMALL_BYTES)
        wait_until("a report is lost", lambda: producer.metric("reports_lost_total") >= 3)
        wait_until("it says that it cannot be relied on", lambda: "reports of losses" in producer.why_not_ready())
        age = producer.metric("watermark_age_seconds")
        wait_until("it vouches for nothing", lambda: producer.metric("watermark_age_seconds") > age + 3)
        log = producer.log.read_text()
    assert log.count("a report is lost") >= 3
    assert topic in log
