"""Snapshots and checkpoints that Kafka refuses do not count as written: they are written soon after it accepts them again."""

from pathlib import Path

from embedded_kafka import BlockingKafka
from kafka_faults import limit_records
from plant import Plant, running_plant, wait_until
from reading import read_topic

SYMBOLS = 2
TOO_SMALL_BYTES, ROOMY_BYTES = 80, 1024 * 1024
SOON_SECONDS = 90.0
"""Routine snapshots come every 540 s, and checkpoints of a quiet market never."""


def snapshots(plant: Plant, origin: str) -> set[str | None]:
    """The markets with one on the topic."""
    records = read_topic(plant.bootstrap_servers, plant.prefix + "market.book_snapshot", "BookSnapshot")
    return {each.key for each in records if each.value and each.value["origin"] == origin}


def test_a_snapshot_that_kafka_refused_is_requested_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "snapshots-refused.") as plant:
        plant.run("topics", "apply")
        topic = plant.prefix + "market.book_snapshot"
        limit_records(kafka, topic, TOO_SMALL_BYTES)
        plant.start_exchange("--symbols", str(SYMBOLS), "--rate", "50")
        poller = plant.start_ready("rest-poller")
        wait_until("snapshots are refused", lambda: poller.metric("publish_rejected_records_total") >= 2 * SYMBOLS)
        assert poller.metric("snapshots_total") == 0
        limit_records(kafka, topic, ROOMY_BYTES)
        wait_until("all are there", lambda: len(snapshots(plant, "SEED")) == SYMBOLS, SOON_SECONDS)


def test_a_checkpoint_that_kafka_refused_is_written_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "checkpoints-refused.") as plant:
        exchange = plant.start_exchange(
            "--symbols", str(SYMBOLS), "--rate", "100", "--frames", "200", "--start", "subscribed"
        )
        poller = plant.start_ready("rest-poller")
        wait_until("all books have snapshots", lambda: len(snapshots(plant, "SEED")) == SYMBOLS)
        poller.stop()  # so that only the builder writes them
        plant.start_ready("market-producer", "--streams", "depth")
        exchange.wait_finished()
        topic = plant.prefix + "market.book_snapshot"
        limit_records(kafka, topic, TOO_SMALL_BYTES)
        builder = plant.start_ready("book-builder", "--checkpoint-seconds", "1")
        wait_until("checkpoints are refused", lambda: builder.metric("publish_rejected_records_total") >= 2 * SYMBOLS)
        limit_records(kafka, topic, ROOMY_BYTES)
        wait_until("all are there", lambda: len(snapshots(plant, "CHECKPOINT")) == SYMBOLS, SOON_SECONDS)
