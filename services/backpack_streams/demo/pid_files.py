"""A file for each running program that holds its process id, so that a command can name a program whose pid changes."""

import logging
from pathlib import Path

__all__ = ["PidFiles"]

logger = logging.getLogger(__name__)


class PidFiles:
    """The files of one demo. A file that cannot be written is only logged: the demo does not depend on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a program, which exists while the program runs."""
        return self._folder / name

    def write(self, name: str, pid: int | None) -> None:
        """Note the pid of a program that has been started.

        Args:
            name: the program, which is also the name of the file.
            pid: its process id; None if it has ended already, and nothing is written.
        """
        try:
            if pid is not None:
                self.path(name).write_text(f"{pid}\n", encoding="ascii")
        except OSError as error:
            logger.warning("a pid cannot be written", extra={"program": name, "error": str(error)})

    def remove(self, name: str) -> None:
        """Forget the pid of a program that has ended."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a pid cannot be removed", extra={"program": name, "error": str(error)})
