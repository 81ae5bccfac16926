"""Without producers no book is LIVE; with one again, all books soon are, and none is wrong in between."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from embedded_kafka import BlockingKafka
from faults.campaign.judge import Sight
from faults.campaign.readers import BookReader, book_readers
from faults.campaign.recovery import behind
from faults.campaign.sights import look_with_command, now_us, sights_of_tops
from faults.campaign.truth import read_ledger
from faults.campaign.verdicts import wrong_sights
from plant import Plant, Service, running_plant, wait_until
from reading import read_topic

logger = logging.getLogger(__name__)

BUSY = ("BTC_USDC_PERP", "SOL_USDC")
MOVED_UNSEEN, SILENT = "ETH_USDC_PERP", "kSHIB_USDC_PERP"
MARKETS = 7

MAX_AGE_SECONDS = 5.0
LATE_SECONDS = 2.0
"""A last record may reach a reader, and be observed, so much later."""
BUSY_SECONDS, SILENT_SECONDS = 10.0, 60.0


def start_producer(plant: Plant, folder: Path, name: str) -> Service:
    return plant.start("market-producer", "--streams", "depth,trade", log=folder / f"{name}.log")


@contextmanager
def reading(plant: Plant) -> Iterator[Mapping[str, BookReader]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(reader) for name, reader in book_readers(plant).items()}


def lacking(plant: Plant, readers: Mapping[str, BookReader], symbols: Collection[str]) -> list[str]:
    """The books of these that are not LIVE and up to date with the exchange; a busy one may be a second behind."""
    goal = plant.exchange.ask("/sequences")
    time.sleep(1.0)
    standing = {name: reader.standing() for name, reader in readers.items()}
    now = plant.exchange.ask("/sequences")
    return [
        f"{name}: {each}"
        for name, reader in readers.items()
        for each in behind(standing[name], [each for each in symbols if reader.wants(each)], goal, now)
    ]


def wait_for(
    what: str, plant: Plant, readers: Mapping[str, BookReader], symbols: Collection[str], seconds: float = 60.0
) -> None:
    deadline = time.monotonic() + seconds
    while missing := lacking(plant, readers, symbols):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s: {missing}"


def live(sights: Iterable[Sight], after_us: float, before_us: float) -> list[str]:
    return [
        f"{each.symbol} by {each.reader}, {(each.wall_us - after_us) / 1e6:.1f} s too late"
        for each in sights
        if after_us < each.wall_us < before_us and each.status == "LIVE"
    ]


@pytest.mark.timeout(300)
def test_without_producers_no_book_is_live_and_one_producer_restores_all(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "all-killed.") as plant:
        exchange = plant.start_exchange("--symbols", str(MARKETS), "--rate", "150", "--ledger-messages", "200000")
        exchange.order("pace", symbol=BUSY[0], weight=8.0)
        producers = [start_producer(plant, tmp_path, name) for name in ("first", "second")]
        for service in ("rest-poller", "book-builder"):
            plant.start(service)
        with reading(plant) as readers:
            everything = exchange.ask("/books").keys()
            wait_for("all books are live", plant, readers, everything)
            for symbol in (SILENT, MOVED_UNSEEN):
                exchange.order("silence", symbol=symbol)
            wait_for("the silent ones arrived", plant, readers, everything)
            for producer in producers:
                producer.kill()
            too_old_us = now_us() + (MAX_AGE_SECONDS + LATE_SECONDS) * 1e6
            exchange.order("burst", symbol=MOVED_UNSEEN, count=200)
            wait_until("none is live", lambda: not any_live(readers), MAX_AGE_SECONDS + LATE_SECONDS + 1)
            shown = look_with_command(plant)
            assert {each.symbol for each in shown} == set(everything)
            sights = [each._replace(wall_us=now_us()) for each in shown]

            started_us, began = now_us(), time.monotonic()
            third = start_producer(plant, tmp_path, "third")
            wait_until("it has subscribed", lambda: plant.has_all_subscriptions_of(third))
            subscribed = time.monotonic()
            starting_seconds = subscribed - began
            others = [each for each in everything if each not in (SILENT, MOVED_UNSEEN)]
            wait_for("the others are live", plant, readers, others)
            busy_seconds, since_subscribed = time.monotonic() - began, time.monotonic() - subscribed
            wait_for("the silent ones are live", plant, readers, everything, SILENT_SECONDS)
            silent_seconds = time.monotonic() - began
            exchange.finish()
            wait_for("all has arrived", plant, readers, everything)
        sights += [each for reader in readers.values() for each in reader.sights]
        rows = read_topic(plant.bootstrap_servers, plant.prefix + "market.book_top", "BookTop")
        sights += sights_of_tops([each.value for each in rows if each.value], clock_was_wrong=False)
        assert not live(sights, too_old_us, started_us)
        truth = read_ledger(exchange.ask("/ledger"))
        assert not wrong_sights(exchange, truth, sights)
        assert {each.reader for each in sights if each.status == "LIVE"} >= {*readers, "book_top"}
        logger.info("the busy books were back after %.1f s, all after %.1f s", busy_seconds, silent_seconds)
        assert since_subscribed < max(BUSY_SECONDS, starting_seconds), "a busy machine takes as long to start a process"


def any_live(readers: Mapping[str, BookReader]) -> bool:
    return any(book.status == "LIVE" for reader in readers.values() for book in reader.standing().values())
