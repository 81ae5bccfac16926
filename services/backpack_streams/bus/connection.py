"""How to reach Kafka: addresses, TLS and SASL, in the form aiokafka's clients take."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context

from backpack_streams.errors import BusError, UsageError

_CREDENTIALS_REFUSED = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)


class KafkaUnreachableError(BusError):
    """No broker answered."""


class KafkaRefusedError(BusError):
    """Kafka answered and refused: credentials, permissions, or a request it will not do."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where Kafka is and how to log in. Files are read when a client is made, the OAuth token file at every refresh.

    Mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (the token comes from a file that something else renews).
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_oauth_token_file: Path | None = None
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: str | None = None
    ssl_check_hostname: bool = True
    client_id: str = "backpack-streams"

    def __repr__(self) -> str:
        return f"KafkaConnection({self.bootstrap_servers}, {self.security_protocol})"

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client.

        Raises:
            UsageError: a TLS file cannot be read or is not what it should be.
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
                options["sasl_oauth_token_provider"] = _FileToken(self.sasl_oauth_token_file)
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        for file in (self.ssl_ca_file, self.ssl_cert_file, self.ssl_key_file):
            if file is not None and not file.is_file():
                raise UsageError(f"TLS file {file} does not exist: check ssl_ca_file, ssl_cert_file and ssl_key_file")
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=str(self.ssl_ca_file) if self.ssl_ca_file else None,
                certfile=str(self.ssl_cert_file) if self.ssl_cert_file else None,
                keyfile=str(self.ssl_key_file) if self.ssl_key_file else None,
                password=self.ssl_key_password,
            )
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                f"the TLS files cannot be used ({error}): check ssl_ca_file, ssl_cert_file and ssl_key_file"
            ) from error
        context.check_hostname = self.ssl_check_hostname
        return context

    def explain(self, error: BaseException) -> BusError:
        """What a client's failure means to the person who set it up, as one line."""
        if isinstance(error, _CREDENTIALS_REFUSED):
            return KafkaRefusedError(
                f"Kafka at {self.bootstrap_servers} refused the credentials ({_short(error)}): "
                "check security_protocol, sasl_mechanism, sasl_username and sasl_password"
            )
        if isinstance(error, (KafkaConnectionError, OSError, asyncio.TimeoutError)):
            return KafkaUnreachableError(
                f"Kafka cannot be reached at {self.bootstrap_servers} ({_short(error)}): "
                "check bootstrap_servers and security_protocol, and that the brokers run"
            )
        if isinstance(error, KafkaError):
            return KafkaRefusedError(f"Kafka at {self.bootstrap_servers} refused: {_short(error)}")
        return BusError(f"Kafka at {self.bootstrap_servers} failed: {_short(error)}")


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


class _FileToken(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no type hints
    def __init__(self, file: Path | None) -> None:
        if file is None:
            raise UsageError("sasl_mechanism OAUTHBEARER needs sasl_oauth_token_file")
        self._file = file

    async def token(self) -> str:
        """The token as it stands in the file now."""
        try:
            return (await asyncio.to_thread(self._file.read_text)).strip()
        except OSError as error:
            raise UsageError(f"the OAuth token file {self._file} cannot be read ({error.strerror})") from error
