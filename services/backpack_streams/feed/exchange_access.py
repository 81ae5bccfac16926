"""Turns user settings about the exchange into settings of its clients: one place for all services and commands."""

from typing import Any

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings, RestAccessSettings, SocketAccessSettings


def network_settings(settings: ExchangeSettings) -> NetworkSettings:
    """Settings for the network path to the exchange."""
    return NetworkSettings(proxy=settings.exchange_proxy, ca_file=settings.exchange_ca_file)


def rest_settings(settings: RestAccessSettings, **more: Any) -> RestSettings:
    """Settings for the REST client; `more` are fields of `RestSettings` that the service decides."""
    return RestSettings(
        base_url=settings.rest_url,
        connect_timeout_seconds=settings.rest_connect_timeout,
        read_timeout_seconds=settings.rest_read_timeout,
        write_timeout_seconds=settings.rest_read_timeout,
        pool_timeout_seconds=settings.rest_read_timeout,
        deadline_seconds=settings.rest_call_timeout,
        queue_wait_seconds=settings.rest_queue_timeout,
        network=network_settings(settings),
        **more,
    )


def connection_settings(settings: SocketAccessSettings, **more: Any) -> ConnectionSettings:
    """Settings for the sockets; `more` are fields of `ConnectionSettings` that the service decides."""
    return ConnectionSettings(
        connect_timeout_seconds=settings.ws_connect_timeout,
        address_delay_seconds=settings.ws_address_delay,
        stop_timeout_seconds=settings.ws_close_timeout,
        network=network_settings(settings),
        **more,
    )


def session_settings(settings: SocketAccessSettings, connections: int) -> SessionSettings:
    """Settings for the session."""
    defaults = SessionSettings()
    return SessionSettings(
        connections=connections,
        barrier_timeout_seconds=settings.ws_subscribe_timeout,
        ping_interval_seconds=settings.ws_ping_interval,
        ping_reply_seconds=settings.ws_ping_timeout,
        server_grace_seconds=settings.ws_grace,
        reconnect_base_seconds=min(defaults.reconnect_base_seconds, settings.ws_reconnect_cap),
        reconnect_cap_seconds=settings.ws_reconnect_cap,
    )
