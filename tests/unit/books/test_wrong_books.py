"""A book that an audit found wrong leaves LIVE, and nothing based on data from before the audit restores it."""

import pytest

from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Outcome, Status

SECOND = 1_000_000
LEVELS = ([(9, 1)], [(11, 1)])
START = 1000 * SECOND


def live(snapshot_id: int = 10, last: int = 20) -> MarketBook:
    market = MarketBook("SOL_USDC")
    market.on_snapshot(snapshot_id, START, *LEVELS)
    for update_id in range(snapshot_id + 1, last + 1):
        market.on_update(update_id, update_id, START + update_id, [], [])
    return market


def test_a_wrong_book_leaves_live_whatever_it_has_read_since() -> None:
    for reached in (15, 18, 20):
        market = live(last=20)
        assert market.on_wrong(reached, START, "differs") is Outcome.BROKE
        assert (market.status, market.reason) == (Status.STALE, "differs")


def test_a_snapshot_of_the_exchange_at_or_past_its_position_restores_it() -> None:
    market = live(last=20)
    market.on_wrong(18, START, "differs")
    assert market.on_snapshot(19, START, *LEVELS) is Outcome.REFUSED  # 20 has been applied and is gone
    assert market.on_snapshot(20, START, *LEVELS) is Outcome.RESYNCED
    assert (market.status, market.base) == (Status.LIVE, BaseSnapshot(20, START))
    assert market.on_wrong(18, START, "differs") is Outcome.IGNORED
    assert market.status is Status.LIVE


def test_a_checkpoint_restores_it_only_if_based_on_a_later_snapshot_of_the_exchange() -> None:
    market = live(last=20)
    market.on_wrong(20, START, "differs")
    for base in (BaseSnapshot(0, None), BaseSnapshot(10, START), BaseSnapshot(19, START)):
        assert market.on_snapshot(30, START, *LEVELS, base=base) is Outcome.REFUSED
    assert "is based on the exchange's snapshot 19" in market.reason
    assert market.on_snapshot(30, START, *LEVELS, base=BaseSnapshot(20, START)) is Outcome.RESYNCED
    assert (market.status, market.last_update_id, market.base) == (Status.LIVE, 30, BaseSnapshot(20, START))


def test_a_pending_snapshot_restores_it_at_once() -> None:
    market = live(last=20)
    assert market.on_snapshot(25, START, *LEVELS) is Outcome.PENDING
    assert market.on_wrong(20, START, "differs") is Outcome.RESYNCED
    assert (market.status, market.last_update_id) == (Status.LIVE, 25)


def test_a_pending_checkpoint_does_not_restore_it() -> None:
    market = live(last=20)
    market.on_snapshot(25, START, *LEVELS, base=BaseSnapshot(10, START))
    assert market.on_wrong(20, START, "differs") is Outcome.BROKE


@pytest.mark.parametrize("has_waiting", [True, False])
def test_a_book_without_a_snapshot_waits_for_one_from_after_the_audit(has_waiting: bool) -> None:
    market = MarketBook("SOL_USDC")
    if has_waiting:
        for update_id in range(15, 25):
            market.on_update(update_id, update_id, START, [], [])
    assert market.on_wrong(18, START, "differs") is Outcome.BUFFERED
    assert market.on_snapshot(17, START, *LEVELS) is Outcome.REFUSED
    assert market.on_snapshot(18, START, *LEVELS) is Outcome.RESYNCED
    assert market.last_update_id == (24 if has_waiting else 18)


def test_a_sequence_that_restarted_since_is_not_accused_of_the_previous_one() -> None:
    market = MarketBook("SOL_USDC")
    market.on_snapshot(10, START + 60 * SECOND, *LEVELS)
    assert market.on_wrong(1000, START, "differs") is Outcome.IGNORED
    waiting = MarketBook("SOL_USDC")
    waiting.on_wrong(1000, START, "differs")
    assert waiting.on_snapshot(10, START + 60 * SECOND, *LEVELS) is Outcome.RESYNCED
    late = live(snapshot_id=10, last=20)
    assert late.on_wrong(1000, START, "differs") is Outcome.BROKE


def gap(last_id: int, reason: str = "AUDIT_MISMATCH", next_id: int | None = None) -> dict[str, object]:
    row: dict[str, object] = {"symbol": "SOL_USDC", "stream": "depth.SOL_USDC", "reason": reason, "last_id": last_id}
    return row | {"next_id": next_id, "next_time": None, "detected_time": START}


def test_the_gap_topic_informs_every_reader_at_once() -> None:
    gaps, market = KnownGaps(), live(last=20)
    gaps.take(gap(15), 0.0)
    gaps.take(gap(30, "SEQUENCE_BREAK", 35), 0.0)  # another gap does not hide it
    assert list(gaps.due({}, {}, 0.0)) == []
    told = list(gaps.due({"SOL_USDC": market}, {}, 0.0))
    assert told == [(market, Outcome.BROKE)]
    assert "audit" in market.reason
    assert not [each for each in gaps.due({"SOL_USDC": market}, {}, 0.0) if each[1] is Outcome.BROKE]


@pytest.mark.parametrize("next_id", [None, 22])
def test_a_gap_behind_the_book_does_not_hide_the_one_at_its_end(next_id: int | None) -> None:
    """Of two producers of a stream, the one behind may report last."""
    gaps, market = KnownGaps(), live(last=20)
    gaps.take(gap(20, "REJECTED_BY_KAFKA", next_id), 0.0)
    gaps.take(gap(14, "REJECTED_BY_KAFKA", 16), 0.0)
    assert [outcome for _, outcome in gaps.due({"SOL_USDC": market}, {}, 2.0)] == [Outcome.BROKE]
    assert not gaps


def test_an_outage_that_is_over_does_not_hide_a_loss_after_the_same_update() -> None:
    gaps, market = KnownGaps(), live(last=20)
    gaps.take(gap(20, "REJECTED_BY_KAFKA", 22), 0.0)
    gaps.take(gap(20, "DISCONNECTED") | {"next_time": START + SECOND}, 0.0)
    told = gaps.due({"SOL_USDC": market}, {"SOL_USDC": START + 5 * SECOND}, 2.0)
    assert [outcome for _, outcome in told] == [Outcome.BROKE]


def test_gaps_of_ids_that_the_exchange_has_given_up_do_not_accumulate() -> None:
    gaps, market = KnownGaps(), live(last=20)
    for last_id in range(1_000_000, 1_000_100):
        gaps.take(gap(last_id, "REJECTED_BY_KAFKA"), 0.0)
        assert list(gaps.due({"SOL_USDC": market}, {}, 2.0)) == []
    gaps.take(gap(20, "REJECTED_BY_KAFKA"), 0.0)
    assert [outcome for _, outcome in gaps.due({"SOL_USDC": market}, {}, 2.0)] == [Outcome.BROKE]
    assert gaps
    assert list(gaps.due({}, {}, 2.0)) == []
    assert not gaps
