"""A book of a market that is closed says so, and why; one that reopens is live only with what happened since."""

import pytest

from backpack_streams.books.market_book import MarketBook, Outcome, Status

SECOND = 1_000_000


def live(engine_time: int = SECOND) -> MarketBook:
    market = MarketBook("A")
    market.on_seed(10, engine_time, [(100, 1)], [(200, 1)])
    assert market.status is Status.LIVE
    return market


def test_closed_with_why_and_since_when() -> None:
    market = live()
    assert market.on_closed("delisted", 5 * SECOND) is Outcome.CLOSED
    assert (market.status, market.reason, market.since) == (Status.CLOSED, "delisted", 5 * SECOND)
    assert market.on_closed("delisted again", 6 * SECOND) is Outcome.IGNORED
    assert market.reason == "delisted"


def test_last_updates_still_count_while_it_is_closed() -> None:
    market = live()
    market.on_closed("delisted", 5 * SECOND)
    assert market.on_update(11, 11, 2 * SECOND, [(100, 5)], []) is Outcome.APPLIED
    assert market.status is Status.CLOSED
    assert market.last_update_id == 11


@pytest.mark.parametrize(("reopened", "status"), [(12 * SECOND, Status.STALE), (11 * SECOND, Status.LIVE)])
def test_reopened_with_a_book_from_before_waits_for_a_seed(reopened: int, status: Status) -> None:
    market = live()
    assert market.on_reopened(reopened) is Outcome.IGNORED
    market.on_closed("closed", 5 * SECOND)
    assert market.on_reopened(reopened) is Outcome.REOPENED
    assert market.status is status
    market.on_seed(10, 13 * SECOND, [(100, 1)], [(200, 1)])
    assert market.status is Status.LIVE


def test_relisted_with_a_sequence_that_begins_anew() -> None:
    market = MarketBook("A")
    market.on_seed(50_000, SECOND, [(100, 1)], [(200, 1)])
    market.on_closed("delisted", 5 * SECOND)
    market.on_reopened(100 * SECOND)
    market.on_update(1, 1, 101 * SECOND, [(100, 2)], [])
    assert market.status is Status.STALE
    assert market.on_seed(0, 102 * SECOND, [], [(300, 1)]) is Outcome.RESEEDED
    assert market.status is Status.LIVE
    assert market.last_update_id == 1


def test_what_holds_a_book_is_its_reason() -> None:
    market = live()
    market.hold("retention")
    assert (market.status, market.reason) == (Status.SYNCING, "retention")
    market.release()
    assert (market.status, market.reason) == (Status.LIVE, "")
    assert MarketBook("B", unseeded_because="nothing from before").reason == "nothing from before"
