import pytest

from backpack_streams.sequencing.restart import (
    Position,
    restarted_by_seed,
    restarted_by_update,
    seed_is_outdated,
    update_is_outdated,
)

SECOND = 1_000_000
AT = Position(last_id=1000, engine_time=100 * SECOND, tolerance_microseconds=SECOND)


@pytest.mark.parametrize(
    ("last_id", "engine_time", "expected"),
    [
        (5, 101 * SECOND + 1, True),
        (1000, 101 * SECOND + 1, True),
        (5, 101 * SECOND, False),
        (5, 99 * SECOND, False),
        (1001, 200 * SECOND, False),
        (5, None, False),
    ],
)
def test_a_passed_id_with_a_later_engine_time_is_a_restart(
    last_id: int, engine_time: int | None, expected: bool
) -> None:
    assert restarted_by_update(AT, last_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_update_id", "engine_time", "expected"),
    [
        (499, 110 * SECOND + 1, True),
        (500, 200 * SECOND, False),
        (499, 110 * SECOND, False),
        (2000, 200 * SECOND, False),
        (499, None, False),
    ],
)
def test_a_seed_far_behind_yet_clearly_later_is_a_restart(
    last_update_id: int, engine_time: int | None, expected: bool
) -> None:
    assert restarted_by_seed(AT, last_update_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_update_id", "engine_time", "expected"),
    [
        (1000, 90 * SECOND - 1, True),
        (5000, 0, True),
        (1000, 90 * SECOND, False),
        (999, 0, False),
        (5000, None, False),
    ],
)
def test_a_seed_ahead_yet_clearly_earlier_is_of_the_sequence_before(
    last_update_id: int, engine_time: int | None, expected: bool
) -> None:
    assert seed_is_outdated(AT, last_update_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_id", "engine_time", "expected"),
    [
        (2001, 99 * SECOND - 1, True),
        (5000, 0, True),
        (2000, 0, False),
        (5000, 99 * SECOND, False),
        (5000, 200 * SECOND, False),
        (5000, None, False),
    ],
)
def test_an_update_far_ahead_yet_clearly_earlier_is_of_the_sequence_before(
    last_id: int, engine_time: int | None, expected: bool
) -> None:
    assert update_is_outdated(AT, last_id, engine_time) is expected


def test_nothing_is_concluded_from_an_unknown_time() -> None:
    unknown = Position(1000, None, SECOND)
    assert not restarted_by_update(unknown, 5, 10**18)
    assert not restarted_by_seed(unknown, 5, 10**18)
    assert not seed_is_outdated(unknown, 5000, 0)
    assert not update_is_outdated(unknown, 5000, 0)
