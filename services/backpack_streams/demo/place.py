"""The demo as seen from outside: its addresses, its files, and how another terminal starts the program."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backpack_streams.demo.folder import DemoFolder
from backpack_streams.demo.pid_files import PidFiles
from backpack_streams.demo.ports import DemoPorts

__all__ = ["Place", "program_to_type"]

_PROGRAM: Final = "backpack-streams"


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses and files of one demo."""

    ports: DemoPorts
    logs: str
    pids: PidFiles
    what_to_try: Path
    program: str = _PROGRAM
    """How a shell starts this program."""

    @classmethod
    def of(cls, ports: DemoPorts, folder: DemoFolder) -> "Place":
        """Return the place of a demo in this folder."""
        return cls(ports, str(folder.logs), PidFiles(folder.pids), folder.what_to_try, program_to_type())

    @property
    def sandbox(self) -> str:
        """The sandbox's URLs."""
        return f"{self.ports.ws_url} {self.ports.rest_url} control {self.ports.control_url}"

    @property
    def exchange_in_short(self) -> str:
        """The exchange and its address, for a narrow terminal."""
        if self.ports.ws is None:
            return "the real one"
        return f"sandbox {self.ports.ws_url} {self.ports.rest_url} control :{self.ports.control}"


def program_to_type() -> str:
    """Return the program's name if a shell finds it, else the whole path of the one that runs now."""
    if shutil.which(_PROGRAM) is not None:
        return _PROGRAM
    started = Path(sys.argv[0]).absolute()
    if started.name == _PROGRAM and started.is_file():
        return shlex.quote(str(started))
    return f"{shlex.quote(sys.executable)} -m backpack_streams.cli.main"
