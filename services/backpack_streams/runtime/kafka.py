"""From settings to what speaks with Kafka: the connection and the codec."""

from pathlib import Path

from pydantic import SecretStr

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.registry import known_schemas
from backpack_streams.bus.registry_client import RegistryConnection
from backpack_streams.runtime.settings import KafkaSettings


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Where Kafka is and how to log in, as the settings say."""
    return KafkaConnection(**settings.connection_fields())


def registry_connection(settings: KafkaSettings) -> RegistryConnection | None:
    """Where the schema registry is and how to log in; None where the settings name none."""
    if settings.schema_registry_url is None:
        return None
    return RegistryConnection(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=_unless_in_a_file(settings.schema_registry_password, settings.schema_registry_password_file),
        password_file=settings.schema_registry_password_file,
        ca_file=settings.schema_registry_ca_file,
        cert_file=settings.schema_registry_cert_file,
        key_file=settings.schema_registry_key_file,
        key_password=_unless_in_a_file(
            settings.schema_registry_key_password, settings.schema_registry_key_password_file
        ),
        key_password_file=settings.schema_registry_key_password_file,
    )


def _unless_in_a_file(secret: SecretStr | None, file: Path | None) -> str | None:
    """What the settings read of a file at the start may have changed since: whoever connects reads it again."""
    return None if secret is None or file is not None else secret.get_secret_value()


def kafka_codec(settings: KafkaSettings, *, register_schemas: bool = False) -> Codec:
    """The codec in the framing that the settings ask for. With `register_schemas` a writer registers what is missing.

    Raises:
        UsageError: a schema registry is set and its client is not installed, or its TLS files cannot be used.
    """
    connection = registry_connection(settings)
    return Codec(None if connection is None else known_schemas(connection, registers=register_schemas))
