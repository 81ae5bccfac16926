"""Network access to the exchange: from the user's settings to those of its clients."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange_clients.from_settings import connection_settings, rest_settings, session_settings
from backpack_streams.runtime.exchange_settings import ExchangeSettings, RestAccessSettings, SocketAccessSettings


def complaint(model: type[ExchangeSettings], **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return str(caught.value.errors()[0]["ctx"]["error"])


def test_the_defaults_are_those_of_the_clients() -> None:
    assert rest_settings(RestAccessSettings()) == RestSettings()
    assert connection_settings(SocketAccessSettings()) == ConnectionSettings()
    assert session_settings(SocketAccessSettings(), 2) == SessionSettings(connections=2)


def test_every_setting_reaches_its_client(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    way = {"exchange_proxy": "proxy.corp:3128", "exchange_ca_file": ca_file}
    network = NetworkSettings(proxy="http://proxy.corp:3128", ca_file=ca_file)
    rest = rest_settings(
        RestAccessSettings(
            **way, rest_connect_timeout=1, rest_read_timeout=2, rest_call_timeout=3, rest_queue_timeout=4
        )
    )
    assert rest.network == network
    assert (rest.connect_timeout_seconds, rest.deadline_seconds, rest.queue_wait_seconds) == (1, 3, 4)
    assert rest.read_timeout_seconds == rest.write_timeout_seconds == rest.pool_timeout_seconds == 2
    sockets = SocketAccessSettings(
        **way,
        ws_connect_timeout=1,
        ws_address_delay=2,
        ws_subscribe_timeout=3,
        ws_ping_interval=0.1,
        ws_ping_timeout=5,
        ws_close_timeout=6,
        ws_grace=7,
        ws_reconnect_cap=0.1,
    )
    connection, session = connection_settings(sockets, read_interval_seconds=8), session_settings(sockets, 1)
    assert connection.network == network
    assert (connection.connect_timeout_seconds, connection.address_delay_seconds) == (1, 2)
    assert (connection.stop_timeout_seconds, connection.read_interval_seconds) == (6, 8)
    assert (session.barrier_timeout_seconds, session.ping_interval_seconds, session.ping_reply_seconds) == (3, 0.1, 5)
    assert (session.server_grace_seconds, session.reconnect_base_seconds, session.reconnect_cap_seconds) == (
        7,
        0.1,
        0.1,
    )


def test_the_word_none_disables_the_proxy() -> None:
    assert ExchangeSettings(exchange_proxy="None").exchange_proxy == "none"
    assert ExchangeSettings().exchange_proxy is None


def test_a_proxy_comes_from_a_file_and_its_password_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("user:hunter2@proxy:3128\n")
    settings = ExchangeSettings(exchange_proxy_file=tmp_path / "proxy")
    assert settings.exchange_proxy == "http://user:hunter2@proxy:3128"
    assert settings.loggable()["exchange_proxy"] == "http://***@proxy:3128"


def test_invalid_settings_are_refused() -> None:
    words = complaint(ExchangeSettings, exchange_proxy="http://user:hunter/2@proxy")
    assert "is not a URL of the form http://HOST[:PORT] or https://HOST[:PORT] or socks5://" in words
    assert "hunter" not in words
    assert "cannot be read" in complaint(ExchangeSettings, exchange_ca_file="/nowhere/ca.pem")
    assert "--ws-ping-timeout must be at least twice" in complaint(SocketAccessSettings, ws_ping_timeout=1.5)
