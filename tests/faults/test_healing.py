"""Losses are on record, no wrong book is shown, and everything heals by itself."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.books import BookStream, Status
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, wait_until
from reading import read_topic
from witness import Witness

SYMBOL = "BTC_USDC_PERP"

BookLines = tuple[int | None, list[list[str]], list[list[str]]]


class OneBook(Witness):
    """A witness of one book, which is LIVE from the start."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant, SYMBOL)

    def is_live(self) -> bool:
        return self.sees_live(1)

    def times_left_live(self) -> int:
        return self.left_live(SYMBOL)


@contextmanager
def witness(plant: Plant) -> Iterator[OneBook]:
    with OneBook(plant) as watching:
        wait_until("the witness sees a live book", watching.is_live)
        yield watching


@contextmanager
def live_plant(kafka: BlockingKafka, folder: Path, prefix: str, *sandbox: str) -> Iterator[tuple[Plant, Any, Any]]:
    with running_plant(kafka.bootstrap_servers, folder, prefix) as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "300", "--start", "control", *sandbox)
        poller = plant.start("rest-poller")
        producer = plant.start("market-producer", "--streams", "depth,trade")
        wait_until("the poller is ready", poller.is_ready)
        wait_until("the producer is ready", producer.is_ready)
        exchange.play()
        yield plant, producer, poller


def gaps(plant: Plant, *reasons: str) -> list[dict[str, Any]]:
    found = [each.value for each in read_topic(plant.bootstrap_servers, plant.prefix + "ops.gap", "Gap") if each.value]
    return [gap for gap in found if gap["stream"] == f"depth.{SYMBOL}" and (not reasons or gap["reason"] in reasons)]


async def _book(plant: Plant, at_least: int) -> BookLines:
    async with BookStream(plant.bootstrap_servers, [SYMBOL], topic_prefix=plant.prefix) as books:
        async for _ in books:
            market = books.books[SYMBOL]
            if market.status is Status.LIVE and (market.last_update_id or 0) >= at_least:
                bids, asks = market.book.to_lines()
                return market.last_update_id, [list(level) for level in bids], [list(level) for level in asks]
    raise AssertionError


def assert_equal_to_exchange(plant: Plant) -> None:
    """The flow is over: a new reader has the exchange's book."""
    truth = plant.exchange.ask(f"/books/{SYMBOL}")
    ours = asyncio.run(asyncio.wait_for(_book(plant, truth["last_update_id"]), 60))
    assert ours == (truth["last_update_id"], truth["bids"], truth["asks"])


def test_a_dropped_frame_is_a_gap_and_heals(kafka: BlockingKafka, tmp_path: Path) -> None:
    with live_plant(kafka, tmp_path, "dropped.") as (plant, _, _), witness(plant) as watching:
        plant.exchange.order("drop", stream=f"depth.{SYMBOL}", count=1)
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() == 1)
        wait_until("the book is LIVE again", watching.is_live)
        (gap,) = gaps(plant, "SEQUENCE_BREAK")
        assert gap["next_id"] > gap["last_id"] + 1
        _no_state_skips_the_hole(watching, gap["last_id"])
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def _no_state_skips_the_hole(watching: OneBook, last_id: int) -> None:
    """While LIVE the book stopped at the last update before the gap; the next state was not LIVE."""
    sights = watching.seen[SYMBOL]
    at_hole = max(
        at for at, sight in enumerate(sights) if sight.status is Status.LIVE and sight.last_update_id == last_id
    )
    assert sights[at_hole + 1].status is not Status.LIVE


def test_a_killed_producer_costs_one_gap_that_heals(kafka: BlockingKafka, tmp_path: Path) -> None:
    with (
        live_plant(kafka, tmp_path, "producer.") as (plant, producer, _),
        witness(plant) as watching,
    ):
        producer.kill()
        time.sleep(1.5)
        plant.start_ready("market-producer", "--streams", "depth,trade")
        wait_until("the book left LIVE", lambda: watching.times_left_live() >= 1)
        wait_until("the book is LIVE again", watching.is_live)
        assert len(gaps(plant, "RESTART")) == 1
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def test_a_restart_that_missed_nothing_records_no_gap(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "quiet.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "500", "--frames", "1000", "--start", "subscribed")
        plant.start_ready("rest-poller")
        producer = plant.start_ready("market-producer", "--streams", "depth,trade")
        exchange.wait_finished()
        assert_equal_to_exchange(plant)
        known = len(read_topic(plant.bootstrap_servers, "quiet.ops.gap", "Gap"))
        assert producer.stop() == 0
        plant.start_ready("market-producer", "--streams", "depth,trade")
        exchange.order("burst", count=300)
        wait_until(
            "new frames arrive",
            lambda: sum(each["depth"]["frames"] for each in exchange.ask("/sequences").values()) == 1300,
        )
        wait_until(
            "all are in Kafka", lambda: len(read_topic(plant.bootstrap_servers, "quiet.market.depth", None)) == 1300
        )
        assert len(read_topic(plant.bootstrap_servers, "quiet.ops.gap", "Gap")) == known
        assert_equal_to_exchange(plant)


def test_a_restarted_poller_snapshots_books_that_broke_while_it_was_down(kafka: BlockingKafka, tmp_path: Path) -> None:
    with live_plant(kafka, tmp_path, "poller.") as (plant, _, poller), witness(plant) as watching:
        poller.kill()
        plant.exchange.order("drop", stream=f"depth.{SYMBOL}", count=1)
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() == 1)
        time.sleep(1)
        assert not watching.is_live()
        plant.start_ready("rest-poller")
        wait_until("the book is LIVE again", watching.is_live)
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def test_a_close_by_the_server_loses_nothing(kafka: BlockingKafka, tmp_path: Path) -> None:
    options = ("--grace-seconds", "4", "--frames", "3600")
    with live_plant(kafka, tmp_path, "close.", *options) as (plant, producer, _), witness(plant) as watching:
        plant.exchange.order("close")
        wait_until("the old socket is gone", lambda: producer.metric("socket_closes_total") >= 1)
        wait_until("a new one is there", lambda: producer.metric("socket_opens_total") >= 2)
        plant.exchange.wait_finished()
        assert gaps(plant) == gaps(plant, "STREAM_START")
        assert watching.times_left_live() == 0
        assert producer.metric("frames_duplicate_total") > 0
        assert_equal_to_exchange(plant)


def test_two_connections_survive_the_loss_of_one(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "two.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "300", "--frames", "3000", "--start", "control")
        plant.start_ready("rest-poller")
        producer = plant.start_ready("market-producer", "--streams", "depth,trade", "--connections", "2")
        wait_until("both sockets are up", lambda: producer.metric("sockets") == 2)
        exchange.play()
        time.sleep(2)
        exchange.order("cut", count=1)
        exchange.wait_finished()
        assert_equal_to_exchange(plant)
        reasons = {
            gap.value["reason"] for gap in read_topic(plant.bootstrap_servers, "two.ops.gap", "Gap") if gap.value
        }
        assert reasons <= {"STREAM_START"}
        depth = read_topic(plant.bootstrap_servers, "two.market.depth", None)
        assert len(depth) == 3000


@pytest.mark.parametrize("kind", ["digits", "text", "event", "field"])
def test_garbage_on_a_stream_does_not_stop_it(kafka: BlockingKafka, tmp_path: Path, kind: str) -> None:
    with live_plant(kafka, tmp_path, f"garbage-{kind}.", "--frames", "1500") as (plant, producer, _):
        plant.exchange.order("garbage", stream=f"depth.{SYMBOL}", kind=kind, count=1)
        wait_until("it was sent", lambda: not plant.exchange.ask("/faults"))
        plant.exchange.wait_finished()
        letters = [
            each.value
            for each in read_topic(plant.bootstrap_servers, plant.prefix + "ops.dead_letter", "DeadLetter")
            if each.value
        ]
        if kind == "field":
            assert not letters
            assert producer.metric("unknown_fields_total") >= 1
        else:
            assert letters
            assert producer.metric("dead_letters_total") == len(letters)
        if kind == "digits":
            assert [letter["reason"] for letter in letters] == ["VALUE_DOES_NOT_FIT"]
            assert gaps(plant, "UNREADABLE_FRAME")
        assert_equal_to_exchange(plant)


def test_a_crossed_snapshot_becomes_a_dead_letter_and_is_requested_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    with live_plant(kafka, tmp_path, "crossed.") as (plant, _, poller), witness(plant) as watching:
        plant.exchange.order("crossed-snapshot", symbol=SYMBOL, count=1)
        plant.exchange.order("drop", stream=f"depth.{SYMBOL}", count=1)
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() == 1)
        wait_until("the book is LIVE again", watching.is_live)
        letters = [
            each.value
            for each in read_topic(plant.bootstrap_servers, "crossed.ops.dead_letter", "DeadLetter")
            if each.value
        ]
        assert [letter["reason"] for letter in letters] == ["CROSSED_SNAPSHOT"]
        assert poller.metric("snapshots_refused_total") >= 1
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def test_snapshots_behind_the_stream_are_requested_again(kafka: BlockingKafka, tmp_path: Path) -> None:
    with live_plant(kafka, tmp_path, "behind.") as (plant, _, _), witness(plant) as watching:
        plant.exchange.order("snapshot-behind", symbol=SYMBOL, updates=200, count=4)
        plant.exchange.order("drop", stream=f"depth.{SYMBOL}", count=1)
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() >= 1)
        wait_until("the book is LIVE again", watching.is_live)
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def test_books_recover_from_cut_and_refused_sockets(kafka: BlockingKafka, tmp_path: Path) -> None:
    with live_plant(kafka, tmp_path, "cut.") as (plant, producer, _), witness(plant) as watching:
        plant.exchange.order("refuse", seconds=3)
        plant.exchange.order("cut")
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() >= 1)
        wait_until("the book is LIVE again", watching.is_live)
        start, gap = gaps(plant)
        assert (start["reason"], gap["reason"]) == ("STREAM_START", "DISCONNECTED")
        assert gap["next_id"] > gap["last_id"] + 1, "the first update on the new socket has shown what was missed"
        assert gap["last_time"] < gap["next_time"]
        assert producer.metric("socket_opens_total") >= 2
        plant.exchange.finish()
        plant.exchange.wait_finished()
        assert_equal_to_exchange(plant)


def test_a_book_leaves_live_when_the_market_falls_silent_during_an_outage(kafka: BlockingKafka, tmp_path: Path) -> None:
    """The lost updates are the last ones, so no later update reveals the loss."""
    with live_plant(kafka, tmp_path, "silent.", "--frames", "3000") as (plant, producer, _), witness(plant) as watching:
        plant.exchange.order("refuse", seconds=14)
        plant.exchange.order("cut")
        plant.exchange.wait_finished()
        wait_until("the book leaves LIVE", lambda: watching.times_left_live() >= 1)
        at_outage = watching.reached()[SYMBOL]
        assert not gaps(plant, "DISCONNECTED"), "when the outage ends is not known yet"
        wait_until("a socket is up again", lambda: producer.metric("socket_opens_total") >= 2)
        wait_until("the book is LIVE again", watching.is_live)
        wait_until("the outage is on record", lambda: bool(gaps(plant, "DISCONNECTED")))
        start, gap = gaps(plant)
        assert start["reason"] == "STREAM_START"
        assert (gap["last_id"], gap["next_id"], gap["lost_records"]) == (at_outage, None, None), "nobody knows"
        assert gap["last_time"] < gap["next_time"]
        assert_equal_to_exchange(plant)


def test_a_book_behind_its_producers_watermark_is_detected_and_healed(kafka: BlockingKafka, tmp_path: Path) -> None:
    """The exchange forgets a confirmed subscription, then the market falls silent: no id and no other stream shows it."""
    with running_plant(kafka.bootstrap_servers, tmp_path, "forgotten.") as plant:
        exchange = plant.start_exchange("--symbols", "3", "--rate", "300", "--start", "control")
        # New topics make the group rebalance, and a builder that takes over would start from the snapshot that is the evidence.
        applied = plant.run("topics", "apply")
        assert applied.returncode == 0, applied.stderr
        poller = plant.start("rest-poller", "--snapshot-refresh", "5")
        producer = plant.start("market-producer", "--streams", "depth")
        builder = plant.start("book-builder")
        for service in (poller, producer, builder):
            wait_until(f"{service} is ready", service.is_ready)
        exchange.play()
        with witness(plant) as watching:
            exchange.order("drop", stream=f"depth.{SYMBOL}", count=1_000_000)
            began = exchange.ask(f"/books/{SYMBOL}")["last_update_id"]
            wait_until("the market moves", lambda: exchange.ask(f"/books/{SYMBOL}")["last_update_id"] > began + 50)
            exchange.finish()
            exchange.wait_finished()
            truth = exchange.ask(f"/books/{SYMBOL}")["last_update_id"]
            wait_until("the book leaves LIVE", lambda: watching.times_left_live() >= 1)
            wait_until("the disproof is on record", lambda: bool(gaps(plant, "COVERAGE_DISPROVED")))
            exchange.clear()
            wait_until("the stream is subscribed anew", lambda: bool(gaps(plant, "SUBSCRIPTION_SILENT")), 120)
            wait_until("the book is LIVE again", watching.is_live, 120)
        gap = gaps(plant, "COVERAGE_DISPROVED")[0]
        assert gap["last_id"] < truth < gap["next_id"]
        assert_equal_to_exchange(plant)
