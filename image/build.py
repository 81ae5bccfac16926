"""Builds the image with whichever of docker, podman and buildah works here, and says how large it is.

    python3 image/build.py                                   backpack-streams:<version>
    python3 image/build.py --target sandbox                  backpack-streams-sandbox:<version>, the stand-in for the exchange
    python3 image/build.py --tag registry/name:1 --no-cache  another name; what is not known here goes to the engine's build

What this machine's pip goes by (its index, proxy and certificates) is handed to the build as secrets, which no layer
keeps. The commit and its time go in as arguments, so that two builds of one commit are the same.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ENGINES = {
    "docker": ("docker", "buildx", "version"),  # its older builder knows no secrets
    "podman": ("podman", "info"),
    "buildah": ("buildah", "info"),
}
NAMES = {"service": "backpack-streams", "sandbox": "backpack-streams-sandbox"}
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class Stamp(NamedTuple):
    """What is built: the version, the commit, and the commit's time in seconds."""

    version: str
    revision: str
    epoch: str


def main() -> int:
    """Build; return the exit code."""
    parser = argparse.ArgumentParser(description="Builds the image and prints its size.")
    stamp = read_stamp()
    parser.add_argument("--engine", choices=ENGINES, help="what builds; the first that works unless given")
    parser.add_argument("--target", choices=("service", "sandbox"), default="service", help="which image (%(default)s)")
    parser.add_argument(
        "--tag", help=f"the image's name (backpack-streams:{stamp.version}, or backpack-streams-sandbox)"
    )
    options, others = parser.parse_known_args()
    if options.tag is None:
        options.tag = f"{NAMES[options.target]}:{stamp.version}"
    others = ["--target", options.target, *others]
    engine = options.engine or next(filter(works, ENGINES), None)
    if engine is None:
        return fail("no image can be built here: start docker (with buildx), or install podman or buildah")
    with tempfile.TemporaryDirectory() as secrets:
        command = build_command(engine, options.tag, stamp, write_secrets(Path(secrets)), others)
        if subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, "DOCKER_BUILDKIT": "1"}).returncode:
            return fail(f"{options.tag} is not built: {engine}'s own words are above")
    sys.stdout.write(f"{options.tag}, built by {engine} from {stamp.revision}: {size(engine, options.tag)}\n")
    return 0


def works(engine: str) -> bool:
    """Whether the program is here and can build; docker's also needs its daemon."""
    if shutil.which(engine) is None:
        return False
    checks = [ENGINES[engine], *([("docker", "version")] if engine == "docker" else [])]
    return all(subprocess.run(check, check=False, capture_output=True).returncode == 0 for check in checks)


def build_command(engine: str, tag: str, stamp: Stamp, secrets: dict[str, Path], others: list[str]) -> list[str]:
    """The engine's command line; only the docker format has health checks, and docker writes no other."""
    command = [engine, "build", "--tag", tag]
    if engine != "docker":
        command += ["--format", "docker", "--timestamp", stamp.epoch]
    arguments = {"VERSION": stamp.version, "REVISION": stamp.revision, "SOURCE_DATE_EPOCH": stamp.epoch}
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    for name, path in secrets.items():
        command += ["--secret", f"id={name},src={path}"]
    return [*command, *others, "."]


def read_stamp() -> Stamp:
    """What pyproject.toml and git say; outside of git the revision is unknown and the time is 0, unless SOURCE_DATE_EPOCH is set."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    revision = output("git", "rev-parse", "HEAD") or "unknown"
    if revision != "unknown" and output("git", "status", "--porcelain"):
        revision += "-dirty"
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct") or "0"
    return Stamp(version, revision, epoch)


def write_secrets(folder: Path) -> dict[str, Path]:
    """The secrets of the build by name: this machine's settings of pip as a file, and the certificates that it trusts."""
    settings = pip_settings()
    lines = [f"{name} = {value}".replace("\n", "\n    ") for name, value in settings.items() if name in PIP_SETTINGS]
    certificates = settings.get("cert") or next(filter(None, map(os.environ.get, CERTIFICATE_VARIABLES)), "")
    secrets = {}
    if Path(certificates).is_file():
        secrets["ca.pem"] = Path(certificates)
        lines.append("cert = /run/secrets/ca.pem")
    if lines:
        secrets["pip.conf"] = folder / "pip.conf"
        secrets["pip.conf"].write_text("\n".join(["[global]", *lines, ""]))
    return secrets


def pip_settings() -> dict[str, str]:
    """What pip goes by on this machine, from its files and variables; nothing where this Python has no pip."""
    settings: dict[str, str] = {}
    for line in output(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, found, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if found and section in ("global", "install", ":env:"):
            settings[key] = str(ast.literal_eval(value))
    return settings


def size(engine: str, tag: str) -> str:
    """How much room the image takes unpacked."""
    if engine == "buildah":
        return output("buildah", "images", "--format", "{{.Size}}", tag)
    return f"{int(output(engine, 'image', 'inspect', '--format', '{{.Size}}', tag)) / 1e6:.0f} MB"


def output(*command: str) -> str:
    """What a command prints; nothing where it fails."""
    try:
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def fail(words: str) -> int:
    """Tell the user in one line what is wrong; return the exit code."""
    sys.stderr.write(words + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
