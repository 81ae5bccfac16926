"""The folder of Kafka's data, all logs and the pid files: a permanent one, or a temporary one that is removed with the demo."""

import shutil
import tempfile
from pathlib import Path

from backpack_streams.demo.errors import DemoError

__all__ = ["DemoFolder"]

_TEMPORARY_PREFIX = "backpack-streams-demo-"


class DemoFolder:
    """A folder with `kafka` and `registry` (data), `logs`, `pids`, the account's key, and what to try in it."""

    def __init__(self, path: Path, *, is_temporary: bool) -> None:
        """Name the paths; `open` creates the folder.

        Args:
            path: the folder.
            is_temporary: whether `close` removes its data, and its logs unless they are to be kept.
        """
        self.path = path
        self.is_temporary = is_temporary
        self.kafka = path / "kafka"
        self.registry = path / "registry"
        self.logs = path / "logs"
        self.pids = path / "pids"
        self.what_to_try = path / "what-to-try.txt"
        self._is_claimed = False
        self.account_key = path / "account.key"

    @classmethod
    def open(cls, data_dir: Path | None) -> "DemoFolder":
        """Create the folder, and `logs` in it, if they do not exist.

        Args:
            data_dir: the folder; None creates a temporary one.

        Raises:
            DemoError: it cannot be written to.
        """
        try:
            is_temporary = data_dir is None
            path = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX)) if data_dir is None else data_dir.absolute()
            folder = cls(path, is_temporary=is_temporary)
            folder.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = data_dir or tempfile.gettempdir()
            raise DemoError(
                f"cannot write to the folder {where} ({error.strerror}): make it writable, or choose another with --data-dir"
            ) from error
        return folder

    def claim(self) -> None:
        """Begin with no pid and nothing to try. Call it once Kafka has locked its data: until then another demo may use the folder.

        Raises:
            DemoError: it cannot be written to.
        """
        self._is_claimed = True
        try:
            self._remove_what_holds_while_a_demo_runs()  # one that was killed left its files
            self.pids.mkdir()
        except OSError as error:
            raise DemoError(f"cannot write to the folder {self.path} ({error.strerror}): make it writable") from error

    def close(self, *, keep_logs: bool) -> None:
        """Remove the pid files, and of a temporary folder also data and key, and its logs unless `keep_logs`."""
        if self._is_claimed:
            self._remove_what_holds_while_a_demo_runs()
        if self.is_temporary:
            for folder in (self.kafka, self.registry) if keep_logs else (self.path,):
                shutil.rmtree(folder, ignore_errors=True)
            self.account_key.unlink(missing_ok=True)

    def _remove_what_holds_while_a_demo_runs(self) -> None:
        shutil.rmtree(self.pids, ignore_errors=True)
        self.what_to_try.unlink(missing_ok=True)
