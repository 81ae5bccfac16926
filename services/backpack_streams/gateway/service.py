"""Service `gateway`: the read API, from Kafka."""

from backpack_streams.gateway.gateway import NAME, Gateway
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.runtime.service import run_service


def main(settings: GatewaySettings) -> int:
    """Run the service until a signal; return the process's exit code.

    Args:
        settings: the service's settings.
    """
    return run_service(NAME, lambda: Gateway(settings), settings, settings)
