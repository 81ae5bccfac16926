"""Entry point of `python -m backpack_sandbox`: `sandbox` of `backpack-streams`, or its `replay` if that word comes first."""

import sys
from collections.abc import Sequence

from backpack_streams.cli.main import main as run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sandbox with `argv` (default: the process's arguments) and return its exit code.

    `replay FILE` plays a recording in the exchange's place; everything else is flags of the sandbox.

    Args:
        argv: the arguments without the program's name; None: those of the process.

    Returns:
        The exit code of the command; 0 is success.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["replay"]:
        return run_command(arguments)
    return run_command(["sandbox", *arguments])


if __name__ == "__main__":
    sys.exit(main())
