"""The image, built from the Dockerfile and started as an engine would start it."""

import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from backpack_streams import __version__
from backpack_streams.cli.commands import COMMANDS
from embedded_kafka import BlockingKafka
from image.conftest import Build
from image.container import Container
from plant import free_port, get, wait_until
from reading import read_topic

# A build takes a minute, the bases that it needs a few more; two are made.
pytestmark = pytest.mark.timeout(1800)
USER = 10001
PREFIX = "image."


def test_the_size_is_told(build: Build) -> None:
    said = re.search(r"built by buildah from (\w+)(?:-dirty)?: (\d+) MB$", build.last_line)
    assert said, build.last_line
    assert 50 < int(said[2]) < 400, "of this, some 200 MB are Debian and its Python"


def test_it_says_what_it_is_and_how_to_run_it(container: Container) -> None:
    config = container.config
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["backpack-streams"]
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["ExposedPorts"]) == ["9400/tcp"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "backpack-streams"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == __version__
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert "data" in labels["description"]


# ---- what is in it


class File(NamedTuple):
    mode: int
    owner: int
    group: int
    content: str


def tree(root: Path, *folders: str) -> dict[str, File]:
    found = {}
    for folder in folders:
        for path in (root / folder, *(root / folder).rglob("*")):
            status = path.lstat()
            content = ""
            if path.is_symlink():
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = File(status.st_mode, status.st_uid, status.st_gid, content)
    return found


def test_two_builds_are_the_same(container: Container, again: Container) -> None:
    first, second = (tree(each.root, "opt", "data", "etc", "usr", "var") for each in (container, again))
    assert len(first) > 5000
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()
    times = {path.lstat().st_mtime for path in (container.root / "opt" / "backpack-streams").rglob("*")}
    assert len(times) == 1


def test_all_is_compiled_to_byte_code_that_python_takes_without_looking_at_times(container: Container) -> None:
    """PEP 552: the word after the magic number says 1, a hash, which is not checked. A time would be that of the build."""
    flags = [path.read_bytes()[4:8] for path in (container.root / "opt").rglob("*.pyc")]
    assert len(flags) > 1000
    assert set(flags) == {b"\x01\0\0\0"}


def test_there_is_nothing_to_build_with_and_nothing_left_of_the_build(container: Container) -> None:
    files = tree(container.root, "usr", "opt")
    programs = {
        Path(name).name for name, file in files.items() if not stat.S_ISDIR(file.mode) and file.mode & stat.S_IXUSR
    }
    assert "python3" in programs
    tools = re.compile(r"(\S+-)?(gcc|g\+\+|c\+\+|cc|cc1|clang|tcc|ld|as|make|cargo|rustc)(-[\d.]+)?")
    assert sorted(name for name in programs if tools.fullmatch(name)) == []
    assert [
        path for path in ("source", "build", "root/.cache", "run/secrets") if (container.root / path).exists()
    ] == []
    assert [name for name in files if name.startswith("opt/") and name.endswith("/site-packages/pip")] == []


def test_its_user_may_write_to_its_data_folder_and_to_nothing_else_of_ours(container: Container) -> None:
    files = tree(container.root, "opt", "data")
    assert files["data"][1:3] == (USER, USER)
    mine = {name for name, file in files.items() if USER in (file.owner, file.group)}
    open_to_all = {name for name, file in files.items() if file.mode & stat.S_IWOTH and not stat.S_ISLNK(file.mode)}
    assert mine | open_to_all == {"data"}


# ---- what it does, as a user without a name on a root that cannot be written


def test_it_answers(container: Container) -> None:
    assert container.run("--version").stdout == f"backpack-streams {__version__}\n"
    for words in ((), tuple(container.config["Cmd"])):
        done = container.run(*words)
        assert done.returncode == (0 if words else 2)
        assert "market-producer" in done.stdout + done.stderr


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_each_command_is_there_or_names_the_extra_that_it_needs(container: Container, command: str) -> None:
    done = container.run(command, "--help")
    if command in ("demo", "kafka", "registry", "sandbox", "replay", "export"):
        assert done.returncode in (0, 2)
        assert (done.returncode == 0) or re.search(r"needs the extra '(demo|embedded|export|sandbox)'", done.stderr)
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: backpack-streams {command}")


def test_what_is_compiled_is_used(container: Container) -> None:
    program = (
        "from backpack_streams.bus import quick_depth, quick_rows; from backpack_streams.books import _quick_levels; "
        "import cavro, uvloop; print(quick_depth.compiled.__file__, quick_rows.compiled.__file__, _quick_levels.__file__)"
    )
    done = container.run_instead("python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith("/opt/backpack-streams/") and path.endswith(".so") for path in done.stdout.split())


def test_every_compiled_module_can_be_loaded(container: Container) -> None:
    """They were stripped of their symbols for debugging, which may go too far."""
    program = (
        "import ctypes, pathlib, sys\n"
        "for path in pathlib.Path(sys.prefix, 'lib').rglob('*.so'):\n"
        "    ctypes.CDLL(str(path)); print(path)"
    )
    done = container.run_instead("python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 30


def test_it_is_nobody_with_nothing_to_write_on(container: Container) -> None:
    program = (
        "import json, os, pathlib\n"
        "def writes(folder):\n"
        "    try: pathlib.Path(folder, 'x').write_text('x'); return True\n"
        "    except OSError: return False\n"
        "may = [writes(folder) for folder in ('/', '/opt', '/data', '/tmp')]\n"
        "print(json.dumps([os.getpid(), os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), *may]))"
    )
    done = container.run_instead("python", "-c", program)
    assert json.loads(done.stdout) == [1, USER, USER, [], "/data", False, False, False, True], done.stderr


def test_a_market_producer_brings_the_stand_ins_market_into_kafka(
    container: Container, sandbox_image: Container, kafka: BlockingKafka, tmp_path: Path
) -> None:
    ws, rest, control, metrics = (free_port() for _ in range(4))
    settings = {
        "BACKPACK_STREAMS_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "BACKPACK_STREAMS_TOPIC_PREFIX": PREFIX,
        "BACKPACK_STREAMS_WS_URL": f"ws://127.0.0.1:{ws}",
        "BACKPACK_STREAMS_REST_URL": f"http://127.0.0.1:{rest}",
        "BACKPACK_STREAMS_METRICS_PORT": str(metrics),
    }
    done = container.run("topics", "apply", **settings)
    assert done.returncode == 0, done.stderr
    ports = ("--ws-port", str(ws), "--rest-port", str(rest), "--control-port", str(control))
    health = tuple(container.config["Healthcheck"]["Test"][1:])
    with (
        sandbox_image.started(tmp_path / "sandbox.log", "sandbox", *ports) as sandbox,
        container.started(tmp_path / "producer.log", "market-producer", **settings) as producer,
    ):
        sandbox.wait_for("the stand-in is ready", "ready")
        producer.wait_for("the producer has started", "service starting")
        status = producer.status()
        assert status["NSpid"].split()[-1] == "1"
        assert set(status["Uid"].split()) == {str(USER)}
        assert int(status["CapEff"], 16) == 0
        wait_until("it is ready", lambda: is_ready(metrics))
        assert container.run_instead(*health, **settings).returncode == 0
        topic = f"{PREFIX}market.depth"
        with container.started(tmp_path / "tail.log", "tail", topic, "--json", "--from-beginning", **settings) as tail:
            tail.wait_for("a record is shown", '"last_update_id"')
            assert tail.stop() == 143, tail.log.read_text()
        assert producer.stop() == 0, producer.log.read_text()
        unwell = container.run_instead(*health, **settings)
        assert (unwell.returncode, "does not answer" in unwell.stderr) == (1, True)
        assert sandbox.stop() == 0, sandbox.log.read_text()
    assert "service stopped" in producer.log.read_text()
    depth = read_topic(kafka.bootstrap_servers, topic, "DepthUpdate")
    assert len({each.key for each in depth}) >= 10
    assert read_topic(kafka.bootstrap_servers, f"{PREFIX}ops.dead_letter", "DeadLetter") == []


def test_the_services_image_carries_no_tool(container: Container, sandbox_image: Container) -> None:
    for command, extra in (("sandbox", "sandbox"), ("replay", "sandbox"), ("kafka", "embedded")):
        done = container.run(command, "--help")
        assert (done.returncode, f"needs the extra '{extra}'" in done.stderr) == (2, True), done.stderr
    assert not list(container.root.rglob("site-packages/backpack_sandbox"))
    assert not list(container.root.rglob("site-packages/embedded_kafka"))
    assert sandbox_image.run("sandbox", "--help").returncode == 0
    assert sandbox_image.config["Cmd"] == ["sandbox", "--host", "*"]


def is_ready(port: int) -> bool:
    try:
        return "ready" in get(f"http://127.0.0.1:{port}/readyz")
    except OSError:
        return False


def test_nothing_that_this_machines_pip_goes_by_is_in_it(build: Build) -> None:
    history = subprocess.run(
        ["buildah", "inspect", "--type", "image", build.name],
        check=False,
        env=build.environment,
        capture_output=True,
        text=True,
    ).stdout
    for secret in ("pip.conf", "ca.pem", "index-url"):
        assert secret not in history
