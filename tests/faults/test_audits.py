"""A wrong book without a gap is found by comparison with the exchange's book, leaves LIVE in all readers, and is corrected."""

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from backpack_streams.audits.auditing import AHEAD_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, same_book, wait_until
from reading import read_topic

SYMBOL = "BTC_USDC_PERP"
DEPTH_PARTITIONS = 8


def forge(plant: Plant, first_id: int, last_id: int, bids: list[tuple[str, str]]) -> None:
    """Write a depth update that the exchange never sent."""
    codec, topic, now_us = Codec(), plant.prefix + "market.depth", time.time_ns() // 1000
    row: dict[str, Any] = {"symbol": SYMBOL, "source": "WEBSOCKET", "event_time": now_us, "engine_time": now_us}
    row |= {"received_time": now_us, "first_update_id": first_id, "last_update_id": last_id, "asks": []}
    row["bids"] = [{"price": Decimal(price), "quantity": Decimal(quantity)} for price, quantity in bids]
    value = codec.encoder("DepthUpdate", topic)(codec.rows("DepthUpdate")(row))

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=plant.bootstrap_servers)
        await producer.start()
        try:
            key = SYMBOL.encode()
            await producer.send_and_wait(topic, value, key=key, partition=partition_of(key, DEPTH_PARTITIONS))
        finally:
            await producer.stop()

    asyncio.run(send())


def audits(plant: Plant, *results: str) -> list[dict[str, Any]]:
    read = read_topic(plant.bootstrap_servers, plant.prefix + "ops.book_audit", "BookAudit")
    rows = [each.value for each in read if each.value is not None and each.key == SYMBOL]
    return [row for row in rows if row["result"] in results]


def verdict(plant: Plant, *flags: str) -> tuple[int, dict[str, Any], str]:
    done = plant.run("audit", SYMBOL, "--json", "--rest-url", plant.exchange.rest_url, "--timeout", "30", *flags)
    return done.returncode, json.loads(done.stdout), done.stderr


def status(plant: Plant) -> str:
    done = plant.run("book", SYMBOL, "--once", "--json", "--timeout", "1")
    return str(json.loads(done.stdout)["status"])


def test_a_forged_update_is_detected_reported_and_healed(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "forged.") as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "300", "--frames", "900", "--start", "subscribed")
        poller = plant.start_ready("rest-poller", "--snapshot-refresh", "0")
        producer = plant.start_ready("market-producer", "--streams", "depth,trade")
        exchange.wait_finished()
        plant.books(SYMBOL)
        code, row, _ = verdict(plant)
        assert (code, row["result"], row["different_levels"]) == (0, "MATCH", 0)
        assert row["compared_levels"] > 100

        # Replace what the exchange sends while no producer runs by a forged update: no id is missing.
        assert producer.stop() == 0
        before = exchange.ask(f"/books/{SYMBOL}")
        exchange.order("burst", count=60)
        wait_until("the market has moved", lambda: exchange.ask("/state")["finished"])
        missed = exchange.ask(f"/books/{SYMBOL}")
        assert missed["last_update_id"] > before["last_update_id"]
        wrong_price = missed["bids"][-1][0]  # in a level that does not change
        forge(plant, before["last_update_id"] + 1, missed["last_update_id"], [(wrong_price, "12345.5")])
        assert poller.stop() == 0, "at a producer's start it would fetch the book, and that is right"
        plant.start_ready("market-producer", "--streams", "depth,trade")
        exchange.order("burst", count=60)  # the updates after the forged one seem to prove the book
        wait_until("the market has moved on", lambda: exchange.ask("/state")["finished"])
        truth = exchange.ask(f"/books/{SYMBOL}")
        assert truth["last_update_id"] > missed["last_update_id"]
        wait_until("the wrong book is LIVE", lambda: status(plant) == "LIVE")

        code, row, message = verdict(plant)
        assert (code, row["result"]) == (1, "MISMATCH")
        assert row["update_id"] == truth["last_update_id"]
        told = {each["price"]: (each["ours"], each["exchange"]) for each in row["differences"] if each["side"] == "bid"}
        assert told[wrong_price] == ("12345.5", missed["bids"][-1][1])
        assert missed["bids"][-1] in truth["bids"]
        assert SYMBOL in message

        builder = plant.start_ready("book-builder")
        gaps_before = len(read_topic(plant.bootstrap_servers, "forged.ops.gap", "Gap"))
        plant.start_ready("rest-poller", "--snapshot-refresh", "0")
        wait_until("the audit finds it", lambda: bool(audits(plant, "MISMATCH")))
        [found] = audits(plant, "MISMATCH")
        assert found["different_levels"] == row["different_levels"]
        assert (Decimal(wrong_price), Decimal("12345.5")) in _levels(found["our_bids"])
        assert _levels(found["exchange_bids"]) == [tuple(map(Decimal, level)) for level in truth["bids"]]
        gaps = read_topic(plant.bootstrap_servers, "forged.ops.gap", "Gap")[gaps_before:]
        of_book = [gap.value for gap in gaps if gap.value and gap.value["stream"] == f"depth.{SYMBOL}"]
        assert [(gap["reason"], gap["last_id"]) for gap in of_book] == [("AUDIT_MISMATCH", found["book_update_id"])]

        wait_until("every reader has the right book", lambda: same_book(plant.books(SYMBOL)[SYMBOL], truth))
        code, row, _ = verdict(plant)
        assert (code, row["result"]) == (0, "MATCH")
        assert builder.metric("book_audits_total") >= 1


def _levels(levels: list[dict[str, Any]]) -> list[tuple[Decimal, Decimal]]:
    return [(level["price"], level["quantity"]) for level in levels]


def test_a_forged_update_in_a_quiet_market_is_detected_and_healed(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "standing.") as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "300", "--frames", "900", "--start", "subscribed")
        poller = plant.start_ready("rest-poller", "--snapshot-refresh", "4")
        plant.start_ready("market-producer", "--streams", "depth,trade")
        plant.start_ready("book-builder")
        exchange.wait_finished()
        truth = exchange.ask(f"/books/{SYMBOL}")
        wait_until("the book has come to it", lambda: same_book(plant.books(SYMBOL)[SYMBOL], truth))
        # Nothing after the forged update reveals it: no update follows, none is missing.
        forged_id, price = truth["last_update_id"] + 1, truth["bids"][2][0]
        assert poller.stop() == 0
        forge(plant, forged_id, forged_id, [(price, "777.5")])
        wait_until("it is in the book", lambda: plant.books(SYMBOL)[SYMBOL]["last_update_id"] == forged_id)
        assert status(plant) == "LIVE"
        code, row, message = verdict(plant)
        assert (code, row["result"], row["update_id"]) == (1, "MISMATCH", None)
        assert f"update {forged_id} is not the exchange's" in row["reason"]
        assert [(each["price"], each["ours"]) for each in row["differences"]] == [(price, "777.5")]
        assert SYMBOL in message

        # It fetches each book once, at its start; the second time is for the builder's audit request.
        plant.start_ready("rest-poller", "--snapshot-refresh", "0")
        wait_until("the builder's audit finds it", lambda: bool(audits(plant, "MISMATCH")), seconds=60)
        [wanted] = audits(plant, "WANTED")
        assert f"it has stood at update {forged_id} for {AHEAD_SECONDS:g} s" in wanted["reason"]
        [found] = audits(plant, "MISMATCH")
        assert (found["book_update_id"], found["snapshot_update_id"]) == (forged_id, truth["last_update_id"])
        gaps = [gap.value for gap in read_topic(plant.bootstrap_servers, "standing.ops.gap", "Gap") if gap.value]
        [told] = [gap for gap in gaps if gap["reason"] == "AUDIT_MISMATCH"]
        assert (told["last_id"], told["next_id"]) == (forged_id, forged_id)
        wait_until("every reader has the right book", lambda: same_book(plant.books(SYMBOL)[SYMBOL], truth))
        code, row, _ = verdict(plant)
        assert (code, row["result"]) == (0, "MATCH")
        exchange.order("burst", count=60)
        wait_until("the market has moved", lambda: exchange.ask("/state")["finished"])
        moved = exchange.ask(f"/books/{SYMBOL}")
        wait_until("the book goes on", lambda: same_book(plant.books(SYMBOL)[SYMBOL], moved))


def test_correct_books_have_no_mismatch_in_full_traffic(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "audited.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "600", "--start", "control")
        plant.start_ready("rest-poller", "--snapshot-refresh", "0.3")
        plant.start_ready("market-producer", "--streams", "depth,trade")
        builder = plant.start_ready("book-builder")
        exchange.order("snapshot-behind", symbol=SYMBOL, updates=100, count=4)
        exchange.order("snapshot-ahead", symbol=SYMBOL, seconds=0.5, count=4)
        exchange.play()
        wait_until("many audits are on record", lambda: len(audits(plant, "MATCH")) >= 15)
        done = plant.run("audit", "all", "--json", "--rest-url", exchange.rest_url, "--timeout", "40")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {json.loads(line)["result"] for line in done.stdout.splitlines()} == {"MATCH"}
        matches = audits(plant, "MATCH")
        assert all(row["compared_levels"] > 100 for row in matches)
        assert any(row["book_update_id"] > row["update_id"] for row in matches)
        assert audits(plant, "MISMATCH") == []
        assert builder.metric('book_audits_total{result="MATCH"}') >= 15
        assert builder.metric('book_audits_total{result="MISMATCH"}') == 0


def test_a_book_that_cannot_be_compared_is_not_a_match(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "unaudited.") as plant:
        plant.start_exchange("--symbols", "2", "--rate", "300", "--start", "subscribed")
        assert plant.run("topics", "apply").returncode == 0
        plant.start_ready("market-producer", "--streams", "depth")
        done = plant.run("audit", SYMBOL, "--rest-url", plant.exchange.rest_url, "--timeout", "2")
        assert done.returncode == 1
        assert "NOT_COMPARABLE" in done.stdout
        assert "no snapshot yet" in done.stdout
        assert done.stderr.startswith(f"backpack-streams audit: 1 book is not compared within 2 s: {SYMBOL}")
        assert done.stderr.count("\n") == 1
        unknown = plant.run("audit", "BTC_USDC_PRP", "--rest-url", plant.exchange.rest_url)
        assert unknown.returncode == 2
        assert "did you mean BTC_USDC_PERP" in unknown.stderr
