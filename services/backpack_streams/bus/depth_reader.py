"""Reads DepthUpdate values as numbers: what a book takes of them, and no more.

Where it is compiled, `_quick_depth.c` reads what this version wrote, after it has shown on samples that it reads what the schema's
engine reads. Everything else (other versions' records, another schema, bytes that are none) goes by way of the codec.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from backpack_streams.bus.avro import engine
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import UnscaledNumbers
from backpack_streams.bus.quick_depth import compiled, sample_rows
from backpack_streams.errors import CodecError

__all__ = ["RECORD", "DepthNumbers", "DepthReader", "Levels"]

if TYPE_CHECKING:
    from backpack_streams.bus import _quick_depth as _typed  # typed by its stub
else:
    _typed = compiled

RECORD = "DepthUpdate"

Levels = list[tuple[int, int]]
"""Prices and quantities in units of 10**-18."""
DepthNumbers = tuple[int, int, int | None, Levels, Levels]
"""First and last update id, engine time (microseconds since the Unix epoch), bids, asks."""


class DepthReader:
    """Reads what one codec knows."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._number = UnscaledNumbers()
        self._compiled = self._compiled_decode()

    def read(self, value: bytes) -> DepthNumbers:
        """The numbers of one Kafka value.

        Raises:
            CodecError: the bytes are no depth update, or their schema is not known.
        """
        if self._compiled is not None:
            body = self._codec.own_body(value, RECORD)
            if body:
                numbers = self._compiled(value, body)
                if numbers is not None:
                    return numbers
        return self._by_codec(self._codec.decode(value)[1])

    def levels(self, levels: list[dict[str, bytes]]) -> Levels:
        """Levels as a record holds them, as numbers."""
        number = self._number
        return [(number[level["price"]], number[level["quantity"]]) for level in levels]

    def _by_codec(self, update: dict[str, Any]) -> DepthNumbers:
        try:
            bids, asks = self.levels(update["bids"]), self.levels(update["asks"])
            return update["first_update_id"], update["last_update_id"], update["engine_time"], bids, asks
        except KeyError as error:
            raise CodecError(f"the record is no depth update: it has no {error}") from error

    def _compiled_decode(self) -> Callable[[bytes, int], DepthNumbers | None] | None:
        """The compiled reader, where there is one and it reads this schema's samples as the engine does."""
        if compiled is None:
            return None
        by_engine = engine(self._codec.schema(RECORD).document)
        bodies = [by_engine.encode(row) for row in sample_rows()]
        is_right = all(_typed.decode(body, 0) == self._by_codec(by_engine.decode(body)) for body in bodies)
        return _typed.decode if is_right else None
