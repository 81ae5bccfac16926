"""The one tree of errors: every error this project raises on purpose is a `BackpackStreamsError`.

A message says what happened, to what, and what to do about it. `exit_code` is what the command line
ends with when the error reaches it: 1 failed, 2 wrong usage.
"""

__all__ = [
    "BackpackStreamsError",
    "BookError",
    "BusError",
    "CodecError",
    "EmbeddedError",
    "ExchangeError",
    "UsageError",
]


class BackpackStreamsError(Exception):
    """Root of every error raised on purpose by backpack-streams."""

    exit_code = 1


class UsageError(BackpackStreamsError):
    """The user asked for something that cannot be: a bad flag, an unknown topic, a malformed settings file."""

    exit_code = 2


class ExchangeError(BackpackStreamsError):
    """The exchange refused a request or answered something that cannot be used."""


class BusError(BackpackStreamsError):
    """Kafka refused, lost or could not be asked something."""


class CodecError(BackpackStreamsError):
    """A value does not fit its schema, or bytes are not a record of a known schema."""


class BookError(BackpackStreamsError):
    """A question was asked of a book that it cannot answer in its state."""


class EmbeddedError(BackpackStreamsError):
    """The embedded Kafka or its Java could not be had, started or kept running."""
