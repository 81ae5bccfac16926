"""Which streams a producer subscribes to: the part in which producers differ."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Protocol

from prometheus_client.registry import Collector

from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.session_actions import Notice
from backpack_streams.exchange.subscriptions import Sign

__all__ = ["ChooseStreams", "Chore", "StreamChoice", "Streams", "Want"]

Streams = Mapping[str, bool]
"""Streams to subscribe to, by name; the value says whether the stream is known to exist, so that it must deliver."""

Want = Callable[[Streams], None]
"""Subscribes to exactly these streams."""

Chore = tuple[str, Coroutine[None, None, None]]
"""The name of a background task, and what it runs."""


class StreamChoice(Protocol):
    """Chooses the streams of one producer, and watches what the exchange says about them."""

    @property
    def sign(self) -> Sign | None:
        """What signs subscriptions; None if they are public."""

    def takes(self, symbol: str) -> bool:
        """Return whether the streams of this market are ours, whether it is open or not."""

    async def first(self) -> Streams:
        """Return the streams to begin with. Retries until the exchange answers.

        Raises:
            UsageError: a symbol is unknown.
        """

    def chores(self, want: Want) -> Iterable[Chore]:
        """Return the background tasks that keep the choice current."""

    def problems(self) -> list[str]:
        """Return why the service is not ready."""

    def collectors(self) -> Iterable[Collector]:
        """Return the collectors for /metrics."""

    def on_notice(self, notice: Notice) -> None:
        """Take an event of the sockets."""

    def on_all_covered(self) -> None:
        """Take that every stream is covered."""


ChooseStreams = Callable[[RestClient, ExchangeClock], StreamChoice]
"""Makes the choice around the producer's REST client and its knowledge of the exchange's clock."""
