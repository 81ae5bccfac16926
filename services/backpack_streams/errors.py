"""The error tree: every error that this project raises on purpose is a `BackpackStreamsError`.

A message says what happened, to what, and what to do about it. `exit_code` is the exit code of the command line
if the error reaches it: 1 failed, 2 wrong usage.
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
    """Base class of every error that backpack-streams raises on purpose."""

    exit_code = 1


class UsageError(BackpackStreamsError):
    """The user asked for something impossible: a bad flag, an unknown topic, a malformed settings file."""

    exit_code = 2


class ExchangeError(BackpackStreamsError):
    """The exchange refused a request, or its answer cannot be used."""


class BusError(BackpackStreamsError):
    """Kafka refused or lost something, or could not be reached."""


class CodecError(BackpackStreamsError):
    """A value does not fit its schema, or bytes are not a record of a known schema."""


class BookError(BackpackStreamsError):
    """A book cannot answer the question in its present state."""


class EmbeddedError(BackpackStreamsError):
    """The embedded Kafka or its Java is unavailable, did not start, or stopped."""
