"""Decodes DepthUpdate values to numbers: only the fields that a book needs.

If `_quick_depth.c` is compiled, it decodes records of this version's schema, after it has matched the schema's engine
on samples. All other values (other versions' records, other schemas, invalid bytes) go through the codec.
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
"""Price and quantity of each level, in units of 10**-18."""
DepthNumbers = tuple[int, int, int | None, Levels, Levels]
"""First and last update id, engine time (µs since the Unix epoch, None if unknown), bids, asks."""


class DepthReader:
    """Decodes depth updates of every schema that its codec knows."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._number = UnscaledNumbers()
        self._compiled = self._compiled_decode()

    def read(self, value: bytes) -> DepthNumbers:
        """Return the numbers of one Kafka value.

        Raises:
            CodecError: the bytes are not a depth update, or their schema is unknown.
        """
        if self._compiled is not None:
            body = self._codec.own_body(value, RECORD)
            if body:
                numbers = self._compiled(value, body)
                if numbers is not None:
                    return numbers
        return self._by_codec(self._codec.decode(value)[1])

    def levels(self, levels: list[dict[str, bytes]]) -> Levels:
        """Return a record's levels as numbers."""
        number = self._number
        return [(number[level["price"]], number[level["quantity"]]) for level in levels]

    def _by_codec(self, update: dict[str, Any]) -> DepthNumbers:
        try:
            bids, asks = self.levels(update["bids"]), self.levels(update["asks"])
            return update["first_update_id"], update["last_update_id"], update["engine_time"], bids, asks
        except KeyError as error:
            raise CodecError(f"the record is not a depth update: it has no {error}") from error

    def _compiled_decode(self) -> Callable[[bytes, int], DepthNumbers | None] | None:
        """Return the compiled decoder if it exists and decodes samples of this schema as the engine does."""
        if compiled is None:
            return None
        by_engine = engine(self._codec.schema(RECORD).document)
        bodies = [by_engine.encode(row) for row in sample_rows()]
        is_right = all(_typed.decode(body, 0) == self._by_codec(by_engine.decode(body)) for body in bodies)
        return _typed.decode if is_right else None
