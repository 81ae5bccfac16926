"""Converts user settings about the exchange to settings of its clients, in one place for all services and commands."""

from typing import Any

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings, RestAccessSettings, SocketAccessSettings


def network_settings(settings: ExchangeSettings) -> NetworkSettings:
    """Return the settings for the network path to the exchange.

    Args:
        settings: names the proxy and the file of additional certificates.
    """
    return NetworkSettings(proxy=settings.exchange_proxy, ca_file=settings.exchange_ca_file)


def rest_settings(settings: RestAccessSettings, **more: Any) -> RestSettings:
    """Return the settings of the REST client.

    The user's read timeout applies to reading, writing and waiting for a pooled connection alike.

    Args:
        settings: the user's settings; all timeouts are seconds.
        more: fields of `RestSettings` that the service decides.
    """
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
    """Return the settings of the sockets.

    Args:
        settings: the user's settings; all times are seconds.
        more: fields of `ConnectionSettings` that the service decides.

    Raises:
        UsageError: a number is out of its range.
    """
    return ConnectionSettings(
        connect_timeout_seconds=settings.ws_connect_timeout,
        address_delay_seconds=settings.ws_address_delay,
        stop_timeout_seconds=settings.ws_close_timeout,
        network=network_settings(settings),
        **more,
    )


def session_settings(settings: SocketAccessSettings, connections: int) -> SessionSettings:
    """Return the settings of the subscriptions and of reconnecting.

    The first wait before a reconnect is the default, or the user's cap if that is lower.

    Args:
        settings: the user's settings; all times are seconds.
        connections: how many sockets to keep up at all times, 1 or 2.

    Raises:
        UsageError: a number is out of its range.
    """
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
