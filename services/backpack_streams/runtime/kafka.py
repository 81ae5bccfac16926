"""From settings to what speaks with Kafka: the connection and the codec."""

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import UsageError
from backpack_streams.runtime.settings import KafkaSettings


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Where Kafka is and how to log in, as the settings say."""
    return KafkaConnection(**settings.connection_fields())


def kafka_codec(settings: KafkaSettings) -> Codec:
    """The codec in the framing that the settings ask for.

    Raises:
        UsageError: a schema registry is set; this version frames records without one.
    """
    if settings.schema_registry_url is not None:
        raise UsageError(
            "schema_registry_url is set, but this version has no registry client: unset it "
            "(and SCHEMA_REGISTRY_URL) to frame records as Avro single objects"
        )
    return Codec()
