"""How to reach Kafka: addresses, TLS and SASL, in the form that aiokafka's clients take.

Settings are built long before any client, often in programs that never create one, so aiokafka is imported with the
first client.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backpack_streams.bus.compression import CODECS, Compression
from backpack_streams.credentials import RenewedContext, SecretFile, UnfitFilesError
from backpack_streams.errors import BackpackStreamsError, BusError, UsageError
from backpack_streams.expanded_path import expanded

__all__ = ["KafkaConnection", "KafkaRefusedError", "KafkaUnreachableError"]

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_FOR_LOGIN = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file", "sasl_oauth_token_file")
_OF_THE_KEY = ("ssl_key_file", "ssl_key_password", "ssl_key_password_file")
_FOR_TLS = ("ssl_ca_file", "ssl_cert_file", *_OF_THE_KEY)
_TLS_FILES = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password_file")
_SECRETS = ("sasl_password", "ssl_key_password")


class KafkaUnreachableError(BusError):
    """No broker answered."""


class KafkaRefusedError(BusError):
    """Kafka answered and refused: credentials, permissions, or an unsupported request."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where Kafka is and how to log in. The public name is `backpack_streams.KafkaSettings`.

        KafkaSettings("kafka-1:9093,kafka-2:9093", security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512",
                      sasl_username="strategy", sasl_password=password, ssl_ca_file="ca.pem")

    Files are read again for each connection to a broker, because certificates, passwords and tokens are renewed in
    place. A file that is unusable when the first client is created is an error. Later, the last consistent contents are
    used until the files fit together again.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
        sasl_username: the user for PLAIN and SCRAM.
        sasl_password: the password for PLAIN and SCRAM.
        sasl_password_file: the file with that password, instead of the password itself.
        sasl_oauth_token_file: the file with the token for OAUTHBEARER.
        ssl_ca_file: the authorities to trust (PEM), None for the system's.
        ssl_cert_file: the client's certificate (PEM), for mutual TLS.
        ssl_key_file: the certificate's key (PEM), None if `ssl_cert_file` contains it.
        ssl_key_password: the password of the key.
        ssl_key_password_file: the file with that password, instead of the password itself.
        ssl_check_hostname: whether the broker's certificate must name its host.
        client_id: the client's name in Kafka's logs, metrics and quotas.
        compression: none, gzip, snappy, lz4 or zstd, for what is written. Any compression is read.

    Raises:
        UsageError: settings are invalid or mutually inconsistent. That includes a user, password or file that would
            have no effect, because it was meant to protect something.
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_password_file: Path | str | None = None
    sasl_oauth_token_file: Path | str | None = None
    ssl_ca_file: Path | str | None = None
    ssl_cert_file: Path | str | None = None
    ssl_key_file: Path | str | None = None
    ssl_key_password: str | None = None
    ssl_key_password_file: Path | str | None = None
    ssl_check_hostname: bool = True
    client_id: str = "backpack-streams"
    compression: Compression = "none"
    _held: "dict[str, SecretFile | RenewedContext]" = field(default_factory=dict, init=False, repr=False, compare=False)
    """The files' contents, shared by all clients of this connection."""

    def __post_init__(self) -> None:
        if self.security_protocol not in _PROTOCOLS:
            raise UsageError(f"security_protocol {self.security_protocol!r} is not one of {', '.join(_PROTOCOLS)}")
        if self.compression not in CODECS:
            raise UsageError(f"compression {self.compression!r} is not one of {', '.join(CODECS)}")
        for name in _SECRETS:
            if getattr(self, name) is not None and getattr(self, name + "_file") is not None:
                raise UsageError(f"{name} and {name}_file are both set: set one of them")
        if self.security_protocol.startswith("SASL"):
            self._check_login()
        else:
            self._refuse(_FOR_LOGIN, "SASL_SSL")
        if not self.security_protocol.endswith("SSL"):
            self._refuse(_FOR_TLS, "SSL or SASL_SSL")
        elif self.ssl_cert_file is None:
            for name in _OF_THE_KEY:
                if getattr(self, name) is not None:
                    raise UsageError(f"{name} needs ssl_cert_file: a key needs its certificate")

    def _check_login(self) -> None:
        if self.sasl_mechanism not in _MECHANISMS:
            raise UsageError(
                f"{self.security_protocol} needs sasl_mechanism, one of {', '.join(_MECHANISMS)}, not {self.sasl_mechanism!r}"
            )
        needed: tuple[str, ...] = ("sasl_username", "sasl_password")
        if self.sasl_mechanism == "OAUTHBEARER":
            needed = ("sasl_oauth_token_file",)
        for name in needed:
            if getattr(self, name) is None and getattr(self, name + "_file", None) is None:
                raise UsageError(f"sasl_mechanism {self.sasl_mechanism} needs {name}")

    def _refuse(self, names: tuple[str, ...], protocol: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(
                    f"{name} has no effect with security_protocol {self.security_protocol}: set it to {protocol}"
                )

    def __repr__(self) -> str:
        return f"KafkaConnection({self.bootstrap_servers}, {self.security_protocol})"

    def client_options(self) -> dict[str, Any]:
        """Return keyword arguments for any aiokafka client.

        Raises:
            UsageError: a file is unreadable. Only at the first call: later, the last good contents are used.
            UnfitFilesError: at the first call, the TLS files are invalid or do not fit together.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
        }
        if "SSL" in self.security_protocol:
            options["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == "OAUTHBEARER":
                from backpack_streams.bus.oauth_token import FileToken

                token = self._secret("sasl_oauth_token_file")
                token.read()
                options["sasl_oauth_token_provider"] = FileToken(token)
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.login_password()
        return options

    def login_password(self) -> str | None:
        """Return the current password for PLAIN and SCRAM, None if none is set.

        Raises:
            UsageError: the password's file has never been readable.
        """
        if self.sasl_password_file is None:
            return self.sasl_password
        return self._secret("sasl_password_file").read()

    def _secret(self, name: str) -> SecretFile:
        held = self._held.get(name)
        if not isinstance(held, SecretFile):
            held = self._held[name] = SecretFile(self._file(name), name)
        return held

    def _file(self, name: str) -> Path:
        return expanded(getattr(self, name))

    def _ssl_context(self) -> RenewedContext:
        held = self._held.get("tls")
        if not isinstance(held, RenewedContext):
            files = [self._file(name) for name in _TLS_FILES if getattr(self, name) is not None]
            held = self._held["tls"] = RenewedContext(files, self._load_tls)
        return held

    def _load_tls(self) -> ssl.SSLContext:
        from aiokafka.helpers import create_ssl_context

        files: dict[str, str | None] = {}
        for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
            file = None if getattr(self, name) is None else self._file(name)
            if file is not None and not file.is_file():
                raise UsageError(f"TLS file {file} does not exist: check ssl_ca_file, ssl_cert_file and ssl_key_file")
            files[name.removeprefix("ssl_").replace("_", "")] = None if file is None else str(file)
        try:
            context: ssl.SSLContext = create_ssl_context(**files, password=self._key_password())
        except (ssl.SSLError, OSError) as error:
            kind = UnfitFilesError if isinstance(error, ssl.SSLError) else UsageError
            raise kind(
                f"the TLS files are unusable ({error}): check ssl_ca_file, ssl_cert_file and ssl_key_file"
            ) from error
        context.check_hostname = self.ssl_check_hostname
        return context

    def _key_password(self) -> str | None:
        if self.ssl_key_password_file is None:
            return self.ssl_key_password
        return self._secret("ssl_key_password_file").read()

    def explain(self, error: BaseException) -> BusError:
        """Return the error to raise for a client's failure, with one line that tells the operator what to check."""
        from aiokafka import errors as kafka

        credentials_refused = (
            kafka.AuthenticationFailedError,
            kafka.SaslAuthenticationFailed,
            kafka.UnsupportedSaslMechanismError,
            kafka.IllegalSaslStateError,
        )
        if isinstance(error, credentials_refused):
            return KafkaRefusedError(
                f"Kafka at {self.bootstrap_servers} refused the credentials ({_short(error)}): "
                "check security_protocol, sasl_mechanism, sasl_username and sasl_password"
            )
        if isinstance(error, (kafka.KafkaConnectionError, OSError, asyncio.TimeoutError)):
            return KafkaUnreachableError(
                f"Kafka is unreachable at {self.bootstrap_servers} ({_short(error)}): "
                "check bootstrap_servers and security_protocol, and that the brokers are running"
            )
        if isinstance(error, kafka.UnsupportedCodecError):
            return BusError(
                f"records are compressed with a codec that this installation cannot read ({_short(error)}): "
                "install backpack-streams with its dependencies (cramjam)"
            )
        if isinstance(error, kafka.KafkaError):
            return KafkaRefusedError(f"Kafka at {self.bootstrap_servers} refused: {_short(error)}")
        return BusError(f"Kafka at {self.bootstrap_servers} failed: {_short(error)}")


def may_pass(error: BackpackStreamsError) -> bool:
    """Whether the same request may succeed later, with nothing changed here: brokers restart, a leader moves."""
    from aiokafka.errors import KafkaError

    cause = error.__cause__
    is_retriable = isinstance(error, KafkaRefusedError) and isinstance(cause, KafkaError) and bool(cause.retriable)
    return is_retriable or isinstance(error, KafkaUnreachableError)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
