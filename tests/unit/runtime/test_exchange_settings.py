"""The way to the exchange as users set it, and as its clients take it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.feed.exchange_access import connection_settings, rest_settings
from backpack_streams.runtime.exchange_settings import ExchangeSettings


def complaint(model: type[ExchangeSettings], **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return str(caught.value.errors()[0]["ctx"]["error"])


def test_the_way_reaches_both_clients(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    settings = ExchangeSettings(exchange_proxy="proxy.corp:3128", exchange_ca_file=ca_file)
    network = NetworkSettings(proxy="http://proxy.corp:3128", ca_file=ca_file)
    assert rest_settings(settings, most_attempts=1) == RestSettings(network=network, most_attempts=1)
    assert connection_settings(settings) == ConnectionSettings(network=network)


def test_no_proxy_at_all_is_said_in_a_word() -> None:
    assert ExchangeSettings(exchange_proxy="None").exchange_proxy == "none"
    assert ExchangeSettings().exchange_proxy is None


def test_a_proxy_comes_from_a_file_and_its_password_shows_nowhere(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("user:hunter2@proxy:3128\n")
    settings = ExchangeSettings(exchange_proxy_file=tmp_path / "proxy")
    assert settings.exchange_proxy == "http://user:hunter2@proxy:3128"
    assert settings.loggable()["exchange_proxy"] == "http://***@proxy:3128"


def test_what_is_refused() -> None:
    words = complaint(ExchangeSettings, exchange_proxy="http://user:hunter/2@proxy")
    assert "is no URL of the form http://HOST[:PORT] or https://HOST[:PORT] or socks5://" in words
    assert "hunter" not in words
    assert "cannot be read" in complaint(ExchangeSettings, exchange_ca_file="/nowhere/ca.pem")
