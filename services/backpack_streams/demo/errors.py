"""Errors of the demo: a port is taken, a folder cannot be used, a program ended unexpectedly."""

from backpack_streams.errors import BackpackStreamsError, UsageError

__all__ = ["DemoError", "PortInUseError", "ProgramEndedError"]


class DemoError(BackpackStreamsError):
    """The demo cannot start or continue."""


class PortInUseError(UsageError):
    """A port that the demo needs is taken."""


class ProgramEndedError(DemoError):
    """One of the demo's programs ended by itself and cannot be started again."""
