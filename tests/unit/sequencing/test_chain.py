import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.chain import Chain, Verdict

APPLY, DUPLICATE, BREAK = Verdict.APPLY, Verdict.DUPLICATE, Verdict.BREAK


def seeded_at(last_update_id: int) -> Chain:
    sequencer = Chain()
    sequencer.seed(last_update_id)
    return sequencer


def chained_at(last_id: int) -> Chain:
    sequencer = seeded_at(last_id - 1)
    assert sequencer.offer(last_id, last_id) is APPLY
    return sequencer


def test_an_unseeded_sequence_takes_nothing() -> None:
    sequencer = Chain()
    assert sequencer.is_chained is False
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
        (10, 11, APPLY),  # the snapshot lies inside the update
        (4, 12, APPLY),
        (12, 12, BREAK),
        (12, 15, BREAK),
        (15, 12, BREAK),  # no update runs backwards
    ],
)
def test_the_first_update_after_a_seed_must_contain_the_next_id(first_id: int, last_id: int, verdict: Verdict) -> None:
    sequencer = seeded_at(10)
    assert sequencer.offer(first_id, last_id) is verdict
    assert sequencer.last_id == (last_id if verdict is APPLY else 10)
    assert sequencer.is_chained is (verdict is APPLY)


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
def test_later_updates_must_begin_at_the_very_next_id(first_id: int, last_id: int, verdict: Verdict) -> None:
    sequencer = chained_at(10)
    assert sequencer.offer(first_id, last_id) is verdict
    assert sequencer.last_id == (last_id if verdict is APPLY else 10)


def test_duplicates_after_a_gap_are_still_duplicates_and_the_gap_is_still_a_gap() -> None:
    sequencer = chained_at(10)
    assert sequencer.offer(13, 14) is BREAK
    assert sequencer.offer(9, 10) is DUPLICATE
    assert sequencer.offer(13, 14) is BREAK
    assert sequencer.offer(11, 12) is APPLY
    assert sequencer.offer(13, 14) is APPLY


def test_a_seed_starts_the_looser_rule_again() -> None:
    sequencer = chained_at(10)
    sequencer.seed(20)
    assert sequencer.offer(18, 22) is APPLY
    assert sequencer.offer(22, 23) is BREAK


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.integers(0, 30))
def test_whatever_is_offered_what_is_applied_covers_every_id_after_the_seed_in_order(
    offers: list[tuple[int, int]], seed: int
) -> None:
    sequencer = seeded_at(seed)
    covered = seed
    for first_id, last_id in offers:
        if sequencer.offer(first_id, last_id) is APPLY:
            assert first_id <= covered + 1 <= last_id
            assert covered == seed or first_id == covered + 1
            covered = last_id
        assert sequencer.last_id == covered
