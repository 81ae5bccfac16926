"""The entry point of rest-poller."""

from backpack_streams.rest_poller.poller import NAME, Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.service import run_service


def main(settings: RestPollerSettings) -> int:
    """Run the service until a signal arrives; returns the exit code."""
    return run_service(NAME, lambda: Poller(settings), settings, settings)
