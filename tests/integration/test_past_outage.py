"""As of a moment without coverage no book is LIVE; before and after it every book equals the exchange's."""

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from embedded_kafka import BlockingKafka
from faults.campaign.past_moments import PastFindings, judge_past_moments
from faults.campaign.truth import BookTimes, read_ledger
from plant import Plant, running_plant, wait_until

SYMBOLS = 3
MAX_AGE = 5.0
OUTAGE_SECONDS = 10.0
MOMENTS = 6


def now_us() -> int:
    return time.time_ns() // 1000


def an_outage(plant: Plant) -> list[tuple[int, int]]:
    """The start and end of the times before, during and after the outage."""
    exchange = plant.start_exchange("--symbols", str(SYMBOLS), "--rate", "150", "--ledger-messages", "50000")
    plant.start_ready("rest-poller")
    producer = plant.start_ready("market-producer", "--streams", "depth")
    plant.books()
    live_us = now_us()
    wait_until("some time passes", lambda: now_us() > live_us + 3_000_000)
    producer.kill()
    killed_us = now_us()
    ids = {symbol: book["last_update_id"] for symbol, book in exchange.ask("/books").items()}
    wait_until("the outage is long", lambda: now_us() > killed_us + int(OUTAGE_SECONDS * 1_000_000))
    moved = {symbol: book["last_update_id"] for symbol, book in exchange.ask("/books").items()}
    assert all(moved[symbol] > last_id for symbol, last_id in ids.items())
    back_us = now_us()
    plant.start_ready("market-producer", "--streams", "depth")
    plant.books()
    again_us = now_us()
    wait_until("some time passes", lambda: now_us() > again_us + 3_000_000)
    exchange.finish()
    end_us = now_us()
    wait_until("all of it lies in Kafka", lambda: now_us() > end_us + 4_000_000)
    return [
        (live_us, killed_us - 100_000),
        (killed_us + int(MAX_AGE * 1_000_000) + 1_100_000, back_us),
        (again_us, end_us),
    ]


class Ledger:
    """The exchange's own books."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        truth = read_ledger(plant.exchange.ask("/ledger"))
        self.times = {
            symbol: BookTimes(listings, truth.messages["depth", symbol]) for symbol, listings in truth.listings.items()
        }

    def calm_moments(self, chosen: random.Random, span: tuple[int, int]) -> Iterator[int]:
        """Moments around which no book changes, so that only one state is right."""
        while True:
            moment = chosen.randrange(*span)
            if all(
                each.place_as_of(moment - 5_000) == each.place_as_of(moment + 5_000) for each in self.times.values()
            ):
                yield moment

    def judge(self, moments: list[int]) -> PastFindings:
        @cache
        def book(symbol: str, update_id: int) -> Any:
            try:
                return self._plant.exchange.ask(f"/books/{symbol}?at={update_id}")
            except HTTPError:
                return None

        plant = self._plant
        return judge_past_moments(plant.bootstrap_servers, plant.prefix, moments, self.times, book, max_age=MAX_AGE)


def test_books_before_during_and_after_an_outage(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "past-outage.") as plant:
        spans = an_outage(plant)
        ledger, chosen = Ledger(plant), random.Random(7)
        moments = [list(islice(ledger.calm_moments(chosen, span), MOMENTS)) for span in spans]
        for each in (moments[0], moments[2]):
            findings = ledger.judge(each)
            assert not findings.wrongs
            assert not findings.unread
            assert findings.statuses == {"LIVE": MOMENTS * SYMBOLS}, findings.reasons
            assert findings.exact == MOMENTS * SYMBOLS
        findings = ledger.judge(moments[1])
        assert findings.statuses == {"STALE": MOMENTS * SYMBOLS}, findings.reasons
        assert not findings.unread
        assert all("no producer has vouched for depth." in reason for reason in findings.reasons), findings.reasons
        the_command_says_so(plant, moments)


def the_command_says_so(plant: Plant, moments: list[list[int]]) -> None:
    for during, status in ((0, "LIVE"), (1, "STALE"), (2, "LIVE")):
        moment_us = moments[during][0]
        at = datetime.fromtimestamp(moment_us // 1_000_000, UTC).replace(microsecond=moment_us % 1_000_000)
        done = plant.run("book", "all", "--at", at.isoformat(), "--max-age", str(MAX_AGE), "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert {row["status"] for row in rows} == {status}, done.stderr
        assert all(row["as_of"] is not None for row in rows)
        assert done.returncode == (0 if status == "LIVE" else 1)
        if status == "STALE":
            assert "no producer has vouched" in done.stderr
            assert all(row["as_of"] < moment_us for row in rows)
