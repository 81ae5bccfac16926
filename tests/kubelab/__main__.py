"""`python -m kubelab build` compiles the tools; `python -m kubelab up` starts the control plane until Ctrl-C."""

import signal
import sys
import tempfile
from pathlib import Path

from kubelab.building import build, tool_path
from kubelab.control_plane import ControlPlane
from kubelab.errors import LabError

ENDING = {signal.SIGINT, signal.SIGTERM}
USAGE = "usage: python -m kubelab build | up"


def say(words: str) -> None:
    sys.stderr.write(f"lab: {words}\n")
    sys.stderr.flush()


def main() -> int:
    try:
        match sys.argv[1:]:
            case ["build"]:
                build(say)
            case ["up"]:
                build(say)
                up()
            case _:
                say(USAGE)
                return 2
    except LabError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("given up; the next run goes on from here")
        return 1
    return 0


def up() -> None:
    """Run a control plane until a signal, and say how to reach it."""
    with tempfile.TemporaryDirectory(prefix="kubelab-") as folder, ControlPlane(Path(folder)) as plane:
        say("ready; Ctrl-C ends it. In another terminal:")
        sys.stdout.write(f"export KUBECONFIG={plane.kubeconfig} PATH={tool_path('kubectl').parent}:$PATH\n")
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # only now: children would inherit it
        signal.sigwait(ENDING)


if __name__ == "__main__":
    sys.exit(main())
