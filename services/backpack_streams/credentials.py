"""Passwords, tokens and certificates that lie in files, which something else renews while we run.

Each is read again when a connection is made and the file has changed. What is there only by half, a certificate before its key or a
file that is just written, is no reason to end: what was last read whole goes on to be used, and the next connection looks again.
"""

import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from backpack_streams.errors import UsageError
from backpack_streams.shown_text import LINE_ENDS

__all__ = ["Renewed", "RenewedContext", "SecretFile", "UnfitFilesError"]

logger = logging.getLogger(__name__)

Made = TypeVar("Made")
_Signature = tuple[tuple[int, int, int] | None, ...]


class UnfitFilesError(UsageError):
    """Files exist, but cannot be used together: they are wrong, or something is replacing them one after the other at this moment."""


class SecretFile:
    """A secret in a file of its own, without the line end at its end. `name` is that of the setting."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name
        self._last: str | None = None

    def read(self) -> str:
        """The secret as it stands in the file now; the last one while the file is away or empty.

        Raises:
            UsageError: there was none yet.
        """
        try:
            secret = self._file.read_bytes().decode("utf-8").rstrip(LINE_ENDS)
            reason = "" if secret else "is empty"
        except OSError as error:
            secret, reason = "", f"cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            secret, reason = "", "is not UTF-8 text"
        if secret:
            self._last = secret
        elif self._last is None:
            raise UsageError(f"the file {self._file} {reason}: check {self._name}")
        else:
            logger.warning("a secret's file %s; the last one is used", reason, extra={"file": str(self._file)})
        return self._last


class Renewed(Generic[Made]):
    """Something that `make` makes of files, and makes again once they have changed.

    Raises:
        UsageError: `make` raised it, at the first time. Later, what was made last stays.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], Made]) -> None:
        self._files = files
        self._make = make
        self._made_of = self._looked_at = _signature(files)
        self._current = make()

    def current(self) -> Made:
        """What was made of the files as they are now, as far as they fit together."""
        seen = _signature(self._files)
        if seen == self._made_of:
            return self._current
        try:
            self._current = self._make()
        except UsageError as error:
            if seen != self._looked_at:
                logger.warning(
                    "changed files cannot be used yet; what they held before is", extra={"error": str(error)}
                )
        else:
            self._made_of = seen
            logger.info("files have changed and are used", extra={"files": [str(each) for each in self._files]})
        self._looked_at = seen
        return self._current


class RenewedContext(ssl.SSLContext):
    """A TLS context whose connections use what its files hold when they are made.

    `load` makes a context of the files.

    Raises:
        UsageError: `load` raised it, at the first time. Later, what was loaded last stays.
    """

    def __new__(cls, files: Sequence[Path], load: Callable[[], ssl.SSLContext]) -> Self:
        """Python makes a context of its protocol."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, files: Sequence[Path], load: Callable[[], ssl.SSLContext]) -> None:
        self._files = Renewed(files, load)
        self._protocols: list[str] | None = None
        current = self._files.current()
        self.check_hostname = current.check_hostname
        self.verify_mode = current.verify_mode

    def current(self) -> ssl.SSLContext:
        """What the files hold, as far as they fit together."""
        current = self._files.current()
        if self._protocols is not None:
            current.set_alpn_protocols(self._protocols)
        return current

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As `ssl.SSLContext`, for all connections from now on."""
        self._protocols = list(alpn_protocols)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext`, with the current files: asyncio's way to make a connection."""
        return self.current().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext`, with the current files."""
        return self.current().wrap_socket(*arguments, **options)

    def get_ca_certs(self, *arguments: Any, **options: Any) -> Any:
        """As `ssl.SSLContext`, of the current files."""
        return self.current().get_ca_certs(*arguments, **options)


def _signature(files: Sequence[Path]) -> _Signature:
    """What changes when a file does; a mounted secret is replaced by another one behind the same name."""
    return tuple(_of_file(each) for each in files)


def _of_file(file: Path) -> tuple[int, int, int] | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
