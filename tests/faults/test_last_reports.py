"""A stopping service sends its reports of losses first; those it cannot send are counted and logged with their content."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.settings import PublishingSettings
from embedded_kafka import BlockingKafka, EmbeddedKafka
from kafka_faults import limit_records
from plant import running_plant, wait_until
from reading import decoder, read_topic

TRADE = "market.trade"
NOW_MS = 1_790_134_357_267
FRAME = b"the only copy of a frame"
LETTERS = 3


async def opened(kafka: BlockingKafka, prefix: str) -> Publishing:
    settings = PublishingSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, buffer_mib=1)
    publishing = Publishing("last", settings, lambda topic, symbol, record: f"trade.{symbol}")
    await publishing.open({TRADE})
    return publishing


def fill(publishing: Publishing) -> None:
    """Fill the buffer, including the reserve for reports, and then add reports."""
    partition_queue = publishing.partition_queue(TRADE, b"key")
    for size in (1000, 1):
        while partition_queue.append(b"key", bytes(size), NOW_MS, spare=True):
            pass
    for _ in range(LETTERS):
        publishing.reporter.dead_letter(
            reason=reports.UNPARSABLE, detail="odd", payload=FRAME, origin="trade.X", symbol="X", received_us=1
        )
    assert publishing.reporter.waiting_reports == LETTERS


def frames_on_record(kafka: BlockingKafka, prefix: str) -> list[bytes]:
    letters = read_topic(kafka.bootstrap_servers, f"{prefix}ops.dead_letter", "DeadLetter")
    return [letter.value["payload"] for letter in letters if letter.value]


async def test_waiting_reports_are_sent_before_the_data(kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    send_batch = AIOKafkaProducer.send_batch
    answers, sent = asyncio.Event(), list[str]()

    async def hangs(self: AIOKafkaProducer, batch: Any, topic: str, **options: Any) -> Any:
        await answers.wait()
        sent.append(topic.removeprefix("first."))
        return await send_batch(self, batch, topic, **options)

    publishing = await opened(kafka, "first.")
    monkeypatch.setattr(AIOKafkaProducer, "send_batch", hangs)
    publishing.partition_queue(TRADE, b"key").append(b"key", b"on its way", NOW_MS)
    await asyncio.sleep(0)
    fill(publishing)
    closing = asyncio.create_task(publishing.close())
    await asyncio.sleep(0)
    answers.set()
    await closing
    assert sent[:2] in ([TRADE, "ops.dead_letter"], ["ops.dead_letter", TRADE]), "one batch of data was on its way"
    assert sent.count(TRADE) > 2
    assert await asyncio.to_thread(frames_on_record, kafka, "first.") == [FRAME] * LETTERS
    assert (publishing.reporter.waiting_reports, publishing.reporter.lost_reports) == (0, 0)


async def test_records_rejected_at_the_very_end_are_on_record(kafka: BlockingKafka) -> None:
    publishing = await opened(kafka, "end.")
    await asyncio.to_thread(limit_records, kafka, "end.market.trade", 80)
    for number in range(5):
        publishing.partition_queue(TRADE, b"key").append(b"key", str(number).encode() * 100, NOW_MS)
    await publishing.close()
    assert len(await asyncio.to_thread(frames_on_record, kafka, "end.")) == 5
    assert publishing.reporter.lost_reports == 0


async def test_reports_that_cannot_be_sent_are_counted_and_logged_with_their_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0)) as own_kafka:
        publishing = await opened(own_kafka, "lost.")
        await asyncio.to_thread(own_kafka.stop_broker, 0, kill=True)
        fill(publishing)
        with caplog.at_level(logging.ERROR):
            started = time.monotonic()
            await publishing.close()
        assert time.monotonic() - started < 40
        lost = [record.__dict__ for record in caplog.records if record.message == "a report is lost"]
        assert [each["topic"] for each in lost] == ["ops.dead_letter"] * LETTERS
        assert all(FRAME in bytes.fromhex(each["value"]) for each in lost)
        assert publishing.reporter.lost_reports == LETTERS
        assert publishing.reporter.waiting_reports == 0


def test_a_service_stopped_while_kafka_is_unavailable_logs_its_unsent_gaps(tmp_path: Path) -> None:
    own_kafka = BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0))
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "stops.") as plant:
        plant.start_exchange("--symbols", "2", "--rate", "3000")
        producer = plant.start_ready("market-producer", "--streams", "depth", "--buffer-mib", "1")
        broker.stop_broker(0, kill=True)
        wait_until("the buffer is full", lambda: producer.metric("publish_refused_records_total") > 100)
        assert producer.stop() == 0
        log = producer.log.read_text()
    lost = [json.loads(line) for line in log.splitlines() if "a report is lost" in line]
    gaps = [decoder("Gap")(bytes.fromhex(each["value"])) for each in lost if each["topic"] == "ops.gap"]
    full = [gap for gap in gaps if gap["reason"] == reports.BUFFER_FULL]
    assert full
    assert all(gap["lost_records"] and gap["last_id"] for gap in full)
    assert "the service ended before Kafka had acknowledged it" in log
