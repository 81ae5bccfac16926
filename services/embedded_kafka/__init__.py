"""A real Apache Kafka and a real schema registry as child processes, for demonstrations and tests."""

from embedded_kafka.blocking import BlockingKafka
from embedded_kafka.child import Child
from embedded_kafka.kafka import DEFAULT_PORT, EmbeddedKafka, kafka_runtime
from embedded_kafka.registry import DEFAULT_REGISTRY_PORT, EmbeddedRegistry, registry_url
from embedded_kafka.security import BrokerSecurity

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
