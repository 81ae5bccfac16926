"""The answer of `/v1/plant`: what Kafka tells about the plant, together with the books of this gateway. Sans I/O."""

from collections import Counter
from collections.abc import Callable

from backpack_streams.books.status import Status
from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.topic_names import DEPTH_TOPIC

__all__ = ["PlantView"]


class PlantView:
    """Combines the state of the plant with the books of this gateway on request."""

    def __init__(self, data: MarketData, plant: Plant, now_us: Callable[[], int]) -> None:
        """Prepare.

        Args:
            data: the read model, with the books.
            plant: the state of the plant.
            now_us: returns the wall clock's time (µs since the Unix epoch).
        """
        self._data = data
        self._plant = plant
        self.now_us = now_us

    def row(self, now_us: int) -> Row:
        """Return the fields of the answer.

        Args:
            now_us: the wall clock's time (µs since the Unix epoch).
        """
        views = self._data.books()
        newest_us = max((view.engine_time or 0 for view in views.values()), default=0)
        if newest_us:
            self._plant.take_stamp(DEPTH_TOPIC, newest_us // 1000)
        return {
            "kafka": self._data.unavailable() or "available",
            "topics": self._plant.topics(now_us, self._data.complete_through()),
            "producers": self._plant.producers(now_us),
            "gaps": self._plant.gaps(now_us),
            "audits": self._plant.audits(),
            "books": self._books(),
            "services": self._plant.services(now_us),
        }

    def _books(self) -> Row:
        views = self._data.books()
        counts = Counter(view.status for view in views.values())
        not_live = [
            {"symbol": symbol, "status": view.status.value, "reason": view.reason}
            for symbol, view in sorted(views.items())
            if view.status is not Status.LIVE
        ]
        statuses = {symbol: view.status.value for symbol, view in sorted(views.items())}
        return {**{each.value: counts[each] for each in Status}, "not_live": not_live, "statuses": statuses}
