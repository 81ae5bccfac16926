"""The settings that services and commands share, as declarative models; a command composes its own from these.

Every field is a flag, an environment variable and a TOML key: `settings_fields` defines their spelling,
`settings_sources` reads them. Models are frozen and refuse unknown fields.
"""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from backpack_streams.expanded_path import expanded
from backpack_streams.runtime.setting_fields import metrics_port
from backpack_streams.runtime.urls import check_url
from backpack_streams.shown_text import LINE_ENDS, hide_credentials, holds_credentials, split_urls

MAX_TOPIC_PREFIX_CHARACTERS = 128
_TOPIC_CHARACTERS = re.compile(r"[A-Za-z0-9._-]*")
_BROKER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):(?P<port>[0-9]{1,5})")
_NOT_FOR_CONNECTING = frozenset({"topic_prefix"})
_READ_AGAIN = ("sasl_password", "ssl_key_password")
_OF_THE_REGISTRY = "schema_registry_"
_SECRET_FILE_SUFFIX = "_file"  # the end of a field's name, not a secret


class SettingConflict(ValueError):  # noqa: N818 - pydantic wants a ValueError; users never see this name
    """Mutually inconsistent settings; `attributes` lists the offenders, the most likely one first."""

    def __init__(self, message: str, *attributes: str) -> None:
        super().__init__(message)
        self.attributes = attributes


class Settings(BaseModel):
    """Base class of all settings: frozen, without unknown names, and able to read a secret from a mounted file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any) -> Any:
        """Fill each secret `x` from the file that `x_file` names, without the line end that editors add."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        for attribute in cls.model_fields:
            path = values.get(attribute + _SECRET_FILE_SUFFIX)
            if path is None or attribute + _SECRET_FILE_SUFFIX not in cls.model_fields:
                continue
            if values.get(attribute) is not None:
                raise SettingConflict(
                    f"{_flag(attribute)} is set as well; set one of them", attribute + _SECRET_FILE_SUFFIX
                )
            filled[attribute] = read_secret_file(path, attribute + _SECRET_FILE_SUFFIX)
        return filled

    def loggable(self) -> dict[str, Any]:
        """Return all values as plain JSON types, with secrets and credentials within URLs hidden."""
        return {
            name: hide_credentials(value) if isinstance(value, str) else value
            for name, value in self.model_dump(mode="json").items()
        }


class LogSettings(Settings):
    """Which log records go to stderr, and in which format."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="minimum level that is logged"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="json writes one object per line; auto is text on a terminal and json elsewhere"
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class KafkaSettings(Settings):
    """Kafka's address, the login, and the prefix of the topics."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:19092",
        description="bootstrap brokers",
        json_schema_extra={"metavar": "HOST:PORT[,HOST:PORT…]"},
    )
    topic_prefix: str = Field(default="backpack.", description="prefix of all topic names")
    client_id: str = Field(
        default="backpack-streams", min_length=1, description="client name in the brokers' logs and quotas"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="encryption and login for connections to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None, description="login mechanism; required with SASL_PLAINTEXT and SASL_SSL"
    )
    sasl_username: str | None = Field(default=None, description="user for PLAIN and SCRAM")
    sasl_password: SecretStr | None = Field(
        default=None,
        description="password for PLAIN and SCRAM; prefer the file, because other users of the machine can see flags",
    )
    sasl_password_file: Path | None = Field(
        default=None,
        description="file with the password; read again for each connection",
        json_schema_extra={"metavar": "FILE"},
    )
    sasl_oauth_token_file: Path | None = Field(
        default=None,
        description="file with the OAUTHBEARER token; read again for each connection",
        json_schema_extra={"metavar": "FILE"},
    )
    ssl_ca_file: Path | None = Field(
        default=None,
        description="CA certificates (PEM) to trust for brokers, by default the system's; read again when changed",
        json_schema_extra={"metavar": "FILE"},
    )
    ssl_cert_file: Path | None = Field(
        default=None, description="client certificate (PEM), for mutual TLS", json_schema_extra={"metavar": "FILE"}
    )
    ssl_key_file: Path | None = Field(
        default=None,
        description="key of the client certificate (PEM), if the certificate's file does not contain it",
        json_schema_extra={"metavar": "FILE"},
    )
    ssl_key_password: SecretStr | None = Field(default=None, description="password of the key; prefer the file")
    ssl_key_password_file: Path | None = Field(
        default=None, description="file with the password of the key", json_schema_extra={"metavar": "FILE"}
    )
    ssl_check_hostname: bool = Field(default=True, description="refuse a broker whose certificate names another host")
    schema_registry_url: str | None = Field(
        default=None,
        description="Confluent-compatible registry; records then carry its schema ids instead of Avro fingerprints",
        json_schema_extra={"env": "SCHEMA_REGISTRY_URL", "metavar": "URL[,URL…]"},
    )
    schema_registry_username: str | None = Field(
        default=None, description="user for the registry (basic authentication)"
    )
    schema_registry_password: SecretStr | None = Field(
        default=None,
        description="password for the registry; prefer the file, because other users of the machine can see flags",
    )
    schema_registry_password_file: Path | None = Field(
        default=None, description="file with the registry's password", json_schema_extra={"metavar": "FILE"}
    )
    schema_registry_ca_file: Path | None = Field(
        default=None,
        description="CA certificates (PEM) to trust for the registry, by default the system's",
        json_schema_extra={"metavar": "FILE"},
    )
    schema_registry_cert_file: Path | None = Field(
        default=None,
        description="client certificate (PEM) for the registry, for mutual TLS",
        json_schema_extra={"metavar": "FILE"},
    )
    schema_registry_key_file: Path | None = Field(
        default=None, description="key of that certificate (PEM)", json_schema_extra={"metavar": "FILE"}
    )
    schema_registry_key_password: SecretStr | None = Field(
        default=None, description="password of that key; prefer the file"
    )
    schema_registry_key_password_file: Path | None = Field(
        default=None, description="file with the password of that key", json_schema_extra={"metavar": "FILE"}
    )

    def connection_fields(self) -> dict[str, Any]:
        """Return the arguments of `bus.connection.KafkaConnection`. Secrets are plain text.

        If a secret comes from a file, only the file is given, so that each connection reads the secret again.
        """
        names = type(self).model_fields.keys() & KafkaSettings.model_fields.keys() - _NOT_FOR_CONNECTING
        values = {name: getattr(self, name) for name in names if not name.startswith(_OF_THE_REGISTRY)}
        values |= {name: None for name in _READ_AGAIN if values[name + _SECRET_FILE_SUFFIX] is not None}
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()
        }

    @field_validator("bootstrap_servers", mode="before")
    @classmethod
    def _join_list(cls, value: Any) -> Any:
        return ",".join(str(item) for item in value) if isinstance(value, list | tuple) else value

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        brokers = [broker.strip() for broker in value.split(",")]
        for broker in brokers:
            match = _BROKER.fullmatch(broker)
            if match is None or not 1 <= int(match["port"]) <= 65535:
                raise ValueError(f"{broker!r} is not HOST:PORT with a port of 1 to 65535")
        return ",".join(brokers)

    @field_validator("topic_prefix")
    @classmethod
    def _check_topic_prefix(cls, value: str) -> str:
        """Check Kafka's rule for names (`org.apache.kafka.common.internals.Topic`), with room left for the rest of the name."""
        if not _TOPIC_CHARACTERS.fullmatch(value) or len(value) > MAX_TOPIC_PREFIX_CHARACTERS:
            raise ValueError(
                f"{_short(value)} cannot start a topic name; use letters, digits, '.', '_' and '-', "
                f"at most {MAX_TOPIC_PREFIX_CHARACTERS}"
            )
        return value

    @field_validator("schema_registry_url")
    @classmethod
    def _check_registry(cls, value: str | None) -> str | None:
        return value if value is None else ",".join(check_url(url, ("http", "https")) for url in split_urls(value))

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        _check_login(self)
        _check_tls(self)
        _check_registry(self)
        return self


class SymbolSettings(Settings):
    """The markets of this process, and its share of them."""

    symbols: Literal["all"] | tuple[str, ...] = Field(
        default="all", description="markets to serve; all follows the market list"
    )
    shard_index: int = Field(default=0, ge=0, description="index of this process's share of the symbols, from 0")
    shard_count: int = Field(default=1, ge=1, description="how many processes share the symbols")

    @field_validator("symbols")
    @classmethod
    def _check_symbols(cls, value: Literal["all"] | tuple[str, ...]) -> Literal["all"] | tuple[str, ...]:
        if value == "all":
            return "all"
        if not value:
            raise ValueError("no symbol is named; use all, or names separated by commas")
        if "all" in value:
            raise ValueError("'all' cannot be combined; use all, or names separated by commas")
        for symbol in value:
            if not re.fullmatch(r"\S+", symbol):
                raise ValueError(f"{_short(symbol)} is not a symbol; symbols look like SOL_USDC or AAPL.US_USDC_PERP")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        if self.shard_index >= self.shard_count:
            raise SettingConflict(
                f"shard {self.shard_index} of {self.shard_count} does not exist; "
                f"--shard-index must be below --shard-count (0 to {self.shard_count - 1})",
                "shard_index",
                "shard_count",
            )
        return self


class MetricsSettings(Settings):
    """The address of a service's metrics and health.

    The default is loopback: metrics name markets and brokers, so showing them to a network must be a choice. In a pod
    the choice is *, made by the image and the chart.
    """

    metrics_host: str = Field(
        default="localhost",
        min_length=1,
        description="addresses to listen on, separated by commas; localhost is this machine only, "
        "* every IPv4 and IPv6 address, as pods need",
    )
    metrics_port: int = metrics_port(0)
    metrics_per_symbol: bool = Field(
        default=False,
        description="also show metrics for each stream or market: hundreds of series, thousands with many candle intervals",
    )


def read_secret_file(path: Any, attribute: str) -> str:
    """Return the content of a mounted secret's file, without trailing line ends.

    Args:
        path: the file; `~` is expanded.
        attribute: the setting, for messages.

    Raises:
        SettingConflict: the file is unreadable, is not UTF-8 text, or is empty.
    """
    try:
        text = expanded(path).read_bytes().decode("utf-8").rstrip(LINE_ENDS)
    except (OSError, ValueError) as error:
        raise SettingConflict(f"{_short(str(path))} cannot be read: {_reason(error)}", attribute) from None
    if not text:
        raise SettingConflict(f"{_short(str(path))} is empty; it must contain the secret", attribute)
    return text


def _check_login(settings: KafkaSettings) -> None:
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    if not protocol.startswith("SASL_"):
        for attribute in ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_oauth_token_file"):
            if getattr(settings, attribute) is not None:
                message = f"no login takes place with {protocol}; add --security-protocol SASL_SSL (or SASL_PLAINTEXT)"
                raise SettingConflict(message, attribute)
        return
    if mechanism is None:
        message = f"{protocol} needs --sasl-mechanism, one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"
        raise SettingConflict(message, "security_protocol")
    if mechanism == "OAUTHBEARER":
        if settings.sasl_oauth_token_file is None:
            raise SettingConflict("OAUTHBEARER needs --sasl-oauth-token-file", "sasl_mechanism")
        read_secret_file(settings.sasl_oauth_token_file, "sasl_oauth_token_file")
    elif settings.sasl_username is None or settings.sasl_password is None:
        message = f"{mechanism} needs --sasl-username and --sasl-password-file (or --sasl-password)"
        raise SettingConflict(message, "sasl_mechanism")


def _check_tls(settings: KafkaSettings) -> None:
    attributes = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password")
    given = [attribute for attribute in attributes if getattr(settings, attribute) is not None]
    if given and not settings.security_protocol.endswith("SSL"):
        message = f"TLS is not used with {settings.security_protocol}; add --security-protocol SSL (or SASL_SSL)"
        raise SettingConflict(message, given[0])
    if settings.ssl_cert_file is None:
        for attribute in ("ssl_key_file", "ssl_key_password"):
            if attribute in given:
                raise SettingConflict("a key needs its certificate; add --ssl-cert-file", attribute)
    for attribute in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        if attribute in given:
            check_readable(getattr(settings, attribute), attribute)


def _check_registry(settings: KafkaSettings) -> None:
    """Check that login and TLS files come with a registry, a password with a user, and a key with a certificate."""
    parts = ("username", "password", "ca_file", "cert_file", "key_file", "key_password")
    given = [part for part in parts if getattr(settings, _OF_THE_REGISTRY + part) is not None]
    if given and settings.schema_registry_url is None:
        raise SettingConflict("no registry is set; add --schema-registry-url", _OF_THE_REGISTRY + given[0])
    if ("username" in given) != ("password" in given):
        message = "a login needs --schema-registry-username and --schema-registry-password-file"
        raise SettingConflict(message, "schema_registry_username", "schema_registry_password")
    if "username" in given and holds_credentials(settings.schema_registry_url or ""):
        message = "the URL contains credentials as well; set one of them"
        raise SettingConflict(message, "schema_registry_username", "schema_registry_url")
    if "cert_file" not in given and ("key_file" in given or "key_password" in given):
        message = "a key needs its certificate; add --schema-registry-cert-file"
        raise SettingConflict(message, "schema_registry_key_file", "schema_registry_key_password")
    for part in ("ca_file", "cert_file", "key_file"):
        if part in given:
            check_readable(getattr(settings, _OF_THE_REGISTRY + part), _OF_THE_REGISTRY + part)


def check_readable(path: Path, attribute: str) -> None:
    """Check that a file can be opened.

    Args:
        path: the file; `~` is expanded.
        attribute: the setting, for messages.

    Raises:
        SettingConflict: it is unreadable.
    """
    try:
        with expanded(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise SettingConflict(f"{_short(str(path))} cannot be read: {_reason(error)}", attribute) from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return (isinstance(error, OSError) and error.strerror) or str(error)  # ValueError: a NUL in the path


def _flag(attribute: str) -> str:
    return "--" + attribute.replace("_", "-")


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")
