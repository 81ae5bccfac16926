"""The verdict on each message, given only the state of its stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed import sequence
from backpack_streams.feed.sequence import (
    CLOSING_SECONDS,
    HOLD_SECONDS,
    RECENT,
    CandleChain,
    Latest,
    SocketChain,
    Verdict,
    Waiting,
)
from backpack_streams.sequencing.reordering import Held

ids = st.integers(0, 50)


def chain_at(next_id: int | None, time_us: int = 100) -> SocketChain[str]:
    chain: SocketChain[str] = SocketChain()
    if next_id is not None:
        chain.took(next_id - 1, time_us)
    return chain


@pytest.mark.parametrize(
    ("first_id", "last_id", "time_us", "others", "verdict"),
    [
        (10, 10, 101, False, Verdict.TAKE),
        (10, 14, 101, True, Verdict.TAKE),
        (9, 9, 100, False, Verdict.DUPLICATE),
        (3, 9, 50, True, Verdict.DUPLICATE),
        (1, 1, 101, False, Verdict.RESTARTED),
        (1, 1, 101, True, Verdict.RESTARTED),
        (11, 11, 101, False, Verdict.GAP),
        (11, 11, 101, True, Verdict.HOLD),
        (8, 10, 101, False, Verdict.OVERLAP),
        (8, 12, 101, True, Verdict.OVERLAP),
    ],
)
def test_the_verdict_when_10_is_next(first_id: int, last_id: int, time_us: int, others: bool, verdict: Verdict) -> None:
    assert chain_at(10).judge(first_id, last_id, time_us, others) is verdict


@given(ids, st.integers(0, 5), st.integers(0, 200), st.booleans())
def test_the_first_message_is_taken(first_id: int, width: int, time_us: int, others: bool) -> None:
    assert chain_at(None, 0).judge(first_id, first_id + width, time_us, others) is Verdict.TAKE


@given(ids, ids, st.integers(0, 5), st.integers(0, 200), st.booleans())
def test_judging_a_message_changes_nothing(next_id: int, first_id: int, width: int, time_us: int, others: bool) -> None:
    chain = chain_at(next_id)
    verdict = chain.judge(first_id, first_id + width, time_us, others)
    assert (chain.next_id, chain.time_us, chain.held) == (next_id, 100, [])
    assert chain.judge(first_id, first_id + width, time_us, others) is verdict


def test_taking_advances_the_sequence_and_time_never_goes_back() -> None:
    chain = chain_at(10)
    chain.took(14, 90)
    assert (chain.next_id, chain.time_us) == (15, 100)
    chain.took(15, 120)
    assert (chain.next_id, chain.time_us) == (16, 120)


def test_held_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 2)
    chain = chain_at(10)
    for each in (12, 13):
        assert chain.judge(each, each, 200, others=True) is Verdict.HOLD
        chain.hold(Held(each, each, 0, ""))
    assert chain.judge(14, 14, 200, others=True) is Verdict.GAP


@given(st.lists(st.tuples(ids, st.integers(0, 3), st.floats(0, HOLD_SECONDS)), max_size=12))
def test_with_two_sockets_only_due_messages_are_released_in_order(messages: list[tuple[int, int, float]]) -> None:
    chain = chain_at(10)
    for first_id, width, since in messages:
        chain.hold(Held(first_id, first_id + width, since, ""))
    now = HOLD_SECONDS
    released = []
    for held in chain.released(now, others=True):
        assert chain.next_id is not None
        assert held.first_id <= chain.next_id or now - held.since >= HOLD_SECONDS
        released.append(held.first_id)
        chain.took(max(held.last_id, chain.next_id - 1), 200)
    assert released == sorted(released)
    assert len(released) + len(chain.held) == len(messages)
    if chain.held:
        first = min(chain.held)
        assert chain.next_id is not None
        assert first.first_id > chain.next_id


@given(st.lists(ids, max_size=12))
def test_if_no_other_socket_delivers_everything_is_released(firsts: list[int]) -> None:
    chain = chain_at(10)
    for first_id in firsts:
        chain.hold(Held(first_id, first_id, 0, ""))
    assert [held.first_id for held in chain.released(0, others=False)] == sorted(firsts)
    assert chain.held == []


def test_a_stream_without_messages_knows_nothing() -> None:
    chain: SocketChain[str] = SocketChain()
    assert (chain.next_id, chain.time_us, chain.began_us, chain.held) == (None, 0, 0, [])
    assert (Latest().socket, Latest().recent, Latest().held) == (None, {}, [])


def test_older_ids_that_the_other_socket_still_delivers_are_duplicates() -> None:
    chain = chain_at(1000)
    assert chain.judge(1, 1, 200, others=True) is Verdict.RESTARTED
    chain.begin_anew(200)
    chain.took(1, 200)
    assert (chain.next_id, chain.time_us, chain.began_us) == (2, 200, 200)
    assert chain.judge(1001, 1001, 199, others=True) is Verdict.DUPLICATE
    assert chain.judge(1001, 1001, 199, others=False) is Verdict.GAP
    assert chain.judge(3, 3, 200, others=True) is Verdict.HOLD


# ---- streams that are only ordered


class Sockets:
    """A stream delivered by two sockets, and what was published, in order. A message is a number, its time."""

    def __init__(self, every_message_counts: bool = False) -> None:
        self.latest: Latest[int] = Latest()
        self.every_message_counts = every_message_counts
        self.out: list[int] = []
        self.now = 0.0

    def bring(self, number: int, socket: int, others: bool = True) -> Verdict:
        verdict = self.latest.offer(number, socket, number, others, self.every_message_counts)
        if verdict is Verdict.HOLD:
            self.latest.hold(Waiting(number, number, number, socket, self.now, number))
        elif verdict is Verdict.TAKE:
            self.take(number, socket)
        if self.latest.held:
            self.release(others)
        return verdict

    def take(self, number: int, socket: int) -> None:
        self.latest.took(number, socket, number)
        self.out.append(number)

    def release(self, others: bool) -> None:
        for held in self.latest.released(self.now, others):
            if not self.latest.is_copy(held.mark, held.socket):
                self.take(held.item, held.socket)

    def tick(self, now: float, others: bool = True) -> None:
        self.now = now
        if self.latest.held:
            self.release(others)


@given(st.lists(ids, max_size=30))
def test_all_messages_of_one_socket_are_published_as_they_come(numbers: list[int]) -> None:
    sockets = Sockets()
    for each in numbers:
        assert sockets.bring(each, 0, others=False) is Verdict.TAKE
    assert sockets.out == numbers


@given(st.lists(st.integers(0, 1), max_size=60), st.integers(0, 8), st.integers(0, 8))
def test_two_sockets_give_each_message_once_and_in_order_wherever_each_began(
    turns: list[int], first: int, second: int
) -> None:
    """One socket began earlier, or both at once; each delivers everything sent since, at any speed."""
    sockets, sent, upto = Sockets(), [first, second], 20
    for socket in [*turns, *[0] * upto, *[1] * upto]:
        if sent[socket] < upto:
            sockets.bring(sent[socket], socket)
            sent[socket] += 1
    sockets.tick(HOLD_SECONDS)
    assert sockets.out == list(range(min(first, second), upto))


def test_a_message_of_a_new_socket_waits_until_the_other_one_has_delivered_it() -> None:
    sockets = Sockets()
    sockets.bring(1, 0, others=False)
    assert [sockets.bring(each, 1) for each in (4, 5)] == [Verdict.HOLD] * 2
    assert [sockets.bring(each, 0) for each in (2, 3)] == [Verdict.TAKE] * 2
    assert sockets.out == [1, 2, 3]
    assert sockets.bring(4, 0) is Verdict.DUPLICATE
    assert sockets.out == [1, 2, 3, 4, 5]
    assert [sockets.bring(6, 1), sockets.bring(5, 0), sockets.bring(6, 0)] == [
        Verdict.TAKE,
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
    ]


def test_a_message_waits_no_longer_than_another_socket_may_still_deliver_it() -> None:
    sockets = Sockets()
    sockets.bring(1, 0, others=False)
    sockets.bring(4, 1)
    sockets.tick(HOLD_SECONDS - 0.01)
    assert sockets.out == [1]
    sockets.tick(HOLD_SECONDS)
    assert sockets.out == [1, 4]
    assert sockets.bring(5, 1) is Verdict.TAKE
    sockets.bring(6, 2)
    sockets.tick(HOLD_SECONDS, others=False)
    assert sockets.out == [1, 4, 5, 6]


def test_held_messages_of_last_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 3)
    sockets = Sockets()
    for each in (5, 6, 7):
        sockets.bring(each, 0)
    assert sockets.out == [5, 6, 7]


@given(st.lists(st.tuples(ids, st.integers(0, 2)), max_size=30))
def test_if_every_message_counts_only_copies_are_duplicates(sent: list[tuple[int, int]]) -> None:
    sockets = Sockets(every_message_counts=True)
    for number, socket in sent:
        is_known = number in sockets.out
        verdict = sockets.bring(number, socket)
        assert verdict is Verdict.TAKE or (verdict is Verdict.DUPLICATE and is_known)
    assert set(sockets.out) == {number for number, _ in sent}


def test_copies_are_remembered_for_a_while_and_older_messages_count_as_copies() -> None:
    sockets = Sockets()
    for each in range(1, 3 * RECENT):
        sockets.bring(each, 0, others=False)
    assert len(sockets.latest.recent) == RECENT
    assert sockets.bring(3 * RECENT - 1, 1) is Verdict.DUPLICATE
    assert sockets.bring(2, 1) is Verdict.DUPLICATE
    assert sockets.latest.offer(0, 1, -1, True, False) is Verdict.TAKE, "a time that is not known says nothing"


def test_a_message_of_one_socket_is_recognized_when_another_one_delivers_it() -> None:
    sockets = Sockets()
    for each in (1, 2, 3):
        sockets.bring(each, 0, others=False)
    for each in (1, 2, 3):
        assert sockets.bring(each, 1, others=False) is Verdict.DUPLICATE
    assert sockets.bring(4, 1, others=False) is Verdict.TAKE
    assert sockets.bring(4, 1, others=False) is Verdict.TAKE, "one socket's repetition is the exchange's"
    assert sockets.bring(5, 0, others=False) is Verdict.TAKE
    assert sockets.bring(4, 0, others=False) is Verdict.DUPLICATE, "whoever was last"


@pytest.mark.parametrize("ahead", [20, 3_600_000_000])
def test_a_message_far_ahead_loses_nothing_that_another_socket_delivers(ahead: int) -> None:
    sockets = Sockets()
    for socket in (0, 1):
        sockets.bring(1, socket)
    sockets.bring(ahead, 0)
    for each in range(2, 15):
        assert sockets.bring(each, 1) is Verdict.TAKE
    assert sockets.out == [1, ahead, *range(2, 15)]


# ---- candles


def test_a_candle_is_missed_until_its_closed_state_is_published() -> None:
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
    assert chain.took(2, 3, True, 0) is None  # an old one again
    assert chain.until == 8


def test_an_open_candle_ahead_shows_the_loss_after_a_while() -> None:
    chain = CandleChain(until=4)
    assert chain.took(4, 5, False, 100) is None
    assert chain.overdue(100 + 2 * CLOSING_SECONDS) is None, "it may be open for as long as it likes"
    assert chain.took(5, 6, False, 1_000) is None
    assert chain.took(7, 8, False, 1_001) is None
    assert chain.took(6, 7, False, 1_002) is None
    assert chain.overdue(1_000 + CLOSING_SECONDS - 0.5) is None
    assert chain.overdue(1_000 + CLOSING_SECONDS) == (4, 7), "to the furthest one seen, after the first one ahead"
    assert chain.until == 7
    assert chain.overdue(1_000 + 9 * CLOSING_SECONDS) is None, "told once"
    assert chain.took(8, 9, False, 50_000) is None
    assert chain.overdue(50_000 + CLOSING_SECONDS - 0.5) is None, "the next one has its own time"
    assert chain.took(8, 9, False, 50_000 + CLOSING_SECONDS) == (7, 8)


def test_a_candle_that_closes_in_time_leaves_nothing_to_report() -> None:
    chain = CandleChain(until=4)
    chain.took(5, 6, False, 0)
    assert chain.took(4, 5, True, 1) is None
    assert chain.overdue(9 * CLOSING_SECONDS) is None
    chain.took(7, 8, False, 10)
    assert chain.took(5, 6, True, 11) is None
    assert chain.overdue(10 + CLOSING_SECONDS) == (6, 7), "it was not all that was missing"


@pytest.mark.parametrize(("until", "to", "lost"), [(None, 5, None), (4, 3, None), (4, 4, None), (4, 5, (4, 5))])
def test_skipped_candles_are_recorded_once(until: int | None, to: int, lost: tuple[int, int] | None) -> None:
    chain = CandleChain(until)
    assert chain.skip_to(to) == lost
    assert chain.until == (to if lost else until)


def test_held_messages_wait_only_while_another_socket_may_deliver_the_missing_ones() -> None:
    chain = chain_at(10)
    chain.hold(Held(12, 12, 1_000, ""))
    assert list(chain.released(1_000 + HOLD_SECONDS - 0.1, others=True)) == []
    assert [held.first_id for held in chain.released(1_000 + HOLD_SECONDS + 1e-9, others=True)] == [12]
    chain.hold(Held(12, 12, 1_000, ""))
    chain.hold(Held(11, 12, 1_000, ""))
    chain.hold(Held(10, 12, 1_000, ""))
    assert [held.first_id for held in chain.released(1_000, others=True)] == [10], (
        "nothing was taken, so no other one's turn has come"
    )
    assert [held.first_id for held in chain.released(1_000, others=False)] == [11, 12]


def test_a_held_message_waits_if_nothing_is_known_before_it() -> None:
    chain = chain_at(None, 0)
    chain.hold(Held(12, 12, 1_000, ""))
    assert list(chain.released(1_000, others=True)) == []
    assert [held.first_id for held in chain.released(1_000 + HOLD_SECONDS + 1e-9, others=True)] == [12]


def test_excess_held_messages_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 2)
    chain = chain_at(10)
    for each in (12, 14, 16):
        chain.hold(Held(each, each, 0, ""))
    assert [held.first_id for held in chain.released(0, others=True)] == [12, 14]
    assert [held.first_id for held in chain.held] == [16]
