"""The keyboard of a terminal, key by key: its mode is set back however the command ends."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["typed_keys"]

_AT_ONCE: Final = 1024


@contextmanager
def typed_keys(take: Callable[[bytes], None]) -> Iterator[None]:
    r"""Within this context call `take` with what is typed, and do not echo it. Does nothing if stdin is no terminal.

    Ctrl-C still interrupts. Ctrl-\ and Ctrl-Z do not, because they would leave the terminal as it is here.

    Args:
        take: called in the event loop with the bytes of one or more keys, at most 1,024 at once.
    """
    if not sys.stdin.isatty():
        yield
        return
    number, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(number)

    def read() -> None:
        typed = b""
        with suppress(OSError):  # the terminal is gone
            typed = os.read(number, _AT_ONCE)
        if typed:
            take(typed)
        else:
            loop.remove_reader(number)

    try:
        tty.setcbreak(number, termios.TCSANOW)
        mode = termios.tcgetattr(number)
        mode[tty.CC][termios.VQUIT] = mode[tty.CC][termios.VSUSP] = os.fpathconf(number, "PC_VDISABLE").to_bytes()
        termios.tcsetattr(number, termios.TCSANOW, mode)
        loop.add_reader(number, read)
        yield
    finally:
        loop.remove_reader(number)
        with suppress(termios.error):  # the terminal is gone, and nothing can be set back
            termios.tcsetattr(number, termios.TCSAFLUSH, before)
