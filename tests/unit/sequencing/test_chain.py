import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.chain import Chain, Verdict

APPLY, DUPLICATE, BREAK = Verdict.APPLY, Verdict.DUPLICATE, Verdict.BREAK


def seeded_at(last_update_id: int) -> Chain:
    sequencer = Chain()
    sequencer.start_at(last_update_id)
    return sequencer


def sequenced_at(last_id: int) -> Chain:
    sequencer = seeded_at(last_id - 1)
    assert sequencer.offer(last_id, last_id) is APPLY
    return sequencer


def test_a_sequence_without_a_snapshot_takes_nothing() -> None:
    sequencer = Chain()
    assert sequencer.is_sequenced is False
    assert sequencer.offer(0, 0) is BREAK
    assert sequencer.offer(1, 1) is BREAK
    assert sequencer.last_id is None


@pytest.mark.parametrize(
    ("first_id", "last_id", "verdict"),
    [
        (8, 9, DUPLICATE),
        (10, 10, DUPLICATE),
        (8, 10, DUPLICATE),
        (11, 11, APPLY),
        (11, 14, APPLY),
        (10, 11, APPLY),  # the snapshot is inside the update
        (4, 12, APPLY),
        (12, 12, BREAK),
        (12, 15, BREAK),
        (15, 12, BREAK),  # no update runs backwards
    ],
)
def test_the_first_update_after_a_snapshot_must_contain_the_next_id(
    first_id: int, last_id: int, verdict: Verdict
) -> None:
    sequencer = seeded_at(10)
    assert sequencer.offer(first_id, last_id) is verdict
    assert sequencer.last_id == (last_id if verdict is APPLY else 10)
    assert sequencer.is_sequenced is (verdict is APPLY)


@pytest.mark.parametrize(
    ("first_id", "last_id", "verdict"),
    [
        (1, 3, DUPLICATE),
        (10, 10, DUPLICATE),
        (9, 10, DUPLICATE),
        (11, 11, APPLY),
        (11, 20, APPLY),
        (10, 11, BREAK),  # overlaps what is applied: not the next one
        (9, 12, BREAK),
        (12, 12, BREAK),
        (12, 11, BREAK),
    ],
)
def test_later_updates_must_begin_at_exactly_the_next_id(first_id: int, last_id: int, verdict: Verdict) -> None:
    sequencer = sequenced_at(10)
    assert sequencer.offer(first_id, last_id) is verdict
    assert sequencer.last_id == (last_id if verdict is APPLY else 10)


def test_after_a_gap_duplicates_are_still_duplicates_and_the_gap_is_still_a_gap() -> None:
    sequencer = sequenced_at(10)
    assert sequencer.offer(13, 14) is BREAK
    assert sequencer.offer(9, 10) is DUPLICATE
    assert sequencer.offer(13, 14) is BREAK
    assert sequencer.offer(11, 12) is APPLY
    assert sequencer.offer(13, 14) is APPLY


def test_a_snapshot_restarts_the_looser_rule() -> None:
    sequencer = sequenced_at(10)
    sequencer.start_at(20)
    assert sequencer.offer(18, 22) is APPLY
    assert sequencer.offer(22, 23) is BREAK


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.integers(0, 30))
def test_applied_updates_cover_every_id_after_the_snapshot_in_order(
    offers: list[tuple[int, int]], snapshot: int
) -> None:
    sequencer = seeded_at(snapshot)
    covered = snapshot
    for first_id, last_id in offers:
        if sequencer.offer(first_id, last_id) is APPLY:
            assert first_id <= covered + 1 <= last_id
            assert covered == snapshot or first_id == covered + 1
            covered = last_id
        assert sequencer.last_id == covered


# ---- a sequence that restarts

SECOND = 1_000_000


def restarted_at(last_id: int, ended_us: int, began_us: int) -> Chain:
    """A sequence that reached 1003 at `ended_us`, restarted at `began_us`, and is at `last_id` now."""
    chain = sequenced_at(1002)
    assert chain.offer(1003, 1003, ended_us) is APPLY
    chain.begin_anew(began_us)
    chain.start_at(last_id - 1, began_us)
    assert chain.offer(last_id, last_id, began_us) is APPLY
    return chain


@pytest.mark.parametrize(("first_id", "last_id"), [(1001, 1001), (1002, 1003), (1004, 1004), (999, 999)])
def test_a_late_update_of_the_sequence_that_ended_is_a_duplicate_whatever_its_id(first_id: int, last_id: int) -> None:
    """The ids were rolled back a little: by id alone 1001 would be the next one."""
    chain = restarted_at(1000, 100 * SECOND, 700 * SECOND)
    assert chain.offer(first_id, last_id, 101 * SECOND) is DUPLICATE
    assert (chain.last_id, chain.time_us) == (1000, 700 * SECOND)
    assert chain.offer(1001, 1001, 701 * SECOND) is APPLY


def test_a_clock_that_steps_back_after_a_restart_costs_nothing() -> None:
    chain = restarted_at(1000, 100 * SECOND, 700 * SECOND)
    assert chain.offer(1001, 1001, 690 * SECOND) is APPLY
    assert chain.offer(1002, 1002) is APPLY, "nor does a message without a time"
    assert chain.time_us == 700 * SECOND
    assert not chain.begins_anew(900, 699 * SECOND), "the newest time counts, not the last"


def test_a_snapshot_from_before_the_restart_shows_that_there_was_none() -> None:
    chain = restarted_at(1000, 100 * SECOND, 700 * SECOND)
    chain.start_at(1004, 102 * SECOND)
    assert chain.offer(1005, 1005, 103 * SECOND) is APPLY
    assert (chain.began_us, chain.time_us) == (0, 103 * SECOND)


def test_an_absurd_time_is_forgotten_with_the_next_message() -> None:
    chain = sequenced_at(10)
    assert chain.offer(11, 11, 100 * SECOND) is APPLY
    assert chain.offer(12, 12, 10**15) is APPLY
    assert chain.offer(13, 13, 101 * SECOND) is APPLY
    assert chain.time_us == 101 * SECOND
    assert chain.begins_anew(1, 102 * SECOND)


def test_took_moves_the_sequence_on_whatever_is_missing() -> None:
    chain = Chain()
    chain.took(10, 5)
    chain.took(20, 0)
    assert (chain.last_id, chain.next_id, chain.time_us, chain.is_sequenced) == (20, 21, 5, True)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 14),
    st.lists(st.integers(0, 1), max_size=60),
    st.integers(0, 250),
)
def test_two_mixed_sequences_are_each_followed_once_and_the_ended_one_never_again(
    before: int, after: int, back: int, turns: list[int], step_back: int
) -> None:
    """Two producers, each in order, any distance apart; the ids restart lower after ten minutes, and the clock may step back after that.

    The model: all of the old sequence, then all of the new one, each message once.
    """
    old = [(1000 + each, (100 + each) * SECOND) for each in range(before)]
    new = [(1000 + before - back + each, (700 + each - step_back * (each > 0)) * SECOND) for each in range(after)]
    queues, chain, applied = [[*old, *new], [*old, *new]], Chain(), list[tuple[int, int]]()
    chain.start_at(999, 99 * SECOND)
    for side in [*turns, *[0] * len(queues[0]), *[1] * len(queues[1])]:
        if not queues[side]:
            continue
        number, time_us = queues[side].pop(0)
        if number < (chain.next_id or 0) and chain.begins_anew(number, time_us):
            assert (number, time_us) == new[0]
            chain.begin_anew(time_us)
            chain.start_at(number - 1)
        if chain.offer(number, number, time_us) is APPLY:
            applied.append((number, time_us))
    assert applied == [*old, *new]
