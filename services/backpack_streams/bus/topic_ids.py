"""Topic ids (KIP-516, Kafka 2.8): they show that a topic was deleted and recreated under its name.

aiokafka's requests predate them, so the request that returns them is defined here.
"""

from collections import deque
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from backpack_streams.errors import BusError

__all__ = ["TopicIds", "TopicIdsRequest", "TopicRecreatedError"]

_ID_BYTES = 16
_NO_ID = bytes(_ID_BYTES)
_IDS_KEPT = 16
_TEXT, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)


class TopicRecreatedError(BusError):
    """Topics were deleted and recreated, or truncated, while they were read: what was known of their offsets is void.

    Attributes:
        topics: their full names.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        super().__init__(
            f"topic {', '.join(sorted(self.topics))} was recreated, or lost records, while it was read, "
            "so what was read is mixed or incomplete; run it again"
        )


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
        self._ids: dict[str, deque[bytes]] = {}
        """By topic, its latest ids, the present one last."""
        self._recreated: set[str] = set()

    def watch(self, topics: Iterable[str]) -> None:
        """Watch these topics as well, from their next answer on."""
        self.watched |= frozenset(topics)

    def knows(self, topic: str) -> bool:
        """Whether the topic's id is known."""
        return topic in self._ids

    def learn(self, answer: Any) -> None:
        """Take a broker's answer. A topic that is missing from it keeps its id. An earlier id is ignored: that broker's metadata is old."""
        for code, topic, topic_id, *_ in answer.topics:
            if code or topic_id == _NO_ID or topic not in self.watched:
                continue
            known = self._ids.setdefault(topic, deque(maxlen=_IDS_KEPT))
            if topic_id in known:
                continue
            if known:
                self._recreated.add(topic)
            known.append(topic_id)

    def take_recreated(self, topics: Iterable[str]) -> frozenset[str]:
        """Return which of these topics were recreated since the last call for them."""
        taken = self._recreated.intersection(topics)
        self._recreated -= taken
        return frozenset(taken)

    def recreated(self, topics: Iterable[str]) -> frozenset[str]:
        """Return which of these topics were recreated, and keep that for `take_recreated`."""
        return frozenset(self._recreated.intersection(topics))
