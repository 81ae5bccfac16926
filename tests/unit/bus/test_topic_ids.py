"""Which topics were recreated, by the ids that brokers report."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from backpack_streams.bus.topic_ids import TopicIds, TopicIdsRequest

NO_ID, FIRST, SECOND, THIRD = bytes(16), bytes(15) + b"1", bytes(15) + b"2", bytes(15) + b"3"
UNKNOWN_TOPIC = 3


def answer(*topics: tuple[int, str, bytes]) -> SimpleNamespace:
    return SimpleNamespace(topics=[(*each, False, [], 0, {}) for each in topics])


def test_a_topic_with_a_new_id_was_recreated() -> None:
    ids = TopicIds()
    ids.watch(["a", "b"])
    ids.learn(answer((0, "a", FIRST), (0, "b", FIRST), (0, "c", FIRST)))
    assert ids.knows("a")
    assert not ids.knows("c")
    assert ids.take_recreated("ab") == frozenset()
    ids.learn(answer((UNKNOWN_TOPIC, "a", NO_ID), (0, "b", FIRST)))
    assert ids.take_recreated("ab") == frozenset()
    ids.learn(answer((0, "a", SECOND), (0, "b", FIRST)))
    assert ids.recreated("ab") == {"a"}
    assert ids.take_recreated("b") == frozenset()
    assert ids.take_recreated("ab") == {"a"}
    assert ids.take_recreated("ab") == frozenset()


def test_watching_more_topics_forgets_none() -> None:
    ids = TopicIds()
    ids.watch(["a"])
    ids.learn(answer((0, "a", FIRST)))
    ids.watch(["b"])
    ids.learn(answer((0, "a", SECOND), (0, "b", FIRST)))
    assert ids.take_recreated("ab") == {"a"}


def test_a_broker_that_is_late_to_forget_an_id_does_not_bring_it_back() -> None:
    ids, told = TopicIds(), []
    ids.watch(["a"])
    for topic_id in (FIRST, SECOND, FIRST, SECOND, FIRST, THIRD, SECOND, THIRD):
        ids.learn(answer((0, "a", topic_id)))
        told.append(bool(ids.take_recreated("a")))
    assert told == [False, True, False, False, False, True, False, False]


def test_a_broker_older_than_topic_ids_is_not_asked() -> None:
    request = TopicIdsRequest(["a"])
    for versions in ({}, {3: (0, 9)}):
        with pytest.raises(IncompatibleBrokerVersion):
            request.prepare(versions)
    assert request.prepare({3: (0, 12)}).encode()
