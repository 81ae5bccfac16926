"""The answer of an endpoint before it is encoded: what is encoded once, and what is new with each request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Row"]

Row = Mapping[str, Any]
"""An object of an answer. Values are str, int, bool, None, `Decimal`, rows, and lists of these; never a float."""


@dataclass(slots=True)
class Answer:
    """The content of `data` in an envelope, in the order in which it is written.

    Copies made with `with_fresh` share `encoded`, so an encoder that stores its bytes there encodes `data` once.

    Attributes:
        data: the fields that are encoded once.
        fresh: fields after them that may change from request to request, such as `age_ms`.
        message: the envelope's message.
        encoded: bytes that encoders store, by a key of the encoder.
    """

    data: Row
    message: str
    fresh: Row = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict)

    def with_fresh(self, fresh: Row) -> "Answer":
        """Return the answer with other fresh fields; both share their encoded bytes."""
        return Answer(self.data, self.message, fresh, self.encoded)
