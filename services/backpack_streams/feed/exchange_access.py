"""What the users of services set about the exchange, as the exchange's clients take it: one place for every service and command."""

from typing import Any

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings


def network_settings(settings: ExchangeSettings) -> NetworkSettings:
    """The way to the exchange."""
    return NetworkSettings(proxy=settings.exchange_proxy, ca_file=settings.exchange_ca_file)


def rest_settings(settings: ExchangeSettings, **more: Any) -> RestSettings:
    """For the REST client; `more` are fields of `RestSettings` that the service decides."""
    return RestSettings(
        base_url=settings.rest_url,
        network=network_settings(settings),
        **more,
    )


def connection_settings(settings: ExchangeSettings, **more: Any) -> ConnectionSettings:
    """For the sockets; `more` are fields of `ConnectionSettings` that the service decides."""
    return ConnectionSettings(
        network=network_settings(settings),
        **more,
    )
