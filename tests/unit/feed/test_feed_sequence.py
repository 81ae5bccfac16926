"""The verdict on each message, from where its stream stands alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed import sequence
from backpack_streams.feed.sequence import HOLD_MICROS, RECENT, Chain, Held, Latest, Verdict

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
