"""The verdict on each message, from where its stream stands alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed import sequence
from backpack_streams.feed.sequence import (
    CLOSING_MICROS,
    HOLD_MICROS,
    RECENT,
    CandleChain,
    Chain,
    Held,
    Latest,
    Verdict,
)

ids = st.integers(0, 50)


def chain_at(next_id: int | None, time_us: int = 100) -> Chain[str]:
    return Chain(next_id, time_us)


@pytest.mark.parametrize(
    ("first_id", "last_id", "time_us", "links", "verdict"),
    [
        (10, 10, 101, 1, Verdict.TAKE),
        (10, 14, 101, 2, Verdict.TAKE),
        (9, 9, 100, 1, Verdict.DUPLICATE),
        (3, 9, 50, 2, Verdict.DUPLICATE),
        (1, 1, 101, 1, Verdict.RESTARTED),
        (1, 1, 101, 2, Verdict.RESTARTED),
        (11, 11, 101, 1, Verdict.HOLE),
        (11, 11, 101, 0, Verdict.HOLE),
        (11, 11, 101, 2, Verdict.HOLD),
        (8, 10, 101, 1, Verdict.OVERLAP),
        (8, 12, 101, 2, Verdict.OVERLAP),
    ],
)
def test_the_verdict_when_10_is_next(first_id: int, last_id: int, time_us: int, links: int, verdict: Verdict) -> None:
    assert chain_at(10).offer(first_id, last_id, time_us, links) is verdict


@given(ids, st.integers(0, 5), st.integers(0, 200), st.integers(0, 1))
def test_the_first_message_of_the_only_socket_is_taken(first_id: int, width: int, time_us: int, links: int) -> None:
    assert chain_at(None, 0).offer(first_id, first_id + width, time_us, links) is Verdict.TAKE


@given(ids, ids, st.integers(0, 5), st.integers(0, 200), st.integers(0, 3))
def test_an_offer_changes_nothing_by_itself(next_id: int, first_id: int, width: int, time_us: int, links: int) -> None:
    chain = chain_at(next_id)
    verdict = chain.offer(first_id, first_id + width, time_us, links)
    assert (chain.next_id, chain.time_us, chain.held) == (next_id, 100, [])
    assert chain.offer(first_id, first_id + width, time_us, links) is verdict


def test_taking_moves_on_and_time_never_goes_back() -> None:
    chain = chain_at(10)
    chain.took(14, 90)
    assert (chain.next_id, chain.time_us) == (15, 100)
    chain.took(15, 120)
    assert (chain.next_id, chain.time_us) == (16, 120)


def test_held_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 2)
    chain = chain_at(10)
    for each in (12, 13):
        assert chain.offer(each, each, 200, links=2) is Verdict.HOLD
        chain.hold(Held(each, each, 200, 0, ""))
    assert chain.offer(14, 14, 200, links=2) is Verdict.HOLE


@given(st.lists(st.tuples(ids, st.integers(0, 3), st.integers(0, HOLD_MICROS)), max_size=12))
def test_with_two_links_only_what_is_due_is_released_and_in_order(messages: list[tuple[int, int, int]]) -> None:
    chain = chain_at(10)
    for first_id, width, since_us in messages:
        chain.hold(Held(first_id, first_id + width, 200, since_us, ""))
    now_us = HOLD_MICROS
    released = []
    for held in chain.released(now_us, links=2):
        assert chain.next_id is not None
        assert held.first_id <= chain.next_id or now_us - held.since_us >= HOLD_MICROS
        released.append(held.first_id)
        chain.took(max(held.last_id, chain.next_id - 1), 200)
    assert released == sorted(released)
    assert len(released) + len(chain.held) == len(messages)
    if chain.held:
        first = min(chain.held)
        assert chain.next_id is not None
        assert first.first_id > chain.next_id


@given(st.lists(ids, max_size=12), st.integers(0, 1))
def test_with_one_link_or_none_everything_is_released(firsts: list[int], links: int) -> None:
    chain = chain_at(10)
    for first_id in firsts:
        chain.hold(Held(first_id, first_id, 200, 0, ""))
    assert [held.first_id for held in chain.released(0, links)] == sorted(firsts)
    assert chain.held == []


def test_a_stream_of_which_nothing_came_knows_nothing() -> None:
    assert Chain() == Chain(None, 0, 0, [])
    assert (Chain().time_us, Chain().began_us) == (0, 0)
    assert (Latest().last_id, Latest().time_us, Latest().link, list(Latest().recent)) == (None, 0, None, [])


def test_what_the_other_socket_still_brings_of_the_ids_before_is_a_duplicate() -> None:
    chain = chain_at(1000)
    assert chain.offer(1, 1, 200, links=2) is Verdict.RESTARTED
    chain.begin_anew(200)
    chain.took(1, 200)
    assert (chain.next_id, chain.time_us, chain.began_us) == (2, 200, 200)
    assert chain.offer(1001, 1001, 199, links=2) is Verdict.DUPLICATE
    assert chain.offer(1001, 1001, 199, links=1) is Verdict.HOLE
    assert chain.offer(3, 3, 200, links=2) is Verdict.HOLD


# ---- streams that are only ordered

messages = st.lists(st.tuples(ids, st.integers(0, 2), st.sampled_from([b"a", b"b"])), max_size=30)


@given(messages)
def test_one_link_s_messages_are_never_duplicates(sent: list[tuple[int, int, bytes]]) -> None:
    latest = Latest()
    for order_id, _, data in sent:
        assert latest.offer(order_id, order_id, 0, data, 1, False) is Verdict.TAKE


@given(messages)
def test_what_is_newer_than_all_before_is_always_taken(sent: list[tuple[int, int, bytes]]) -> None:
    latest = Latest()
    newest = -1
    for order_id, link, data in sent:
        verdict = latest.offer(order_id, order_id, link, data, 3, False)
        if order_id > newest:
            assert verdict is Verdict.TAKE
            newest = order_id


@given(messages)
def test_of_messages_that_all_count_only_exact_copies_are_duplicates(sent: list[tuple[int, int, bytes]]) -> None:
    latest = Latest()
    seen = set()
    for order_id, link, data in sent:
        payload = data + bytes([order_id])
        if latest.offer(order_id, order_id, link, payload, 3, True) is Verdict.DUPLICATE:
            assert payload in seen
        seen.add(payload)


def test_copies_are_remembered_for_a_while_only() -> None:
    latest = Latest()
    for each in range(3 * RECENT):
        latest.offer(each, each, 0, str(each).encode(), 2, True)
    assert len(latest.recent) == RECENT


def test_a_single_socket_s_messages_are_not_remembered_but_the_first_after_a_change_is() -> None:
    latest = Latest()
    for each in (1, 2, 3):
        assert latest.offer(each, each, 0, bytes([each]), 1, True) is Verdict.TAKE
    assert list(latest.recent) == [bytes([1])]
    assert latest.offer(3, 1, 1, bytes([1]), 1, True) is Verdict.DUPLICATE  # the very first, from the new socket
    assert latest.link == 0
    assert latest.offer(4, 4, 1, bytes([4]), 1, True) is Verdict.TAKE
    assert latest.link == 1


def test_a_message_older_than_one_of_another_socket_is_taken_only_where_each_counts() -> None:
    def latest() -> Latest:
        there = Latest()
        there.offer(10, 100, 0, b"new", 2, False)
        return there

    assert latest().offer(9, 100, 1, b"old", 2, False) is Verdict.DUPLICATE
    assert latest().offer(9, 100, 1, b"old", 2, True) is Verdict.TAKE
    assert latest().offer(10, 100, 1, b"other", 2, False) is Verdict.TAKE
    assert latest().offer(10, 100, 1, b"new", 2, False) is Verdict.DUPLICATE
    assert latest().offer(11, 100, 1, b"newer", 2, False) is Verdict.TAKE
    assert latest().offer(10, 101, 1, b"new", 2, False) is Verdict.TAKE  # the same words at a later time are news
    assert latest().offer(9, 100, 0, b"new", 2, False) is Verdict.TAKE  # the same socket's order is the exchange's


@pytest.mark.parametrize(
    ("order_id", "time_us", "last_id", "latest_us"),
    [(11, 100, 11, 100), (9, 100, 10, 100), (9, 101, 9, 101), (11, 99, 11, 100), (9, 99, 10, 100), (11, 101, 11, 101)],
)
def test_ids_that_go_back_at_a_later_time_have_begun_anew(
    order_id: int, time_us: int, last_id: int, latest_us: int
) -> None:
    latest = Latest()
    latest.offer(10, 100, 0, b"a", 1, True)
    latest.offer(order_id, time_us, 0, b"b", 1, True)
    assert (latest.last_id, latest.time_us) == (last_id, latest_us)


# ---- candles


def test_a_candle_is_missed_until_its_closed_state_went_out() -> None:
    chain = CandleChain()
    assert chain.misses(0)
    assert chain.took(3, 4, False, 0) is None
    assert chain.until == 3
    assert (chain.misses(2), chain.misses(3), chain.misses(4)) == (False, True, True)
    assert chain.took(3, 4, True, 0) is None
    assert (chain.until, chain.misses(3), chain.misses(4)) == (4, False, True)


def test_a_closed_candle_shows_what_is_missing_before_it() -> None:
    chain = CandleChain(until=4)
    assert chain.took(4, 5, True, 0) is None
    assert chain.took(7, 8, True, 0) == (5, 7)
    assert chain.took(2, 3, True, 0) is None  # an old one once more
    assert chain.until == 8


def test_an_open_candle_ahead_shows_it_after_a_while() -> None:
    chain = CandleChain(until=4)
    assert chain.took(4, 5, False, 100) is None
    assert chain.overdue(100 + 2 * CLOSING_MICROS) is None, "it may be open for as long as it likes"
    assert chain.took(5, 6, False, 1_000) is None
    assert chain.took(7, 8, False, 2_000) is None
    assert chain.took(6, 7, False, 3_000) is None
    assert chain.overdue(1_000 + CLOSING_MICROS - 1) is None
    assert chain.overdue(1_000 + CLOSING_MICROS) == (4, 7), "to the furthest one seen, after the first one ahead"
    assert chain.until == 7
    assert chain.overdue(1_000 + 9 * CLOSING_MICROS) is None, "told once"
    assert chain.took(8, 9, False, 50_000_000) is None
    assert chain.overdue(50_000_000 + CLOSING_MICROS - 1) is None, "the next one has its own time"
    assert chain.took(8, 9, False, 50_000_000 + CLOSING_MICROS) == (7, 8)


def test_a_candle_that_closes_in_time_leaves_nothing_to_tell() -> None:
    chain = CandleChain(until=4)
    chain.took(5, 6, False, 0)
    assert chain.took(4, 5, True, 1) is None
    assert chain.overdue(9 * CLOSING_MICROS) is None
    chain.took(7, 8, False, 10)
    assert chain.took(5, 6, True, 11) is None
    assert chain.overdue(10 + CLOSING_MICROS) == (6, 7), "it was not all that was missing"


@pytest.mark.parametrize(("until", "to", "lost"), [(None, 5, None), (4, 3, None), (4, 4, None), (4, 5, (4, 5))])
def test_what_is_skipped_is_on_record_from_then_on(until: int | None, to: int, lost: tuple[int, int] | None) -> None:
    chain = CandleChain(until)
    assert chain.skip_to(to) == lost
    assert chain.until == (to if lost else until)


def test_one_socket_s_messages_wait_only_while_another_may_bring_what_is_missing() -> None:
    chain = chain_at(10)
    chain.hold(Held(12, 12, 200, 1_000, ""))
    assert list(chain.released(1_000 + HOLD_MICROS - 1, links=2)) == []
    assert [held.first_id for held in chain.released(1_000 + HOLD_MICROS, links=2)] == [12]
    chain.hold(Held(12, 12, 200, 1_000, ""))
    chain.hold(Held(11, 12, 200, 1_000, ""))
    chain.hold(Held(10, 12, 200, 1_000, ""))
    assert [held.first_id for held in chain.released(1_000, links=2)] == [10], (
        "nothing was taken, so no other one's turn has come"
    )
    assert [held.first_id for held in chain.released(1_000, links=1)] == [11, 12]


def test_what_is_held_without_anything_known_before_it_waits() -> None:
    chain = chain_at(None, 0)
    chain.hold(Held(12, 12, 200, 1_000, ""))
    assert list(chain.released(1_000, links=2)) == []
    assert [held.first_id for held in chain.released(1_000 + HOLD_MICROS, links=2)] == [12]


def test_too_many_held_messages_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 2)
    chain = chain_at(10)
    for each in (12, 14, 16):
        chain.hold(Held(each, each, 200, 0, ""))
    assert [held.first_id for held in chain.released(0, links=2)] == [12, 14]
    assert [held.first_id for held in chain.held] == [16]
