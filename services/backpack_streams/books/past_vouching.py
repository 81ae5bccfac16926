"""Judges books as of the past by the watermarks of that time; its clock is the moment that the reading has reached. Sans I/O."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.past_watermarks import PastWatermark
from backpack_streams.books.standing import Claim
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.codec import Codec
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PastVouching"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""Interval of judgements without news: books can then only become too old, which `status` shows at once anyway."""


class PastVouching(Vouching):
    """`now` is the moment in seconds since the Unix epoch, by the exchange's clock; `as_of` stays by the producer's clock."""

    def __init__(
        self,
        codec: Codec,
        prefix: str,
        depth_topic: str,
        topic_partition_of: Callable[[str], TopicPartition | None],
        max_age: float | None,
    ) -> None:
        self.now = 0.0
        super().__init__(codec, prefix, depth_topic, topic_partition_of, max_age, lambda: self.now)

    def come_to(self, now: float) -> None:
        """Advance the clock to this moment."""
        self.now = max(self.now, now)

    def refresh(self, markets: Iterable[MarketBook], now: float) -> Iterator[tuple[MarketBook, Outcome]]:
        """Judge all books if there is news or a second of the past has gone by."""
        if self._has_news or now >= self._next_look:
            yield from super().refresh(markets, now)
            self._next_look = now + _LOOK_SECONDS
            self.take_disproofs()  # discard: gaps of the past are not recorded again

    def look_at_all(self) -> None:
        """Make the next `refresh` judge all books."""
        self._has_news = True

    def take_past(self, watermark: PastWatermark) -> None:
        """Take the next watermark of the topic, as of the moment it was published."""
        row, made_at = watermark.row, watermark.at_us / 1_000_000
        try:
            self.coverage.take(row, watermark.record.offset, heard=made_at, now=self.now, wall_us=row["published_time"])
        except KeyError as error:
            self.undecodable_records += 1
            logger.warning("a watermark cannot be read", extra={"offset": watermark.record.offset, "error": str(error)})
        self._has_news = True

    def claim(self, snapshot: Mapping[str, Any], is_new: bool) -> Claim:
        """Return what a BookSnapshot record claims. Reading order is no evidence here: records are ordered by time, not by Kafka."""
        del is_new
        return super().claim(snapshot, is_new=False)
