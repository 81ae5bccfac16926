"""The folder of Kafka's data and all logs: a permanent one, or a temporary one that is removed with the demo."""

import shutil
import tempfile
from pathlib import Path

from backpack_streams.demo.errors import DemoError

__all__ = ["DemoFolder"]

_TEMPORARY_PREFIX = "backpack-streams-demo-"


class DemoFolder:
    """A folder with `kafka` and `registry` (data), `logs`, and the account's key in it."""

    def __init__(self, path: Path, *, is_temporary: bool) -> None:
        self.path = path
        self.is_temporary = is_temporary
        self.kafka = path / "kafka"
        self.registry = path / "registry"
        self.logs = path / "logs"
        self.account_key = path / "account.key"

    @classmethod
    def open(cls, data_dir: Path | None) -> "DemoFolder":
        """Create the folder if it does not exist; None creates a temporary one.

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

    def close(self, *, keep_logs: bool) -> None:
        """Remove a temporary folder's data and key, and its logs unless `keep_logs`. Another folder stays as it is."""
        if self.is_temporary:
            for folder in (self.kafka, self.registry) if keep_logs else (self.path,):
                shutil.rmtree(folder, ignore_errors=True)
            self.account_key.unlink(missing_ok=True)
