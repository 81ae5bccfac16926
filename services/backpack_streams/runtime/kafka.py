"""Creates the Kafka connection and the codec from settings."""

from pathlib import Path

from pydantic import SecretStr

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.registry import known_schemas
from backpack_streams.bus.registry_client import RegistryConnection
from backpack_streams.runtime.settings import KafkaSettings


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Return where Kafka is and how to log in. Its files are read now, so that what replaces them later cannot stop a client from
    being made.

    Raises:
        UsageError: the settings are mutually inconsistent, or a file is unreadable.
        UnfitFilesError: the TLS files are invalid or do not fit together.
    """
    connection = KafkaConnection(**settings.connection_fields())
    connection.client_options()
    return connection


def registry_connection(settings: KafkaSettings) -> RegistryConnection | None:
    """Return where the schema registry is and how to log in; None if the settings name none."""
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
    """Return the secret unless it comes from a file, whose contents may have changed since startup: each connection reads
    the file again.
    """
    return None if secret is None or file is not None else secret.get_secret_value()


def kafka_codec(settings: KafkaSettings, *, register_schemas: bool = False) -> Codec:
    """Return the codec with the framing of the settings.

    Args:
        settings: the schema registry, if any.
        register_schemas: whether a writer registers missing schemas.

    Raises:
        UsageError: a schema registry is set and its client is not installed.
        UnfitFilesError: the registry's TLS files are unusable.
    """
    connection = registry_connection(settings)
    return Codec(None if connection is None else known_schemas(connection, registers=register_schemas))
