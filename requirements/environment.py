"""Makes the virtual environment that one lock file describes, and leaves one that is already right alone.

Run by the Makefile with the machine's own Python, before anything is installed:

    python3 requirements/environment.py .venv requirements/dev.txt
    python3 requirements/environment.py --without-project .venv-lock requirements/lock.txt

An environment made from another lock, another Python or in another folder is thrown away and made anew, so nothing
stale stays in it. When only pyproject.toml or what is compiled changed, the project alone is installed
again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
TOOLS = ["./services/backpack_sandbox", "./services/embedded_kafka"]
PIP_OPTIONS = ["--quiet", "--no-input", "--disable-pip-version-check"]


def main() -> int:
    """Make or refresh one environment; return the exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--without-project"]
    if len(arguments) != 2:
        return fail("usage: environment.py [--without-project] FOLDER LOCK_FILE")
    with_project = "--without-project" not in sys.argv
    problem = problem_with_this_python()
    if problem:
        return fail(problem)
    folder, lock = Path(arguments[0]), Path(arguments[1])
    with lock.open("rb") as lock_file:
        # Two makes at once: the second waits and then finds everything done.
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        try:
            refresh(folder, lock, with_project)
        except subprocess.CalledProcessError as error:
            step = " ".join(error.cmd[1:4])
            return fail(f"{folder} is not ready: '{step} ...' failed, its own words are above")
        except KeyboardInterrupt:
            return fail(f"{folder} is not finished: the next make begins it anew")
    return 0


def problem_with_this_python() -> str:
    """Say why this Python cannot make the environment, or nothing if it can."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return f"{sys.executable} is Python {version}; 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."
    try:
        import ensurepip  # noqa: F401 - only asked for: Debian ships Python without it
        import venv  # noqa: F401 - as above
    except ImportError as error:
        return (
            f"{sys.executable} (Python {version}) has no module '{error.name}': install the system's venv package "
            "(Debian, Ubuntu: python3-venv) or name another Python: make PYTHON=/path/to/python3 ..."
        )
    return ""


def refresh(folder: Path, lock: Path, with_project: bool) -> None:
    """Install what is missing or stale; raises CalledProcessError when a step fails."""
    python = folder / "bin" / "python"
    packages_key = key_of(sys.version, os.path.realpath(sys.executable), str(folder.resolve()), lock.read_text())
    packages_stamp = folder / ".packages"
    if read(packages_stamp) != packages_key:
        count = sum("==" in line for line in lock.read_text().splitlines())
        say(f"making {folder} with Python {sys.version.split()[0]}: up to {count} packages of {lock}, once")
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", *PIP_OPTIONS, "--require-hashes", "-r", lock)
        packages_stamp.write_text(packages_key)

    compiled = sorted(Path("services").rglob("*.[ch]"))
    described = [Path(folder, "pyproject.toml") for folder in (".", *TOOLS)]
    project_key = key_of(*(path.read_text() for path in (*described, Path("hatch_build.py"), *compiled)))
    project_stamp = folder / ".project"
    if with_project and read(project_stamp) != project_key:
        # The build tools come from the lock too, so building fetches nothing.
        editable = [part for folder in (".", *TOOLS) for part in ("--editable", folder)]
        run(python, "-m", "pip", "install", *PIP_OPTIONS, "--no-deps", "--no-build-isolation", *editable)
        run(python, "-m", "pip", "--disable-pip-version-check", "check", stdout=subprocess.DEVNULL)
        project_stamp.write_text(project_key)


def run(*command: object, stdout: "int | None" = None) -> None:
    """Run one step with its errors in view; raises CalledProcessError when it fails."""
    subprocess.run([str(part) for part in command], check=True, stdout=stdout)


def key_of(*parts: str) -> str:
    """Return a text that differs when any of the parts does."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read(stamp: Path) -> str:
    """Return what a finished step left, or nothing if it never finished."""
    return stamp.read_text() if stamp.exists() else ""


def say(words: str) -> None:
    """Tell the user what takes time."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def fail(words: str) -> int:
    """Tell the user in one line what is wrong; return the exit code."""
    say(words)
    return 1


if __name__ == "__main__":
    sys.exit(main())
