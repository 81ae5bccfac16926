"""A real Apache Kafka and a real schema registry as child processes, for demonstrations and tests."""

from backpack_streams.embedded.blocking import BlockingKafka
from backpack_streams.embedded.child import Child
from backpack_streams.embedded.kafka import DEFAULT_PORT, EmbeddedKafka, kafka_runtime
from backpack_streams.embedded.registry import DEFAULT_REGISTRY_PORT, EmbeddedRegistry, registry_url
from backpack_streams.embedded.security import BrokerSecurity

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_REGISTRY_PORT",
    "BlockingKafka",
    "BrokerSecurity",
    "Child",
    "EmbeddedKafka",
    "EmbeddedRegistry",
    "kafka_runtime",
    "registry_url",
]
