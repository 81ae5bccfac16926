"""`top` in a terminal: its display, and the restored terminal after any end."""

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.demo_process import HOST, PROGRAM
from e2e.typed_terminal import TypedTerminal
from embedded_kafka.ports import free_ports

LIVE_WITHIN_SECONDS = 180
NOWHERE = "127.0.0.1:1"


def type_q(terminal: TypedTerminal) -> None:
    terminal.type("q")


def type_ctrl_c(terminal: TypedTerminal) -> None:
    terminal.type("\x03")


def send(number: signal.Signals) -> Callable[[TypedTerminal], None]:
    return lambda terminal: terminal.process.send_signal(number)


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [(type_q, 0), (type_ctrl_c, 130), (send(signal.SIGTERM), 143), (send(signal.SIGHUP), 129)],
    ids=["q", "Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_restored_however_it_ends(end: Callable[[TypedTerminal], None], exit_code: int) -> None:
    with TypedTerminal([*PROGRAM, "top", "--bootstrap-servers", NOWHERE]) as terminal:
        terminal.wait_for("Kafka has not answered yet: .*no market is known yet")
        assert not terminal.mode()[3] & (termios.ECHO | termios.ICANON)
        end(terminal)
        assert terminal.end() == exit_code
        terminal.check_restored()
        assert "Traceback" not in terminal.raw()
        assert "Unclosed" not in terminal.raw(), "its connections were closed, too"


def test_an_error_restores_the_terminal_too(tmp_path: Path) -> None:
    broken = "import backpack_streams.commands.top.terminal as t; t.page = None; "
    code = broken + "import sys; from backpack_streams.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with TypedTerminal([sys.executable, "-c", code, "top", "--bootstrap-servers", NOWHERE]) as terminal:
        assert terminal.end() == 1
        terminal.check_restored()
        assert "TypeError: 'NoneType' object is not callable" in terminal.raw()


def test_once_without_kafka_reports_that_kafka_is_unreachable() -> None:
    command = [*PROGRAM, "top", "--once", "--timeout", "5", "--bootstrap-servers", NOWHERE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"backpack-streams top: not read within 5 s: Kafka is unreachable at {NOWHERE}")


def test_without_rich_the_page_says_what_to_install() -> None:
    code = "import sys; sys.modules['rich'] = None; from backpack_streams.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with TypedTerminal([sys.executable, "-c", code, "top", "--bootstrap-servers", NOWHERE]) as terminal:
        terminal.wait_for(r"needs the extra 'top' \(rich is not installed\): pip install 'backpack-streams\[top\]'")
        assert terminal.end() == 2


@pytest.mark.parametrize(
    ("flags", "begins"), [((), "backpack-streams top   0 of 0 books LIVE"), (("--json",), '{"time": ')]
)
def test_without_a_terminal_it_prints_lines_until_the_pipe_is_closed(flags: tuple[str, ...], begins: str) -> None:
    command = [*PROGRAM, "top", "--bootstrap-servers", NOWHERE, "--interval", "0.1", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith(begins)
        process.stdout.close()
        assert process.wait(60) == 141


def test_demo_and_top_show_the_same_through_an_outage_of_kafka(tmp_path: Path) -> None:
    names = ("kafka", "ws", "rest", "control", "gateway")
    ports = dict(zip(names, free_ports(len(names), HOST), strict=True))
    flags = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
    with TypedTerminal([*PROGRAM, "demo", *flags, "--data-dir", str(tmp_path)]) as demo:
        demo.wait_for("12 of 12 books LIVE.*age  .*BTC_USDC_PERP +.* LIVE", LIVE_WITHIN_SECONDS)
        with TypedTerminal([*PROGRAM, "top", "--bootstrap-servers", f"{HOST}:{ports['kafka']}"]) as top:
            top.wait_for("12 of 12 books LIVE.*age  .*BTC_USDC_PERP +.* LIVE")
            top.type("/btc perp\r")
            top.wait_for("search 'btc perp', Esc shows all")
            top.type("\x1b")
            top.resize(60, 16)
            top.wait_for(r"\d+-\d+ of 14 markets; \d+ of the others LIVE")

            kafka = int((tmp_path / "pids" / "kafka").read_text())
            os.kill(kafka, signal.SIGSTOP)
            try:
                top.wait_for("Kafka has not answered for ")
                top.wait_for(r"\b0 of 12 books LIVE")
                demo.wait_for("Kafka has not answered for ")
            finally:
                os.kill(kafka, signal.SIGCONT)
            top.wait_for("12 of 12 books LIVE", LIVE_WITHIN_SECONDS)
            demo.wait_for("12 of 12 books LIVE", LIVE_WITHIN_SECONDS)
            top.type("q")
            assert top.end() == 0
            top.check_restored()
        demo.type("\x03")
        assert demo.end(60) == 0
        demo.check_restored()
        assert "Traceback" not in demo.raw() + top.raw()
