"""How the demo fails: a port that is taken, a folder that cannot be used, a program that ended by itself."""

from backpack_streams.errors import BackpackStreamsError, UsageError

__all__ = ["DemoError", "PortInUseError", "ProgramEndedError"]


class DemoError(BackpackStreamsError):
    """The demo cannot start or cannot go on."""


class PortInUseError(UsageError):
    """A port that the demo is to listen on is taken."""


class ProgramEndedError(DemoError):
    """One of the demo's programs ended although nobody asked it to."""
