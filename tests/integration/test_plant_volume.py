"""Ninety-one markets at full speed: every frame in Kafka once and in order, every book equal to the exchange's."""

import subprocess
from pathlib import Path

from embedded_kafka import BlockingKafka
from plant import running_plant, same_book, wait_until
from reading import read_topic

FRAMES = 200_000
SYMBOLS = 91


def test_every_frame_is_in_kafka_once_and_in_order(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "volume.") as plant:
        exchange = plant.start_exchange(
            "--symbols", str(SYMBOLS), "--frames", str(FRAMES), "--rate", "max", "--start", "control"
        )
        plant.start_ready("rest-poller")
        producer = plant.start_ready("market-producer", "--streams", "depth,trade")
        wait_until("all streams are subscribed", lambda: len(exchange.ask("/state")["subscriptions"]) >= 2 * SYMBOLS)
        exchange.play()
        exchange.wait_finished()
        wait_until("all was taken", lambda: producer.metric("frames_total") >= FRAMES, 120)
        wait_until("all is acknowledged", lambda: producer.metric("publish_buffer_bytes") == 0, 120)
        sequences = exchange.ask("/sequences")
        books = plant.books()
        truth = exchange.ask("/books")
        assert producer.stop() == 0
        depth = read_topic(plant.bootstrap_servers, "volume.market.depth", "DepthUpdate")
        trades = read_topic(plant.bootstrap_servers, "volume.market.trade", "Trade")
        letters = read_topic(plant.bootstrap_servers, "volume.ops.dead_letter", "DeadLetter")
        gaps = read_topic(plant.bootstrap_servers, "volume.ops.gap", "Gap")

    assert not letters
    assert {gap.value["reason"] for gap in gaps if gap.value} <= {"STREAM_START"}
    assert sum(each["depth"]["frames"] for each in sequences.values()) == FRAMES
    assert len(depth) == FRAMES
    last: dict[str, int] = {}
    for record in depth:
        update = record.value
        assert update is not None
        assert record.key == update["symbol"]
        assert record.timestamp_ms == int(update["engine_time"].timestamp() * 1000 + 1e-6)
        previous = last.get(update["symbol"])
        assert previous is None or update["first_update_id"] == previous + 1
        last[update["symbol"]] = update["last_update_id"]
    for symbol, last_id in last.items():
        assert last_id == sequences[symbol]["depth"]["last_update_id"]
    assert len(trades) == sum(each["trades"]["count"] for each in sequences.values())
    assert len(books) == len([symbol for symbol in truth if sequences[symbol]["depth"]["frames"]])
    for symbol, book in books.items():
        assert book["status"] == "LIVE"
        assert same_book(book, truth[symbol]), symbol


def test_other_clients_see_correct_keys_partitions_and_timestamps(kafka: BlockingKafka, tmp_path: Path) -> None:
    """Compared with Java's own console consumer and Java's own partitioning."""
    with running_plant(kafka.bootstrap_servers, tmp_path, "java.") as plant:
        plant.start_exchange("--symbols", "12")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer")
        wait_until(
            "trades flow",
            lambda: plant.run("tail", "java.market.trade", "-n", "20", "--from-beginning").returncode == 0,
        )
        command = kafka.kafka.runtime.command(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--bootstrap-server", plant.bootstrap_servers, "--topic", "java.market.trade", "--from-beginning"),
            *("--max-messages", "20", "--timeout-ms", "20000"),
            *("--formatter-property", "print.key=true", "--formatter-property", "print.partition=true"),
            *("--formatter-property", "print.timestamp=true", "--formatter-property", "print.value=false"),
            *("--formatter-property", "print.offset=true"),
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        trades = read_topic(plant.bootstrap_servers, "java.market.trade", "Trade")
    seen = set()
    for line in done.stdout.splitlines():
        if line.startswith("CreateTime:"):
            timestamp, partition, offset, key = line.split("\t")[:4]
            seen.add((int(timestamp.split(":")[1]), int(partition.split(":")[1]), int(offset.split(":")[1]), key))
    assert len(seen) == 20, done.stderr
    assert seen <= {(trade.timestamp_ms, trade.partition, trade.offset, trade.key) for trade in trades}
