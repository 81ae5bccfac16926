"""A blocking client for Confluent-compatible schema registries that raises this project's errors.

Built on confluent-kafka's client, of the extra `registry`. Its own retries are off, because only the caller knows how
long to wait.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from backpack_streams.credentials import Renewed, SecretFile, UnfitFilesError
from backpack_streams.errors import CodecError, UsageError
from backpack_streams.expanded_path import expanded
from backpack_streams.shown_text import hide_credentials_in_url

__all__ = [
    "FULL_TRANSITIVE",
    "IncompatibleSchemaError",
    "NotRegisteredError",
    "Registry",
    "RegistryAwayError",
    "RegistryClient",
    "RegistryConnection",
    "RegistryError",
    "RegistryForbidsError",
    "Version",
]

FULL_TRANSITIVE = "FULL_TRANSITIVE"
_AGAIN_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_NOT_THERE_CODES = range(40400, 40500)

Answer = TypeVar("Answer")


class RegistryError(CodecError):
    """A request to the schema registry failed, or its answer is unusable."""


class RegistryAwayError(RegistryError):
    """The registry does not answer, or answers that it is unavailable. Retrying may help."""


class NotRegisteredError(RegistryError):
    """The registry has no such subject, version, schema or id."""


class RegistryForbidsError(RegistryError):
    """The account is authenticated but lacks the right (HTTP 403)."""


class IncompatibleSchemaError(RegistryError):
    """The subject's compatibility forbids the schema (HTTP 409)."""


@dataclass(frozen=True, slots=True)
class RegistryConnection:
    """Where the registry is and how to log in. The client reads changed files again.

    Args:
        url: the base URL; several are separated by commas and tried in turn.
        username: the user for HTTP basic authentication.
        password: the user's password.
        ca_file: the authorities to trust (PEM), None for the system's.
        cert_file: the client's certificate (PEM), for mutual TLS.
        key_file: the certificate's key (PEM).
        key_password: the password of the key.
        timeout_seconds: the limit for one request.
        password_file: the file with the user's password, instead of the password itself.
        key_password_file: the file with the key's password, instead of the password itself.

    Raises:
        UsageError: a secret is given both directly and as a file.
    """

    url: str
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = None
    timeout_seconds: float = 5.0
    password_file: Path | None = None
    key_password_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("password", "key_password"):
            if getattr(self, name) is not None and getattr(self, name + "_file") is not None:
                raise UsageError(f"{name} and {name}_file are both set: set one of them")

    def __repr__(self) -> str:
        return f"RegistryConnection({self.shown})"

    @property
    def shown(self) -> str:
        """The URL without credentials, for messages."""
        return hide_credentials_in_url(self.url)

    @property
    def files(self) -> list[Path]:
        """The files that a client is built from. It is rebuilt when one of them changes."""
        named = (self.ca_file, self.cert_file, self.key_file, self.password_file, self.key_password_file)
        return [expanded(each) for each in named if each is not None]

    def current_key_password(self) -> str | None:
        """Return the current password of the client's key, None if none is set.

        Raises:
            UsageError: the password's file is unreadable.
        """
        return _secret(self.key_password, self.key_password_file, "schema_registry_key_password_file")

    def client_options(self) -> dict[str, Any]:
        """Return the configuration of confluent-kafka's `SchemaRegistryClient`, with the current secrets.

        Raises:
            UsageError: a secret's file is unreadable.
        """
        password = _secret(self.password, self.password_file, "schema_registry_password_file")
        system = ssl.get_default_verify_paths()
        options = {
            "url": self.url,
            "timeout": self.timeout_seconds,
            "max.retries": 0,
            "ssl.ca.location": _text(self.ca_file) or system.cafile or system.capath,
            "ssl.certificate.location": _text(self.cert_file),
            "ssl.key.location": _text(self.key_file),
            "ssl.key.password": self.current_key_password(),
            "basic.auth.user.info": None if self.username is None else f"{self.username}:{password or ''}",
        }
        return {name: value for name, value in options.items() if value is not None}


class Version(NamedTuple):
    """One version of a subject.

    Attributes:
        number: the version.
        schema_id: the registry's id of its schema.
        text: the schema as JSON.
    """

    number: int
    schema_id: int
    text: str


class Registry(Protocol):
    """The requests that this project makes to a registry. Each blocks, and raises a `RegistryError` if there is no usable answer."""

    def lookup(self, subject: str, text: str) -> Version:
        """Return the version of `subject` that holds the schema `text`.

        Raises:
            NotRegisteredError: no version holds it.
        """

    def text(self, schema_id: int) -> str:
        """Return the JSON text of a schema.

        Raises:
            NotRegisteredError: the registry does not know the id.
        """

    def versions(self, subject: str) -> list[Version]:
        """Return all versions of a subject, oldest first; empty if the subject does not exist."""

    def compatibility(self, subject: str) -> str | None:
        """Return the compatibility set on the subject itself, None if none is set."""

    def default_compatibility(self) -> str | None:
        """Return the compatibility of subjects that have none of their own, None if the registry reports none."""

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the compatibility of a subject, which need not exist yet.

        Raises:
            RegistryForbidsError: the account may not set it.
        """

    def is_compatible(self, subject: str, text: str) -> bool:
        """Whether the subject's compatibility admits the schema `text`."""

    def register(self, subject: str, text: str) -> None:
        """Register the schema `text` as a version of the subject.

        Raises:
            IncompatibleSchemaError: the subject's compatibility forbids it.
        """


class RegistryClient:
    """`Registry` over HTTP. Raises as the protocol states."""

    def __init__(self, connection: RegistryConnection) -> None:
        """Prepare; nothing is asked yet.

        Raises:
            UsageError: the extra `registry` is not installed.
            UnfitFilesError: the TLS files are unusable.
        """
        try:
            from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
            from confluent_kafka.schema_registry.error import SchemaRegistryError
        except ImportError as error:
            raise UsageError(
                f"a schema registry needs the extra 'registry' ({error.name or 'confluent-kafka'} is not installed): "
                "pip install 'backpack-streams[registry]'"
            ) from None
        self._shown = connection.shown
        self._refusal: type[Exception] = SchemaRegistryError
        self._schema: Callable[[str, str], Any] = Schema

        def make() -> Any:
            try:
                return SchemaRegistryClient(connection.client_options())
            except (ValueError, OSError) as error:
                # Only files that do not fit together may do so a moment later; everything else is a wrong setting.
                kind = UnfitFilesError if isinstance(error, ssl.SSLError) else UsageError
                raise kind(
                    f"cannot create a client for the schema registry at {self._shown} ({error}): check the schema_registry settings"
                ) from error

        self._renewed = Renewed(connection.files, make)

    @property
    def _client(self) -> Any:
        """The client for the current files."""
        return self._renewed.current()

    def lookup(self, subject: str, text: str) -> Version:
        """Return the version of `subject` that holds the schema `text`."""
        found = self._ask(f"a schema under {subject}", self._client.lookup_schema, subject, self._avro(text))
        return Version(int(found.version), int(found.schema_id), text)

    def text(self, schema_id: int) -> str:
        """Return the JSON text of a schema."""
        return str(self._ask(f"schema id {schema_id}", self._client.get_schema, schema_id).schema_str)

    def versions(self, subject: str) -> list[Version]:
        """Return all versions of a subject, oldest first; empty if the subject does not exist."""
        try:
            numbers = self._ask(f"the versions of {subject}", self._client.get_versions, subject)
        except NotRegisteredError:
            return []
        found = []
        for number in sorted(numbers):
            each = self._ask(f"version {number} of {subject}", self._client.get_version, subject, number)
            found.append(Version(number, int(each.schema_id), str(each.schema.schema_str)))
        return found

    def compatibility(self, subject: str) -> str | None:
        """Return the compatibility set on the subject itself, None if none is set."""
        try:
            return str(self._ask(f"the compatibility of {subject}", self._client.get_compatibility, subject))
        except NotRegisteredError:
            return None

    def default_compatibility(self) -> str | None:
        """Return the compatibility of subjects that have none of their own, None if the registry reports none."""
        try:
            return str(self._ask("the compatibility of all subjects", self._client.get_compatibility))
        except NotRegisteredError:
            return None

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the compatibility of a subject."""
        self._ask(f"a new compatibility of {subject}", self._client.set_compatibility, subject, level)

    def is_compatible(self, subject: str, text: str) -> bool:
        """Whether the subject's compatibility admits the schema `text`."""
        test = self._client.test_compatibility_all_versions
        return bool(self._ask(f"a test against {subject}", test, subject, self._avro(text)))

    def register(self, subject: str, text: str) -> None:
        """Register the schema `text` as a version of the subject."""
        self._ask(f"a new version of {subject}", self._client.register_schema, subject, self._avro(text))

    def _avro(self, text: str) -> Any:
        return self._schema(text, "AVRO")

    def _ask(self, what: str, question: Callable[..., Answer], *arguments: Any) -> Answer:
        try:
            return question(*arguments)
        except self._refusal as error:
            raise self._explain(what, error) from error
        except Exception as error:  # it raises the errors of its HTTP library, which depends on its version
            raise RegistryAwayError(
                f"the schema registry at {self._shown} gives no usable answer to {what} ({_short(error)}): "
                "check that it is running, and schema_registry_url"
            ) from error

    def _explain(self, what: str, error: Any) -> RegistryError:
        status, code, said = int(error.http_status_code), int(error.error_code or 0), _short(error.error_message)
        where = f"the schema registry at {self._shown}"
        if status in _AGAIN_STATUSES:
            return RegistryAwayError(f"{where} answers HTTP {status} to {what} ({said}): check its log")
        if status == 404 and code in _NOT_THERE_CODES:
            return NotRegisteredError(f"{where} does not have {what} ({said})")
        if status == 404:
            return RegistryError(
                f"{where} answers HTTP 404 to {what}: its path is not that of a Confluent-compatible API "
                "(Apicurio's is /apis/ccompat/v7); correct schema_registry_url"
            )
        if status == 409:
            return IncompatibleSchemaError(f"{where} refuses {what} (HTTP 409): {said}")
        if status == 403:
            return RegistryForbidsError(
                f"{where} forbids {what} to this account (HTTP 403, {said}): grant it the right on this subject"
            )
        if status == 401:
            return RegistryError(
                f"{where} refuses the credentials (HTTP {status}, {said}): "
                "check schema_registry_username and schema_registry_password"
            )
        return RegistryError(f"{where} refuses {what} (HTTP {status}): {said}")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(expanded(path))


def _secret(value: str | None, file: Path | None, setting: str) -> str | None:
    return value if file is None else SecretFile(expanded(file), setting).read()


def _short(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
