"""Judges books as of the past by the watermarks of that time; its clock is the moment that the reading has reached. Sans I/O."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.past_watermarks import PastWatermark
from backpack_streams.books.standing import Claim
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_intake import WatermarkIntake
from backpack_streams.bus.codec import Codec

__all__ = ["PastVouching"]

_LOOK_SECONDS: Final = 1.0
"""Interval of judgements without news: books can then only become too old, which `status` shows at once anyway."""


class PastVouching(Vouching):
    """`now` is the moment in seconds since the Unix epoch, by the exchange's clock; `as_of` stays by the producer's clock."""

    def __init__(self, codec: Codec, watermarks: WatermarkIntake) -> None:
        """Prepare without proofs.

        Args:
            codec: decodes updates.
            watermarks: what producers had covered.
        """
        self.now = 0.0
        super().__init__(codec, watermarks, lambda: self.now)

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
        self.watermarks.take_past(watermark.row, watermark.record.offset, watermark.at_us / 1_000_000, self.now)
        self._has_news = True

    def claim(self, snapshot: Mapping[str, Any], is_new: bool) -> Claim:
        """Return what a BookSnapshot record claims. Reading order is no evidence here: records are ordered by time, not by Kafka."""
        del is_new
        return super().claim(snapshot, is_new=False)
