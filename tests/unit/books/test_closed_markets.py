"""The book of a closed market says that it is closed and why; after reopening it is live only with data from since then."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.listing import Listing
from backpack_streams.books.market_book import MarketBook, Outcome, Status

SECOND = 1_000_000


def live(engine_time: int = SECOND) -> MarketBook:
    market = MarketBook("A")
    market.on_snapshot(10, engine_time, [(100, 1)], [(200, 1)])
    assert market.status is Status.LIVE
    return market


def test_a_closed_market_shows_why_and_since_when() -> None:
    market = live()
    assert market.on_closed("delisted", 5 * SECOND) is Outcome.CLOSED
    assert (market.status, market.reason, market.since) == (Status.CLOSED, "delisted", 5 * SECOND)
    assert market.on_closed("delisted again", 6 * SECOND) is Outcome.IGNORED
    assert market.reason == "delisted"


def test_last_updates_are_still_applied_while_it_is_closed() -> None:
    market = live()
    market.on_closed("delisted", 5 * SECOND)
    assert market.on_update(11, 11, 2 * SECOND, [(100, 5)], []) is Outcome.APPLIED
    assert market.status is Status.CLOSED
    assert market.last_update_id == 11
    market.on_update(13, 13, 3 * SECOND, [], [])
    assert market.since == 5 * SECOND, "what its chain does is not what it shows"


@pytest.mark.parametrize(("reopened", "status"), [(12 * SECOND, Status.STALE), (11 * SECOND, Status.LIVE)])
def test_a_reopened_market_with_an_old_book_waits_for_a_snapshot(reopened: int, status: Status) -> None:
    market = live()
    assert market.on_reopened(reopened) is Outcome.IGNORED
    market.on_closed("closed", 5 * SECOND)
    assert market.on_reopened(reopened) is Outcome.REOPENED
    assert market.status is status
    market.on_snapshot(10, 13 * SECOND, [(100, 1)], [(200, 1)])
    assert market.status is Status.LIVE


def test_a_relisted_market_starts_a_new_sequence() -> None:
    market = MarketBook("A")
    market.on_snapshot(50_000, SECOND, [(100, 1)], [(200, 1)])
    market.on_closed("delisted", 5 * SECOND)
    market.on_reopened(100 * SECOND)
    market.on_update(1, 1, 101 * SECOND, [(100, 2)], [])
    assert market.status is Status.STALE
    assert market.on_snapshot(0, 102 * SECOND, [], [(300, 1)]) is Outcome.RESYNCED
    assert market.status is Status.LIVE
    assert market.last_update_id == 1


def test_the_reason_of_a_held_book_is_what_holds_it() -> None:
    market = live()
    market.hold("retention")
    assert (market.status, market.reason) == (Status.SYNCING, "retention")
    market.release()
    assert (market.status, market.reason) == (Status.LIVE, "")
    assert MarketBook("B", no_snapshot_because="nothing from before").reason == "nothing from before"


# What the market list said as of a moment -------------------------------------------------------------------------

OPEN, CLOSED = ({"order_book_state": state, "market_type": "SPOT"} for state in ("Open", "Closed"))


def test_a_market_that_is_open_now_is_closed_as_of_a_moment_when_it_was_closed() -> None:
    listing = Listing()
    for row, second in ((OPEN, 50), (CLOSED, 100), (CLOSED, 150), (OPEN, 300), (None, 400)):
        listing.take("A", row, second * SECOND)
    told = {second: listing.at("A", second * SECOND) for second in (49, 50, 99, 100, 299, 300, 399, 400)}
    assert told[49] is None
    assert [bool(each.why_closed) for each in told.values() if each is not None] == [
        False,
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    then = told[299]
    assert then is not None
    assert (then.kind, then.since_us) == ("SPOT", 100 * SECOND)
    assert listing.at("A", math.inf) == listing.get("A")
    assert listing.at("B", math.inf) is None
    assert listing.only([b"A"]).at("A", 299 * SECOND) == then
    assert listing.only([b"B"]).at("A", 299 * SECOND) is None


@given(states=st.lists(st.sampled_from(["open", "closed", "gone"]), max_size=30), moment=st.integers(0, 31))
def test_as_of_a_moment_the_last_row_before_it_counts(states: list[str], moment: int) -> None:
    listing = Listing()
    rows = {"open": OPEN, "closed": CLOSED, "gone": None}
    for second, state in enumerate(states, 1):
        listing.take("A", rows[state], second)
    told = listing.at("A", moment)
    expected = states[:moment][-1:]
    assert (told is None) is (not expected)
    if told is not None:
        assert bool(told.why_closed) is (expected != ["open"])


def test_a_market_that_keeps_opening_and_closing_takes_bounded_memory() -> None:
    listing = Listing()
    for second in range(10_000):
        listing.take("A", (OPEN, CLOSED)[second % 2], second)
    assert listing.at("A", 0) is None
    closed = listing.at("A", 9_997)
    assert closed is not None
    assert closed.why_closed
