"""An update waits if another producer may still publish an earlier one: however two copies of a stream mix, nothing breaks."""

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.bus.depth_reader import DepthNumbers
from backpack_streams.sequencing.reordering import (
    EARLY_AT_MOST,
    PATIENCE_SECONDS,
    EarlyUpdates,
    Held,
    Reordering,
)


def update(number: int) -> DepthNumbers:
    return number, number, 1_000 + number, [(100, number)], []


def live(last_id: int = 10) -> MarketBook:
    market = MarketBook("A")
    market.on_snapshot(last_id, 1_000, [(100, 1)], [(200, 1)])
    return market


def test_with_one_known_producer_nothing_waits_until_a_second_one_appears() -> None:
    market = live()
    early: EarlyUpdates[MarketBook, Outcome] = EarlyUpdates(of_all=False)
    assert list(early.offer(market, update(12), 0.0)) == [Outcome.BROKE]
    assert not early
    market = live()
    early.expect_second("A")
    assert list(early.offer(market, update(12), 0.0)) == []
    assert "A" in early


def test_early_updates_wait_for_the_missing_one() -> None:
    market, early = live(), EarlyUpdates()
    assert list(early.offer(market, update(13), 0.0)) == []
    assert list(early.offer(market, update(12), 0.1)) == []
    assert market.status is Status.LIVE
    assert market.last_update_id == 10
    assert "A" in early
    assert list(early.offer(market, update(11), 0.2)) == [Outcome.APPLIED] * 3
    assert market.last_update_id == 13
    assert not early


def test_a_missing_update_breaks_the_book_when_the_patience_is_over() -> None:
    market, early = live(), EarlyUpdates()
    assert list(early.offer(market, update(12), 5.0)) == []
    assert list(early.offer(market, update(13), 5.2)) == [], "the first one's patience counts"
    assert list(early.due(5.0 + PATIENCE_SECONDS - 0.01)) == []
    told = list(early.due(5.0 + PATIENCE_SECONDS))
    assert [outcome for _, outcome in told] == [Outcome.BROKE, Outcome.BUFFERED]
    assert market.status is Status.STALE
    assert market.last_update_id == 10
    assert not early


def test_the_number_of_waiting_updates_is_bounded() -> None:
    market, early = live(), EarlyUpdates()
    outcomes = [list(early.offer(market, update(12 + i), 0.0)) for i in range(EARLY_AT_MOST + 1)]
    assert not any(outcomes[:-1])
    assert outcomes[-1][0] is Outcome.BROKE
    assert not early


def test_a_snapshot_that_includes_the_missing_updates_lets_the_waiting_ones_continue() -> None:
    market, early = live(), EarlyUpdates()
    assert list(early.offer(market, update(15), 0.0)) == []
    assert not early.reached_by(market, 13)
    assert early.reached_by(market, 14)
    assert market.on_snapshot(14, 2_000, [(100, 7)], [(200, 7)]) is Outcome.PENDING
    assert list(early.give_up(market)) == [Outcome.RESYNCED]
    assert market.last_update_id == 15
    assert market.status is Status.LIVE


def test_a_book_that_is_not_live_takes_every_update_at_once() -> None:
    market, early = MarketBook("A"), EarlyUpdates()
    assert list(early.offer(market, update(5), 0.0)) == [Outcome.BUFFERED]
    assert not early


@given(st.data(), st.integers(1, 40))
def test_two_copies_of_a_stream_in_any_mix_are_one_stream(data: st.DataObject, count: int) -> None:
    """Each producer is in order; either may start late or end early, as long as together they have everything."""
    begins = data.draw(st.integers(0, count))
    ends = data.draw(st.integers(begins, count))
    sides = [list(range(11, 11 + ends)), list(range(11 + begins, 11 + count))]
    market, early, now = live(), EarlyUpdates(), 0.0
    applied: list[int] = []
    while any(sides):
        side = data.draw(st.sampled_from([each for each in sides if each]))
        for outcome in early.offer(market, update(side.pop(0)), now):
            assert outcome in (Outcome.APPLIED, Outcome.DUPLICATE)
            if outcome is Outcome.APPLIED:
                applied.append(market.last_update_id or 0)
        assert market.status is Status.LIVE
    assert market.last_update_id == 10 + count
    assert len(applied) == count
    assert not early


# ---- the messages of one sequence


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 4)), max_size=40),
    st.integers(0, 10),
    st.integers(1, 8),
)
def test_messages_are_released_by_id_once_they_follow_or_have_waited_long_enough(
    messages: list[tuple[int, int, int]], start: int, at_most: int
) -> None:
    """The model: the lowest waiting message is released if the sequence has reached it, its patience is over, or too many wait."""
    reordering, waiting, patience, now = Reordering[str](), list[Held[str]](), 3.0, 0.0
    reached = {"mine": start, "model": start}
    for first_id, width, pause in messages:
        now += pause
        message = Held(first_id, first_id + width, now, "")
        reordering.hold(message)
        waiting.append(message)
        found = []
        for held in reordering.released(lambda first: first <= reached["mine"], now, patience, at_most):
            found.append(held)
            reached["mine"] = max(reached["mine"], held.last_id + 1)
        expected = []
        while waiting:
            lowest = min(waiting, key=lambda held: (held.first_id, held.last_id))
            if lowest.first_id > reached["model"] and now < lowest.since + patience and len(waiting) < at_most:
                break
            waiting.remove(lowest)
            expected.append(lowest)
            reached["model"] = max(reached["model"], lowest.last_id + 1)
        assert [held[:2] for held in found] == [held[:2] for held in expected]
        assert len(reordering.held) == len(waiting) < at_most
