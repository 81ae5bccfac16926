"""Topic ids (KIP-516, Kafka 2.8): they show that a topic was deleted and recreated under its name.

aiokafka's requests predate them, so the request that returns them is defined here.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

__all__ = ["TopicIds", "TopicIdsRequest"]

_ID_BYTES = 16
_NO_ID = bytes(_ID_BYTES)
_TEXT, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)


class _Id:
    """16 raw bytes."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)


class _Answer(Response):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        ("cluster_authorized_operations", Int32),
        _TAGS,
    )


class _Question(RequestStruct):  # type: ignore[misc]  # aiokafka has no type hints
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("topic", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class TopicIdsRequest(Request[_Question]):  # type: ignore[misc]  # aiokafka has no type hints
    """Requests the ids of topics by name."""

    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = topics

    def prepare(self, versions: dict[int, tuple[int, int]]) -> _Question:
        """Return the request for the broker's versions of the API.

        Raises:
            IncompatibleBrokerVersion: the broker predates topic ids.
        """
        if versions.get(self.API_KEY, (0, 0))[1] < _Question.API_VERSION:
            raise IncompatibleBrokerVersion("the broker does not support topic ids")
        return self.build(_Question)

    def build(self, request_struct_class: type[_Question]) -> _Question:
        """Return the request."""
        topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, topic, {}) for topic in self._topics]
        return request_struct_class(topics, False, False, False, {})


class TopicIds:
    """Detects which of the watched topics were recreated. No I/O."""

    def __init__(self) -> None:
        self.watched: frozenset[str] = frozenset()
        self._ids: dict[str, bytes] = {}
        self._recreated: set[str] = set()

    def watch(self, topics: Iterable[str]) -> None:
        """Watch exactly these topics, from their next answer on."""
        self.watched = frozenset(topics)
        self._ids = {topic: known for topic, known in self._ids.items() if topic in self.watched}
        self._recreated &= self.watched

    def knows(self, topic: str) -> bool:
        """Whether the topic's id is known."""
        return topic in self._ids

    def learn(self, answer: Any) -> None:
        """Take a broker's answer. A topic that is missing from it keeps its known id."""
        for code, topic, topic_id, *_ in answer.topics:
            if code or topic_id == _NO_ID or topic not in self.watched:
                continue
            if self._ids.get(topic, topic_id) != topic_id:
                self._recreated.add(topic)
            self._ids[topic] = topic_id

    def take_recreated(self) -> frozenset[str]:
        """Return the topics that were recreated since the last call."""
        taken, self._recreated = frozenset(self._recreated), set()
        return taken
