"""Starts what an image holds as an engine would: process 1 of its own namespace, the image's user, a read-only root, no privileges.

Chroot and namespaces do it, so no engine is needed. The network is the machine's, so that containers find each other,
the exchange's stand-in and the embedded Kafka on loopback.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plant import wait_until

# In namespaces of its own, so nothing of it is seen outside and all of it goes with the last process.
ENTER = """
set -e
root=$1; workdir=$2; user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
exec setpriv --no-new-privs --bounding-set=-all,+setuid,+setgid,+sys_chroot \\
    chroot --userspec="$user" --groups= "$root" /usr/bin/env -i --chdir="$workdir" "$@"
"""


class Container:
    """An image, unpacked."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root = root
        self.config = config

    def command_line(self, *command: str, variables: Mapping[str, str] | None = None) -> list[str]:
        """What starts `command`; in the image's environment, with `variables` over it."""
        environment = [*self.config["Env"], *(f"{name}={value}" for name, value in (variables or {}).items())]
        inside = (str(self.root), self.config["WorkingDir"], self.config["User"], *environment, *command)
        return ["unshare", "--fork", "--pid", "--mount", "sh", "-c", ENTER, "sh", *inside]

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """`docker run IMAGE ARGUMENTS`, to its end."""
        return self.run_instead(*self.config["Entrypoint"], *arguments, **variables)

    def run_instead(self, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Another command than the image's own, to its end."""
        line = self.command_line(*command, variables=variables)
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)

    @contextlib.contextmanager
    def started(self, log: Path, *arguments: str, **variables: str) -> "Iterator[Started]":
        """`docker run --detach IMAGE ARGUMENTS`; killed at the end where it still runs."""
        line = self.command_line(*self.config["Entrypoint"], *arguments, variables=variables)
        with log.open("wb") as out, subprocess.Popen(line, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as maker:
            running = Started(maker, log)
            try:
                yield running
            finally:
                running.signal(signal.SIGKILL)


class Started:
    """A running container; its log lies in `log`."""

    def __init__(self, maker: "subprocess.Popen[bytes]", log: Path) -> None:
        self.log = log
        self._maker = maker

    @property
    def process(self) -> int:
        """Its process 1, by the number it has outside; 0 where it has ended or not begun."""
        try:
            return int(Path(f"/proc/{self._maker.pid}/task/{self._maker.pid}/children").read_text().split()[0])
        except (OSError, IndexError):
            return 0

    def status(self) -> dict[str, str]:
        """What the kernel says of its process 1."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def signal(self, number: signal.Signals) -> None:
        if self.process:
            os.kill(self.process, number)

    def stop(self) -> int:
        """`docker stop`: its exit code."""
        self.signal(signal.SIGTERM)
        return self._maker.wait(40)

    def wait_for(self, what: str, words: str) -> str:
        """Its log, once it holds `words`."""

        def said() -> bool:
            assert self._maker.poll() is None, self.log.read_text()[-3000:]
            return words in self.log.read_text()

        wait_until(what, said)
        return self.log.read_text()


@contextlib.contextmanager
def unpacked(image: str, environment: dict[str, str]) -> Iterator[Container]:
    """A container of `image`, thrown away at the end."""

    def buildah(*words: str) -> str:
        done = subprocess.run(["buildah", *words], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
    name = buildah("from", image)
    try:
        yield Container(Path(buildah("mount", name)), config)
    finally:
        buildah("rm", name)
