"""What is raised when the exchange's JSON cannot be understood, WebSocket message and REST row alike."""

from backpack_streams.errors import ExchangeError


class UnreadableMessageError(ExchangeError):
    """A message or a row is no JSON object, or a field is missing or has an impossible value; the text says which and why."""


def shown(value: object) -> str:
    """A value of the wire for such a text, cut if it is long."""
    return repr(value[:60]) if isinstance(value, str) else type(value).__name__
