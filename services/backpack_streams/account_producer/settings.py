"""The settings of `account-producer`."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from backpack_streams.errors import UsageError
from backpack_streams.exchange.signing import DEFAULT_WINDOW_MS, LONGEST_WINDOW_MS, SigningKey
from backpack_streams.exchange.streams import ACCOUNT_CHANNELS, ACCOUNT_PREFIX
from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.runtime.setting_fields import metrics_port, seconds
from backpack_streams.runtime.settings import SettingConflict

_NAMES = tuple(channel.removeprefix(ACCOUNT_PREFIX) for channel in ACCOUNT_CHANNELS)


class AccountProducerSettings(ProducerSettings):
    """A producer's settings, the account's key, and account-producer's own defaults."""

    streams: tuple[str, ...] = Field(default=ACCOUNT_CHANNELS, description=f"kinds of stream: {', '.join(_NAMES)}")
    market_types: tuple[str, ...] = Field(
        default=("SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ"),
        description="kinds of market among which the names given by --symbols are looked for",
    )
    private_key: SecretStr | None = Field(
        default=None,
        description="the account's private key, base64 of 32 bytes as Backpack shows it, or PEM; "
        "other users of the machine can see a flag, so prefer the file",
    )
    private_key_file: Path | None = Field(
        default=None, description="file that holds the private key", json_schema_extra={"metavar": "FILE"}
    )
    signature_window_ms: int = Field(
        default=DEFAULT_WINDOW_MS,
        ge=1,
        le=LONGEST_WINDOW_MS,
        description="milliseconds for which a signature is valid",
        json_schema_extra={"metavar": "MS"},
    )
    clock_check: float = seconds(60.0, "seconds between two comparisons of our clock with the exchange's", gt=0)
    metrics_port: int = metrics_port(9404)

    @field_validator("streams", mode="before")
    @classmethod
    def _full_names(cls, value: object) -> object:
        """Accept `orderUpdate` and `account.orderUpdate` alike; refuse anything that is not an account stream."""
        if not isinstance(value, list | tuple):
            return value
        names = [str(text).removeprefix(ACCOUNT_PREFIX) for text in value]
        for name in names:
            if name not in _NAMES:
                raise ValueError(f"account-producer does not carry the stream {name!r}; it carries {', '.join(_NAMES)}")
        return [ACCOUNT_PREFIX + name for name in names]

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        self.signing_key()
        return self

    @model_validator(mode="after")
    def _check_one_shard(self) -> Self:
        if self.shard_count != 1:
            raise SettingConflict("an account cannot be sharded: one process serves all of it", "shard_count")
        return self

    def signing_key(self) -> SigningKey:
        """Return the account's key.

        Raises:
            SettingConflict: there is no key, or it cannot be used; the message contains no part of it.
        """
        if self.private_key is None:
            message = "the account's key is needed; give --private-key-file (or BACKPACK_STREAMS_PRIVATE_KEY)"
            raise SettingConflict(message, "private_key")
        try:
            return SigningKey.from_text(self.private_key.get_secret_value())
        except UsageError as error:
            raise SettingConflict(str(error), "private_key") from None
