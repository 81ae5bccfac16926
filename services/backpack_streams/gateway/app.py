"""The HTTP side of the gateway: all its routes, and the tasks behind them."""

import asyncio
from collections.abc import Iterable

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from backpack_streams.expanded_path import expanded
from backpack_streams.gateway import page
from backpack_streams.gateway.cross_origin import CrossOrigin
from backpack_streams.gateway.endpoints import KLINE_INTERVALS, Endpoints
from backpack_streams.gateway.gate import Gate
from backpack_streams.gateway.http_front import front
from backpack_streams.gateway.http_measures import RequestMeasures, stream_measures
from backpack_streams.gateway.key_file import KeyFile
from backpack_streams.gateway.key_ring import KeyRing
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.reference.routes import docs_routes
from backpack_streams.gateway.rest_routes import rest_routes
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.routes import stream_routes

__all__ = ["ReadApi"]


class ReadApi:
    """The read API.

    Attributes:
        app: its ASGI application.
        broadcast: its streams.
    """

    def __init__(self, settings: GatewaySettings, data: MarketData, endpoints: Endpoints) -> None:
        """Build the routes, and read the file of keys.

        Args:
            settings: the file of keys, the allowed origins, the limit of streams, and whether to log requests.
            data: the read model; its changes go to the streams.
            endpoints: the endpoints that answer from it.

        Raises:
            UsageError: the file of keys cannot be used.
        """
        file = settings.keys_file
        self._ring = KeyRing(None if file is None else KeyFile(expanded(file)))
        self.broadcast = Broadcast(data)
        data.subscribe(self.broadcast.on_change)
        gate, cross_origin = Gate(self._ring), CrossOrigin(settings.cors_origins)
        routes = [
            *rest_routes(endpoints.table(), gate),
            *docs_routes(endpoints.table(), needs_key=not gate.is_open),
            *stream_routes(self.broadcast, gate, cross_origin, settings.max_streams, KLINE_INTERVALS),
            *page.routes(),
        ]
        self._measures = RequestMeasures()
        self.app: ASGIApp = front(routes, cross_origin, self._measures, access_log=settings.access_log)

    async def run(self) -> None:
        """Watch the file of keys and send heartbeats, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ring.watch())
            tasks.create_task(self.broadcast.run())

    def collectors(self) -> Iterable[Collector]:
        """Return the metrics of requests and streams for /metrics."""
        return *self._measures.collectors(), *stream_measures(self.broadcast)

    def end(self) -> None:
        """End all streams, so that the server can stop."""
        self.broadcast.end_all()
