"""A real Apache Kafka as child processes of this one, for demonstrations and tests."""

from backpack_streams.embedded.blocking import BlockingKafka
from backpack_streams.embedded.child import Child
from backpack_streams.embedded.kafka import DEFAULT_PORT, EmbeddedKafka, kafka_runtime
from backpack_streams.embedded.security import BrokerSecurity

__all__ = ["DEFAULT_PORT", "BlockingKafka", "BrokerSecurity", "Child", "EmbeddedKafka", "kafka_runtime"]
