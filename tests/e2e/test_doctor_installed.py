"""The installed `doctor` and `topics acls` without a plant: clear lines, exit codes, no traceback, a short runtime."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plant import PROGRAM, free_port

PARTS = ("kafka", "registry", "exchange", "key")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BACKPACK_STREAMS_")}
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean | environment,
    )


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port with a listener that is not a server of ours: it answers everything with `answer`, or never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        links: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:  # closed: the test is over
                    return
                links.append(link)
                if answer is not None:
                    threading.Thread(target=reply, args=(link, answer), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])
        for link in links:
            link.close()


def reply(link: socket.socket, answer: bytes) -> None:
    try:
        if link.recv(65536):
            link.sendall(answer)
        link.close()
    except OSError:  # the client closed the connection
        return


def everywhere(port: int, scheme: str = "") -> tuple[str, ...]:
    where = f"127.0.0.1:{port}"
    return (
        *("--bootstrap-servers", where, "--schema-registry-url", f"http{scheme}://{where}"),
        *("--ws-url", f"ws{scheme}://{where}", "--rest-url", f"http{scheme}://{where}"),
    )


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"\0\0\0\x06garbage!", bytes(range(256)) * 8],
    ids=["silence", "http", "short", "noise"],
)
@pytest.mark.parametrize("scheme", ["", "s"])
def test_any_answer_gives_a_table_and_exit_code_1(answer: bytes | None, scheme: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with listener(answer) as port:
        done = run("doctor", *everywhere(port, scheme), "--json", "--timeout", "15")
    assert time.monotonic() - began < 60, "15 s, and what a busy machine needs to start"
    assert done.returncode == 1
    assert done.stderr == ""
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["part"] for row in rows} == set(PARTS)
    assert {"kafka", "exchange"} <= {row["part"] for row in rows if row["state"] == "FAIL"}
    assert all(row["todo"] for row in rows if row["state"] in ("FAIL", "WARN"))
    assert "Traceback" not in done.stdout
    assert "unexpected" not in done.stdout


def test_missing_peers_are_reported_as_text_too() -> None:
    done = run("doctor", *everywhere(free_port()), SCHEMA_REGISTRY_URL="")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].endswith("SKIPPED")
    assert "nothing listens there" in done.stdout
    assert "→ " in done.stdout


def test_skipped_parts_cannot_fail() -> None:
    done = run("doctor", *everywhere(free_port()), "--skip", ",".join(PARTS), "--json")
    assert (done.returncode, {json.loads(line)["state"] for line in done.stdout.splitlines()}) == (0, {"SKIPPED"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "--skip", "kafak"),
        ("doctor", "--services", "gatewy"),
        ("doctor", "--timeout", "0"),
        ("doctor", "--bootstrap-servers", "nowhere"),
        ("doctor", "--security-protocol", "SSL", "--ssl-ca-file", __file__),
        ("doctor", "--security-protocol", "SASL_SSL"),
        ("topics", "acls", "--services", "gatewy"),
        ("topics", "acls", "--principal", "somebody"),
        ("topics", "grant"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_acls_are_printed_without_kafka() -> None:
    done = run("topics", "acls", "--services", "book-builder", "--principal", "User:CN=a b", "--group-id", "mine")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--allow-principal 'User:CN=a b'" in done.stdout
    assert "--operation Read --group mine" in done.stdout
    rows = [json.loads(line) for line in run("topics", "acls", "--json").stdout.splitlines()]
    assert {row["principal"] for row in rows} >= {"User:market-producer", "User:reader"}
