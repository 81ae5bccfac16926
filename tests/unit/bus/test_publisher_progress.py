"""Waiting is right while Kafka is unavailable, and pointless if Kafka is available and still acknowledges nothing."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.progress import Health, Owed, ProgressJudge
from backpack_streams.topic_partition import TopicPartition

BOUND = 120.0
DEPTH: TopicPartition = ("market.depth", 3)


def looks(
    judge: ProgressJudge, until: float, found: Mapping[TopicPartition, Health] | None, since: float = 0.0
) -> str | None:
    now = since
    verdict = None
    while verdict is None and now < until:
        now += 5
        verdict = judge.look(now, {DEPTH: Owed(since, "Kafka at k:1 refused")}, found)
    return verdict


def test_a_process_is_stuck_if_a_healthy_kafka_acknowledges_nothing_for_too_long() -> None:
    judge = ProgressJudge(BOUND)
    assert looks(judge, BOUND, {DEPTH: Health.WELL}) is None
    verdict = looks(judge, 2 * BOUND, {DEPTH: Health.WELL})
    assert verdict is not None
    assert "topic market.depth, partition 3" in verdict
    assert "Kafka at k:1 refused" in verdict


def test_the_buffer_is_kept_while_kafka_is_away_or_a_partition_has_no_leader() -> None:
    for found in (None, {DEPTH: Health.LEADERLESS}):
        assert looks(ProgressJudge(BOUND), 20 * BOUND, found) is None


def test_the_time_counts_from_when_kafka_is_available_again() -> None:
    judge = ProgressJudge(BOUND)
    owed = {DEPTH: Owed(0.0, "")}
    assert judge.look(1000.0, owed, None) is None
    assert judge.look(1005.0, owed, {DEPTH: Health.WELL}) is None
    assert judge.look(1005.0 + BOUND - 1, owed, {DEPTH: Health.WELL}) is None
    assert judge.look(1005.0 + BOUND, owed, {DEPTH: Health.WELL}) is not None


def test_an_acknowledgement_restarts_the_time() -> None:
    judge = ProgressJudge(BOUND)
    assert judge.look(10.0, {DEPTH: Owed(0.0, "")}, {DEPTH: Health.WELL}) is None
    assert judge.look(100.0, {}, {}) is None
    assert judge.look(200.0, {DEPTH: Owed(190.0, "")}, {DEPTH: Health.WELL}) is None


def test_a_deleted_topic_is_not_waited_for_indefinitely() -> None:
    verdict = looks(ProgressJudge(BOUND), 2 * BOUND, {})
    assert verdict is not None
    assert "it does not exist" in verdict


def test_replicas_that_are_not_in_sync_get_more_time() -> None:
    assert looks(ProgressJudge(BOUND), 4 * BOUND, {DEPTH: Health.DEGRADED}) is None
    assert looks(ProgressJudge(BOUND), 6 * BOUND, {DEPTH: Health.DEGRADED}) is not None


@given(st.lists(st.sampled_from([None, Health.LEADERLESS, Health.WELL]), min_size=1, max_size=60))
def test_it_is_stuck_only_after_kafka_was_found_healthy_for_the_whole_bound(found: list[Health | None]) -> None:
    judge, well_seconds = ProgressJudge(BOUND), -5.0
    for number, health in enumerate(found):
        verdict = judge.look(number * 5.0, {DEPTH: Owed(-1e6, "")}, None if health is None else {DEPTH: health})
        well_seconds = well_seconds + 5 if health is Health.WELL else -5.0
        assert (verdict is not None) == (well_seconds >= BOUND)
        if verdict is not None:
            return
