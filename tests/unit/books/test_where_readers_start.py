"""A starting reader reads and holds a bounded amount, even if data is missing, misspelt or absurd; the market list is as of the moment."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from backpack_streams.books import newest_records as newest
from backpack_streams.books import past
from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import look_round
from backpack_streams.books.listing import Listing
from backpack_streams.books.market_book import Status
from backpack_streams.books.past import WantedKeys, look_back
from backpack_streams.books.past_start import wanted_keys
from backpack_streams.books.selection import Selection
from past_plant import DEPTH, GAP, PREFIX, SNAPSHOT, START_US, Life, Logs, World, books_at, snapshot, update
from vouched_plant import CODEC, SECOND

HOURS = 48
MARKETS = [f"M{number}" for number in range(17)]
NOW_US = START_US + HOURS * 3600 * SECOND
KIBIBYTE = 1024


def open_market(listing: Listing, symbol: str, since_us: int, state: str = "Open") -> None:
    listing.take(symbol, {"order_book_state": state, "market_type": "SPOT"}, since_us)


@pytest.fixture(scope="module")
def two_days() -> Logs:
    """Checkpoints of 17 markets a few times an hour; their content does not matter, so each is the same kibibyte."""
    logs = Logs(a_poll=200)
    for turn in range(HOURS * 20):
        for symbol in MARKETS:
            time_us = START_US + (turn * 180 + MARKETS.index(symbol)) * SECOND
            logs.append(SNAPSHOT, symbol, b"x" * KIBIBYTE, time_us)
    for number in range(5_000):
        logs.append(DEPTH, "M1", b"", START_US + number * 30 * SECOND)
    return logs


def began(logs: Logs) -> Logs:
    logs.records_read = logs.bytes_read = 0
    return logs


def start_now(logs: Logs, *symbols: str, listing: Listing | None = None) -> Any:
    reader: Any = began(logs)
    wanted = frozenset(symbol.encode() for symbol in symbols)
    return asyncio.run(look_round(reader, CODEC, PREFIX, wanted, listing=listing))


def start_then(logs: Logs, wanted: WantedKeys, moment_us: int = NOW_US) -> Any:
    reader: Any = began(logs)
    return asyncio.run(look_back(reader, CODEC, PREFIX, wanted, moment_us))


# A live reader ------------------------------------------------------------------------------------------------


def test_a_misspelt_symbol_does_not_read_the_whole_topic(two_days: Logs) -> None:
    listing = Listing()
    for symbol in MARKETS:
        open_market(listing, symbol, START_US)
    start = start_now(two_days, "M1", "TYPO", listing=listing)
    assert [record.key for record in start.snapshots] == [b"M1"]
    assert two_days.records_read < 2_000


def test_without_a_market_list_a_search_goes_back_one_day(two_days: Logs) -> None:
    assert not start_now(two_days, "TYPO").snapshots
    a_day = len(MARKETS) * 24 * 20
    assert a_day <= two_days.records_read < a_day + 4_096 + newest.LONGEST_STEP


def test_a_search_without_a_result_reads_a_bounded_number_of_bytes(
    two_days: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "BYTES_WITHOUT_NEWS", 512 * KIBIBYTE)
    assert not start_now(two_days, "TYPO").snapshots
    assert two_days.records_read < 2_000


def test_gaps_are_read_back_to_the_oldest_snapshot() -> None:
    """A join during an outage: thousands of records have followed the one that reports it."""
    world = World({"A": [float(i) for i in range(60)]}, [Life(0, 30)], snapshots_every=59.0)
    logs = world.logs
    for number in range(5_000):
        logs.append(GAP, "other", b"", START_US + (31 + number // 200) * SECOND)
    start = start_now(logs, "A")
    assert start.offsets[GAP, 0] == 4_000, "the newest snapshot is younger than most"
    logs.topics[SNAPSHOT] = logs.topics[SNAPSHOT][:1]
    assert start_now(logs, "A").offsets[GAP, 0] == 0


# As of a moment -----------------------------------------------------------------------------------------------


def test_a_market_without_an_earlier_snapshot_costs_bounded_reading_and_little_memory(
    two_days: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "BYTES_WITHOUT_NEWS", 4_096 * KIBIBYTE)
    wanted = WantedKeys(frozenset({b"M1", b"LISTED_LATER"}), True, lambda key: key in {b"M1", b"LISTED_LATER"})
    tracemalloc.start()
    start = start_then(two_days, wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [record.key for record in start.snapshots] == [b"M1"]
    assert two_days.bytes_read < (4_096 + 6_400 + 1_000) * KIBIBYTE
    assert peak < 4 * 2**20


def test_a_search_as_of_a_moment_goes_back_at_most_one_day(two_days: Logs) -> None:
    start_then(two_days, WantedKeys(frozenset({b"LISTED_LATER"}), True, lambda key: key == b"LISTED_LATER"))
    a_day = len(MARKETS) * 24 * 20
    assert a_day <= two_days.records_read < a_day + 2 * 6_400


def test_a_symbol_that_was_never_listed_is_not_searched_far_back(two_days: Logs) -> None:
    listing = Listing()
    open_market(listing, "M1", START_US)
    wanted = wanted_keys(Selection(["TYPO"]), listing, NOW_US, lambda key: key == b"TYPO")
    assert not start_then(two_days, wanted).snapshots
    assert two_days.records_read < 1_000


def test_one_absurd_time_hides_no_snapshot(two_days: Logs) -> None:
    """In either direction: the future one misleads Kafka's index, the other must not be taken for the end of the day."""
    logs = Logs(a_poll=200)
    for turn in range(2_000):
        time_us = START_US + turn * 10 * SECOND
        if turn == 50:
            time_us += 10**15
        elif turn == 1_990:
            time_us = 0
        symbol = "QUIET" if turn == 1_200 else MARKETS[turn % 17]
        logs.append(SNAPSHOT, symbol, snapshot(symbol, turn, time_us, 0, None), time_us)
    moment_us = START_US + 1_995 * 10 * SECOND
    start = start_then(logs, WantedKeys(frozenset(), False, lambda _: True), moment_us)
    ids = sorted(CODEC.decode(record.value)[1]["last_update_id"] for record in start.snapshots)
    assert len(ids) == 18
    assert ids[0] == 1_200, "the search went on"
    assert ids[1] > 1_970


def test_one_update_with_an_absurd_time_delays_no_book() -> None:
    world = World({"A": [i * 0.4 for i in range(300)]}, [Life(0, 200)])
    depth = world.logs.topics[DEPTH]
    place = next(index for index, each in enumerate(depth) if each.timestamp > START_US // 1000 + 40_000)
    absurd_us = START_US + 10**15
    world.logs.topics[DEPTH] = _with_foreign(depth, place, update("OTHER", 5, absurd_us, START_US), absurd_us)
    for seconds in (41, 60, 100):
        books = books_at(world.logs, START_US + seconds * SECOND, "A", max_age=None)
        assert books["A"].status is Status.LIVE
        assert books["A"].last_update_id in world.ids_of(
            "A", START_US + (seconds - 1) * SECOND, START_US + seconds * SECOND
        )


def _with_foreign(records: list[Any], place: int, value: bytes, time_us: int) -> list[Any]:
    """Inserts one more record at this index; later offsets move up."""
    logs = Logs()
    for each in records[:place]:
        logs.append(DEPTH, each.key.decode(), each.value, each.timestamp * 1000)
    logs.append(DEPTH, "OTHER", value, time_us)
    for each in records[place:]:
        logs.append(DEPTH, each.key.decode(), each.value, each.timestamp * 1000)
    return logs.topics[DEPTH]


# The market list ----------------------------------------------------------------------------------------------


def test_a_market_is_closed_or_open_as_of_the_moment() -> None:
    intake = Intake(CODEC, PREFIX, Selection(["THEN", "NOW", "LATER"]))
    intake.depth_partitions = 1
    for since_us, then, now in ((50, "Open", "Open"), (100, "Closed", "Open"), (300, "Open", "Closed")):
        open_market(intake.listing, "THEN", since_us * SECOND, then)
        open_market(intake.listing, "NOW", since_us * SECOND, now)
    open_market(intake.listing, "LATER", 300 * SECOND, "Closed")
    intake.closed_until_us = 200 * SECOND
    assert intake.add(b"THEN").status is Status.CLOSED
    assert intake.add(b"NOW").status is Status.SYNCING
    assert intake.add(b"LATER").status is Status.SYNCING, "what the list said of it then is not known"


def test_the_list_as_of_a_moment_has_the_markets_open_then() -> None:
    listing = Listing()
    for since_us, then, now in ((50, "Open", "Open"), (100, "Closed", "Open"), (300, "Open", "Closed")):
        open_market(listing, "THEN", since_us * SECOND, then)
        open_market(listing, "NOW", since_us * SECOND, now)
    open_market(listing, "UNKNOWN", 300 * SECOND)
    wanted = wanted_keys(Selection(), listing, 200 * SECOND, lambda _: True)
    assert wanted.known == {b"NOW", b"UNKNOWN"}


def test_rows_read_again_change_nothing() -> None:
    listing = Listing()
    rows = [(100, "Closed"), (200, "Open"), (300, "Closed")]
    for _ in range(2):
        for since_us, state in rows:
            open_market(listing, "A", since_us, state)
    as_of = {time_us: listing.at("A", time_us) for time_us in (99, 100, 250, 999)}
    assert {time_us: each and (each.since_us, bool(each.why_closed)) for time_us, each in as_of.items()} == {
        99: None,
        100: (100, True),
        250: (200, False),
        999: (300, True),
    }
