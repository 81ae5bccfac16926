"""Security of the clients' listener: TLS, SASL/PLAIN and SASL/SCRAM as broker properties."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from backpack_streams.errors import EmbeddedError

__all__ = ["BrokerSecurity"]

Protocol = Literal["SASL_PLAINTEXT", "SASL_SSL", "SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_CLIENT = "listener.name.client"
_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"
# Characters with a meaning in `--add-scram SCRAM-SHA-256=[name=x,password=y]` and in JAAS options.
_UNUSABLE_CHARACTERS = frozenset("\"\\,=[]; \t\r\n'")


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """Security of the listener that clients use; brokers use another one among themselves, on loopback.

    Attributes:
        protocol: Kafka's name of the protocol.
        mechanism: SASL mechanism; None without a login.

    Raises:
        EmbeddedError: the settings are mutually inconsistent.
    """

    protocol: Protocol
    mechanism: Mechanism | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    """Password of each user. With SCRAM they are written when a data folder is first used, and not changed later."""
    keystore: Path | None = None
    """PEM file: unencrypted PKCS#8 private key, then its certificate chain."""
    truststore: Path | None = None
    """PEM file: certificates of the authorities that may sign client certificates."""
    client_auth_required: bool = False

    def __post_init__(self) -> None:
        if self.uses_tls and self.keystore is None:
            raise EmbeddedError(f"{self.protocol} needs a key and certificate: give a keystore (PEM)")
        if self.client_auth_required and (not self.uses_tls or self.truststore is None):
            raise EmbeddedError("client certificates need TLS and a truststore (PEM) to check them against")
        if self.uses_sasl and (self.mechanism is None or not self.users):
            raise EmbeddedError(f"{self.protocol} needs a mechanism and at least one user")
        for text in (*self.users, *self.users.values()):
            if not text or _UNUSABLE_CHARACTERS.intersection(text):
                raise EmbeddedError("a user or password is empty or holds a quote, comma, bracket, '=', ';' or space")

    @property
    def uses_tls(self) -> bool:
        """Whether the listener uses TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether the listener requires a login."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @property
    def uses_scram(self) -> bool:
        """Whether users are stored as SCRAM credentials in the cluster."""
        return self.uses_sasl and self.mechanism != "PLAIN"

    def format_arguments(self) -> list[str]:
        """Return the storage tool's arguments for formatting a data folder (KIP-900).

        One `--add-scram` per user, with the password in plain text; empty unless the mechanism is SCRAM.
        """
        if not self.uses_scram:
            return []
        users = self.users.items()
        return [
            part
            for name, password in users
            for part in ("--add-scram", f"{self.mechanism}=[name={name},password={password}]")
        ]

    def properties(self) -> dict[str, str]:
        """Return the broker properties of the client listener. With SASL/PLAIN they contain the passwords."""
        return {**self._tls_properties(), **self._sasl_properties()}

    def _tls_properties(self) -> dict[str, str]:
        if not self.uses_tls or self.keystore is None:
            return {}
        properties = {
            f"{_CLIENT}.ssl.keystore.type": "PEM",
            f"{_CLIENT}.ssl.keystore.location": str(self.keystore.absolute()),
            f"{_CLIENT}.ssl.client.auth": "required" if self.client_auth_required else "none",
        }
        if self.truststore is not None:
            properties[f"{_CLIENT}.ssl.truststore.type"] = "PEM"
            properties[f"{_CLIENT}.ssl.truststore.location"] = str(self.truststore.absolute())
        return properties

    def _sasl_properties(self) -> dict[str, str]:
        if not self.uses_sasl or self.mechanism is None:
            return {}
        return {
            "sasl.enabled.mechanisms": self.mechanism,
            f"{_CLIENT}.sasl.enabled.mechanisms": self.mechanism,
            f"{_CLIENT}.{self.mechanism.lower()}.sasl.jaas.config": self._login(),
        }

    def _login(self) -> str:
        if self.uses_scram:
            return f"{_SCRAM_LOGIN} required;"
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return f"{_PLAIN_LOGIN} required {users};"
