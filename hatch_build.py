"""Compiles the quick ways of reading and writing records while the project is installed, where a C compiler is at hand.

Without one (or with BACKPACK_STREAMS_PURE=1 in the environment) the installation is pure Python: the same results, slower.
With BACKPACK_STREAMS_COMPILED=1 a module that cannot be compiled ends the build, since nobody would see it later.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "services/backpack_streams/**/_quick_*.c"


class CompileHook(BuildHookInterface[Any]):
    """What hatchling calls before it packs a wheel or links the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the compiled modules to what is packed, and says in the wheel's name that they are there."""
        for source in sorted(Path(self.root).glob(SOURCES)):
            if os.environ.get("BACKPACK_STREAMS_PURE"):
                if version == "editable":  # a wheel packs none; the source tree may be somebody's who runs from it
                    _target(source).unlink(missing_ok=True)
                continue
            compiled = compile_in_place(source)
            if compiled is not None:
                build_data["artifacts"].append(compiled.relative_to(self.root).as_posix())
                build_data["pure_python"] = False
                build_data["infer_tag"] = True


def compile_in_place(source: Path) -> Path | None:
    """The module beside its source; None where it cannot be made, after a line that says why."""
    target = _target(source)
    unfinished = source.with_suffix(f".{os.getpid()}.so")  # programs that run from this tree always find a module
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler, "-O2", "-fPIC", *shared, include, str(source), "-o", str(unfinished)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        unfinished.replace(target)
    except (OSError, subprocess.CalledProcessError) as error:
        unfinished.unlink(missing_ok=True)
        target.unlink(missing_ok=True)  # what was compiled from an older source
        words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        if os.environ.get("BACKPACK_STREAMS_COMPILED"):
            raise SystemExit(
                f"{source.name} cannot be compiled, and is asked to be: {words[0] if words else error}"
            ) from None
        sys.stderr.write(f"{source.name} is not compiled, pure Python does its work: {words[0] if words else error}\n")
        return None
    return target


def _target(source: Path) -> Path:
    return source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
