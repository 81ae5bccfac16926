"""The gateway as a service: tasks that read Kafka, the read model that they fill, and an HTTP server that answers from it."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterable
from typing import Final

from prometheus_client.registry import Collector

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.gateway.app import ReadApi
from backpack_streams.gateway.book_feed import BookFeed
from backpack_streams.gateway.endpoints import Endpoints
from backpack_streams.gateway.history import History
from backpack_streams.gateway.http_server import http_server
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.measures import data_measures, feed_measures
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.pulse import Pulse
from backpack_streams.gateway.read_back import ReadBack
from backpack_streams.gateway.record_feed import RecordFeed
from backpack_streams.gateway.rest_history import RestHistory
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection
from backpack_streams.runtime.listening import listening_sockets, url_host, why_not_listening
from backpack_streams.runtime.loop import BackgroundTasks

__all__ = ["NAME", "Gateway", "ListenError"]

logger = logging.getLogger(__name__)

NAME: Final = "gateway"


class ListenError(BackpackStreamsError):
    """The gateway cannot listen on the address of the read API."""


class Gateway:
    """One gateway: `open` listens, `run` serves. While Kafka is down, it answers 503 with the reason.

    Attributes:
        data: the read model.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Prepare; `open` listens and `run` connects to Kafka.

        Args:
            settings: the addresses of Kafka and of the read API, and the limits.

        Raises:
            UsageError: the settings are mutually inconsistent, or a file of theirs cannot be used, such as the file of keys.
        """
        self._settings = settings
        connection, codec, prefix = kafka_connection(settings), kafka_codec(settings), settings.topic_prefix
        self.data = MarketData(settings.trade_window, settings.candle_window)
        self._books = BookFeed(connection, codec, prefix, settings.max_age, self.data)
        self._plant = Plant()
        self._records = RecordFeed(connection, codec, prefix, self.data, self._plant)
        self._pulse = Pulse(connection, prefix, self.data, self._plant)
        self._read_back = ReadBack(connection, codec, prefix, self.data, self._records.tails)
        self._rest = RestHistory(settings, self.data) if settings.rest_fallback else None
        history = History(self.data, self._read_back, self._rest)
        self._endpoints = Endpoints(self.data, history, PlantView(self.data, self._plant, _now_us))
        self._read_api = ReadApi(settings, self.data, self._endpoints)
        self._background = BackgroundTasks()
        self._sockets: list[socket.socket] = []
        self._is_filled = False

    async def open(self) -> "Gateway":
        """Listen on the address of the read API. Returns the gateway itself.

        Raises:
            ListenError: the address is in use, not permitted, or not of this machine.
        """
        host, port = self._settings.host, self._settings.port
        try:
            self._sockets = listening_sockets(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that DNS cannot hold
            raise ListenError(why_not_listening(host, port, error, "--", "a free one")) from None
        url = f"http://{url_host(host)}:{self.port}/"
        if self._settings.keys_file is None:
            logger.warning("no keys are set: the read API is open to all who reach its address", extra={"url": url})
        else:
            logger.info("the read API listens", extra={"url": url})
        return self

    @property
    def port(self) -> int:
        """The port on which the read API listens."""
        return int(self._sockets[0].getsockname()[1])

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or until a task fails. Then finish the requests in progress and close everything.

        Args:
            stop: set to end the gateway.

        Raises:
            BaseException: the error of the task that failed.
        """
        server = http_server(self._read_api.app, self._settings)
        tasks = [
            asyncio.create_task(self._read_api.run(), name="read-api"),
            asyncio.create_task(self._books.run(), name="books"),
            asyncio.create_task(self._records.run(), name="records"),
            asyncio.create_task(self._pulse.run(), name="pulse"),
            asyncio.create_task(server.serve(self._sockets), name="http"),
        ]
        try:
            await self._background.first_to_end(tasks, stop)
        finally:
            self._read_api.end()
            server.should_exit = True
            await asyncio.wait({tasks[-1]})
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._read_back.close()
            if self._rest is not None:
                await self._rest.close()

    def failures(self) -> list[str]:
        """Return which tasks have ended on their own, so that the service cannot go on; empty while it can."""
        return self._background.failures

    def readiness(self) -> list[str]:
        """Return why the service is not ready; empty if it is.

        Once it has had its data it remains ready: without Kafka it still tells clients why there is no answer, which a load
        balancer could not.
        """
        if not self._is_filled:
            reasons = [self.data.unavailable()] if self.data.unavailable() else []
            if not self._books.is_caught_up:
                reasons.append("catching up with the books in Kafka")
            if not self._records.is_caught_up:
                reasons.append("catching up with the records in Kafka")
            self._is_filled = not reasons
            return reasons
        return []

    def collectors(self) -> Iterable[Collector]:
        """Return the metrics of the gateway for /metrics."""
        return (
            *data_measures(self.data, self._endpoints),
            *feed_measures(self._books, self._records, self._pulse, self._read_back),
            *self._read_api.collectors(),
            *(() if self._rest is None else self._rest.collectors()),
        )


def _now_us() -> int:
    return time.time_ns() // 1000
