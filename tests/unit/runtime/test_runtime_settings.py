"""The shared models: defaults, invalid combinations, and secrets that stay secret."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings
from backpack_streams.runtime.kafka import kafka_connection
from backpack_streams.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MetricsSettings,
    Settings,
    SymbolSettings,
    metrics_port,
)

SYMBOL = st.from_regex(r"[A-Za-z0-9._]{1,20}", fullmatch=True).filter(lambda symbol: symbol != "all")


def complaint(model: type[Settings], **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return str(caught.value.errors()[0]["ctx"]["error"])


def test_the_defaults_are_the_documented_ones() -> None:
    kafka = KafkaSettings()
    assert (kafka.bootstrap_servers, kafka.topic_prefix) == ("127.0.0.1:19092", "backpack.")
    assert kafka.security_protocol == "PLAINTEXT"
    assert kafka.ssl_check_hostname is True
    assert kafka.schema_registry_url is None
    exchange = ExchangeSettings()
    assert (exchange.ws_url, exchange.rest_url) == ("wss://ws.backpack.exchange", "https://api.backpack.exchange")
    symbols = SymbolSettings()
    assert (symbols.symbols, symbols.shard_index, symbols.shard_count) == ("all", 0, 1)
    assert (MetricsSettings().metrics_host, MetricsSettings().metrics_port) == ("localhost", 0)
    assert (LogSettings().log_level, LogSettings().log_format) == ("info", "auto")


def test_settings_are_frozen_and_refuse_unknown_names() -> None:
    with pytest.raises(ValidationError):
        KafkaSettings().topic_prefix = "x."  # type: ignore[misc]  # must fail
    with pytest.raises(ValidationError):
        KafkaSettings.model_validate({"topic_prefixes": "x."})


def test_a_service_has_its_own_default_metrics_port() -> None:
    class ProducerSettings(MetricsSettings):
        metrics_port: int = metrics_port(9401)

    assert ProducerSettings().metrics_port == 9401
    with pytest.raises(ValidationError):
        ProducerSettings(metrics_port=65536)


@pytest.mark.parametrize("servers", ["a:1", "kafka-0.kafka:9092,kafka-1.kafka:9092", "[::1]:9092", "10.0.0.1:65535"])
def test_brokers_that_are_accepted(servers: str) -> None:
    assert KafkaSettings(bootstrap_servers=servers).bootstrap_servers == servers


def test_brokers_may_be_a_list_or_contain_blanks() -> None:
    assert KafkaSettings.model_validate({"bootstrap_servers": ["a:1", "b:2"]}).bootstrap_servers == "a:1,b:2"
    assert KafkaSettings(bootstrap_servers="a:1, b:2").bootstrap_servers == "a:1,b:2"


@pytest.mark.parametrize(
    "servers", ["", "kafka", "kafka:", ":9092", "kafka:0", "kafka:65536", "a:1,,b:2", "http://a:1"]
)
def test_brokers_that_are_refused(servers: str) -> None:
    assert "is not HOST:PORT with a port of 1 to 65535" in complaint(KafkaSettings, bootstrap_servers=servers)


@pytest.mark.parametrize("prefix", ["", "a.b-c_D9.", "x" * 128])
def test_topic_prefixes_that_are_accepted(prefix: str) -> None:
    assert KafkaSettings(topic_prefix=prefix).topic_prefix == prefix


@pytest.mark.parametrize("prefix", ["a b", "ü.", "a/", "a:", "x" * 129])
def test_topic_prefixes_that_are_refused(prefix: str) -> None:
    assert "cannot start a topic name" in complaint(KafkaSettings, topic_prefix=prefix)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"security_protocol": "SASL_SSL"}, "SASL_SSL needs --sasl-mechanism, one of PLAIN"),
        ({"sasl_mechanism": "PLAIN"}, "no login takes place with PLAINTEXT; add --security-protocol SASL_SSL"),
        ({"sasl_password": "p"}, "no login takes place with PLAINTEXT"),
        ({"security_protocol": "SSL", "sasl_username": "u"}, "no login takes place with SSL"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u"},
            "SCRAM-SHA-512 needs --sasl-username and --sasl-password-file",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"},
            "OAUTHBEARER needs --sasl-oauth-token-file",
        ),
        ({"ssl_ca_file": "/dev/null"}, "TLS is not used with PLAINTEXT; add --security-protocol SSL"),
        ({"security_protocol": "SSL", "ssl_key_file": "/dev/null"}, "a key needs its certificate; add --ssl-cert-file"),
        (
            {"security_protocol": "SSL", "ssl_ca_file": "/nowhere/ca.pem"},
            "'/nowhere/ca.pem' cannot be read: No such file",
        ),
    ],
)
def test_invalid_combinations_are_refused(values: dict[str, Any], words: str) -> None:
    assert words in complaint(KafkaSettings, **values)


def test_a_secret_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pa ss\n")
    kafka = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="u",
        sasl_password_file=tmp_path / "password",
    )
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() == "pa ss"


def test_secret_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is empty; it must contain the secret" in complaint(KafkaSettings, sasl_password_file=tmp_path / "empty")
    assert "cannot be read: it is not UTF-8 text" in complaint(KafkaSettings, sasl_password_file=tmp_path / "binary")
    assert "cannot be read: No such file" in complaint(KafkaSettings, sasl_password_file=tmp_path / "none")
    both = complaint(KafkaSettings, sasl_password="p", sasl_password_file=tmp_path / "empty")
    assert both == "--sasl-password is set as well; set one of them"


def test_secrets_are_never_shown() -> None:
    kafka = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password=SecretStr("hunter2"),
        schema_registry_url="https://user:hunter2@registry:8081/x",
    )
    assert "hunter2" not in repr(kafka.sasl_password)
    assert "hunter2" not in str(kafka.loggable())
    assert kafka.loggable()["schema_registry_url"] == "https://***@registry:8081/x"
    assert "hunter2" not in complaint(KafkaSettings, schema_registry_url="ftp://user:hunter2@registry")


def test_connection_fields_are_those_of_the_bus() -> None:
    fields = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password=SecretStr("p")
    ).connection_fields()
    assert fields.keys() == {each.name for each in dataclasses.fields(KafkaConnection) if each.init} - {"compression"}
    assert PublishingSettings(compression="zstd").connection_fields().keys() == fields.keys() | {"compression"}
    assert kafka_connection(PublishingSettings(compression="zstd")).compression == "zstd"
    assert fields["sasl_password"] == "p"


@pytest.mark.parametrize("url", ["ws://127.0.0.1:18765", "wss://host/path", "wss://[::1]:1"])
def test_socket_urls_that_are_accepted(url: str) -> None:
    assert ExchangeSettings(ws_url=url).ws_url == url


@pytest.mark.parametrize(
    "url", ["", "host", "http://host", "wss://", "wss://host:port", "wss://ho st", "wss://h:99999"]
)
def test_socket_urls_that_are_refused(url: str) -> None:
    assert "is not a URL of the form ws://HOST[:PORT] or wss://HOST[:PORT]" in complaint(ExchangeSettings, ws_url=url)


def test_the_last_slash_of_a_rest_url_is_removed() -> None:
    assert ExchangeSettings(rest_url="http://127.0.0.1:18766/").rest_url == "http://127.0.0.1:18766"


@given(st.lists(SYMBOL, min_size=1))
def test_symbols_are_kept_once_and_in_order(symbols: list[str]) -> None:
    taken = SymbolSettings.model_validate({"symbols": [*symbols, *symbols]}).symbols
    assert list(taken) == list(dict.fromkeys(symbols))


@pytest.mark.parametrize(
    ("symbols", "words"),
    [([], "no symbol is named"), (["all", "SOL_USDC"], "'all' cannot be combined"), (["SOL USDC"], "is not a symbol")],
)
def test_symbols_that_are_refused(symbols: list[str], words: str) -> None:
    assert words in complaint(SymbolSettings, symbols=symbols)


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_shard_exists_if_its_index_is_below_the_count(index: int, count: int) -> None:
    values = {"shard_index": index, "shard_count": count}
    if index < count:
        assert SymbolSettings.model_validate(values).shard_index == index
    else:
        assert f"shard {index} of {count} does not exist" in complaint(SymbolSettings, **values)
