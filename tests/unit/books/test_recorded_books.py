"""The recorded order flow of ten markets against a replay with plain dicts of Decimals."""

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.units import to_units

RECORDING = Path(__file__).parents[2] / "data" / "recorded-order-flow.jsonl.gz"

Event = tuple[dict[str, Any], bool, int]


@pytest.fixture(scope="module")
def events() -> dict[str, list[Event]]:
    """For each symbol its depth updates and snapshots in order: (message, whether it is a snapshot, the snapshot's limit)."""
    by_symbol: dict[str, list[Event]] = defaultdict(list)
    with gzip.open(RECORDING, "rt") as lines:
        for record in map(json.loads, lines):
            if "rest" in record:
                query = parse_qs(urlsplit(record["rest"]).query)
                by_symbol[query["symbol"][0]].append((record["body"], True, int(query["limit"][0])))
            elif record["ws"]["stream"].startswith("depth."):
                by_symbol[record["ws"]["data"]["s"]].append((record["ws"]["data"], False, 0))
    return by_symbol


def replay(events: list[Event]) -> tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    snapshot = next(message for message, is_snapshot, _ in events if is_snapshot)
    last = int(snapshot["lastUpdateId"])
    bids, asks = ({Decimal(p): Decimal(q) for p, q in snapshot[side]} for side in ("bids", "asks"))
    for message, is_snapshot, _ in events:
        if not is_snapshot and message["u"] > last:
            for side, changes in ((bids, message["b"]), (asks, message["a"])):
                side.update({Decimal(p): Decimal(q) for p, q in changes})
            last = message["u"]
    kept = [[(p, q) for p, q in side.items() if q] for side in (bids, asks)]
    return last, sorted(kept[0], reverse=True), sorted(kept[1])


def units(levels: list[list[str]]) -> list[tuple[int, int]]:
    return [(to_units(price), to_units(quantity)) for price, quantity in levels]


def feed(market: MarketBook, event: Event) -> Outcome:
    message, is_snapshot, limit = event
    if not is_snapshot:
        return market.on_update(message["U"], message["u"], message["T"], units(message["b"]), units(message["a"]))
    bids, asks = units(message["bids"]), units(message["asks"])
    return market.on_snapshot(
        int(message["lastUpdateId"]),
        message["timestamp"],
        bids,
        asks,
        bids_complete=len(bids) < limit,
        asks_complete=len(asks) < limit,
    )


def test_the_recording_has_the_expected_number_of_events(events: dict[str, list[Event]]) -> None:
    assert len(events) == 10
    assert sum(not is_snapshot for flow in events.values() for _, is_snapshot, _ in flow) == 2047
    assert all(sum(is_snapshot for _, is_snapshot, _ in flow) == 1 for flow in events.values())


def test_every_recorded_book_equals_its_replay_level_for_level(events: dict[str, list[Event]]) -> None:
    for symbol, flow in events.items():
        market = MarketBook(symbol)
        for event in flow:
            feed(market, event)
            assert event[1] is False or market.status is Status.LIVE
        last, bids, asks = replay(flow)
        assert (market.status, market.last_update_id, market.breaks) == (Status.LIVE, last, 0), symbol
        assert market.book.depth() == (bids, asks), symbol
        assert len(market.book) > 300


def test_a_recorded_flow_read_twice_gives_the_same_books(events: dict[str, list[Event]]) -> None:
    for symbol, flow in events.items():
        market = MarketBook(symbol)
        # Two producers side by side, one some updates behind the other.
        lagging = [event for event in flow if not event[1]]
        for place, event in enumerate(flow):
            feed(market, event)
            if market.status is Status.LIVE and place > 5:
                assert feed(market, lagging[place - 5]) is Outcome.DUPLICATE
        assert market.book.depth() == replay(flow)[1:], symbol
        assert market.breaks == 0


def test_a_gap_in_a_recorded_flow_is_found_and_only_a_snapshot_restores_the_book(
    events: dict[str, list[Event]],
) -> None:
    for symbol, flow in events.items():
        market = MarketBook(symbol)
        place_of_seed = next(place for place, event in enumerate(flow) if event[1])
        snapshot_id = int(flow[place_of_seed][0]["lastUpdateId"])
        hole = next(place for place, event in enumerate(flow) if not event[1] and event[0]["U"] > snapshot_id) + 3
        for event in flow[:hole]:
            feed(market, event)
        good = market.book.copy()
        assert feed(market, flow[hole + 1]) is Outcome.BROKE
        for event in flow[hole + 2 :]:
            assert feed(market, event) is Outcome.BUFFERED
        assert market.status is Status.STALE
        assert market.book == good
        # A snapshot right after the gap, taken from the replay, and everything that waited.
        last, bids, asks = replay(flow[: hole + 1])
        levels = ([(to_units(p), to_units(q)) for p, q in side] for side in (bids, asks))
        assert market.on_snapshot(last, flow[hole][0]["T"], *levels) is Outcome.RESYNCED
        assert market.book.depth() == replay(flow)[1:], symbol
