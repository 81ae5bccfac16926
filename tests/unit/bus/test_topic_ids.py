"""Which topics were recreated, by the ids that brokers report."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from backpack_streams.bus.topic_ids import TopicIds, TopicIdsRequest

NO_ID, FIRST, SECOND = bytes(16), bytes(15) + b"1", bytes(15) + b"2"
UNKNOWN_TOPIC = 3


def answer(*topics: tuple[int, str, bytes]) -> SimpleNamespace:
    return SimpleNamespace(topics=[(*each, False, [], 0, {}) for each in topics])


def test_a_topic_with_a_new_id_was_recreated() -> None:
    ids = TopicIds()
    ids.watch(["a", "b"])
    ids.learn(answer((0, "a", FIRST), (0, "b", FIRST), (0, "c", FIRST)))
    assert ids.knows("a")
    assert not ids.knows("c")
    assert ids.take_recreated() == frozenset()
    ids.learn(answer((UNKNOWN_TOPIC, "a", NO_ID), (0, "b", FIRST)))
    assert ids.take_recreated() == frozenset()
    ids.learn(answer((0, "a", SECOND), (0, "b", FIRST)))
    assert ids.take_recreated() == {"a"}
    assert ids.take_recreated() == frozenset()


def test_a_topic_that_is_no_longer_watched_is_forgotten() -> None:
    ids = TopicIds()
    ids.watch(["a", "b"])
    ids.learn(answer((0, "a", FIRST), (0, "b", FIRST)))
    ids.watch(["a"])
    ids.learn(answer((0, "a", SECOND), (0, "b", SECOND)))
    assert ids.take_recreated() == {"a"}, "what stays watched keeps its id"
    ids.watch([])
    ids.watch(["a"])
    ids.learn(answer((0, "a", FIRST)))
    assert ids.take_recreated() == frozenset()


def test_a_broker_older_than_topic_ids_is_not_asked() -> None:
    request = TopicIdsRequest(["a"])
    for versions in ({}, {3: (0, 9)}):
        with pytest.raises(IncompatibleBrokerVersion):
            request.prepare(versions)
    assert request.prepare({3: (0, 12)}).encode()
