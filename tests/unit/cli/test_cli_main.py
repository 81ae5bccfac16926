"""What the program prints and returns, without Kafka or exchange."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import cli_probe_command
import pytest

from backpack_streams import __version__
from backpack_streams.cli import main as program
from backpack_streams.cli.commands import COMMANDS, Command, Positional
from backpack_streams.cli.main import main

SETTINGS = "cli_probe_command:ProbeSettings"
SYMBOLS = Positional("symbols", "SYMBOL", "markets", many=True)
ACTION = Positional("action", "apply|list", "what to do", choices=("apply", "list"))
PROBES = (
    Command("probe", "runs", SETTINGS, "cli_probe_command:run"),
    Command("many", "takes symbols", SETTINGS, "cli_probe_command:run", (SYMBOLS,)),
    Command("choice", "takes an action", SETTINGS, "cli_probe_command:run", (ACTION,)),
    Command("loop", "runs in a loop", SETTINGS, "cli_probe_command:run_async"),
    Command("fail", "fails", SETTINGS, "cli_probe_command:fail"),
    Command("interrupt", "is interrupted", SETTINGS, "cli_probe_command:interrupt"),
    Command("terminate", "is terminated", SETTINGS, "cli_probe_command:terminate"),
    Command("terminate-loop", "is terminated in a loop", SETTINGS, "cli_probe_command:terminate_async"),
    Command("pipe", "loses its reader", SETTINGS, "cli_probe_command:lose_reader"),
    Command("picture", "needs more", SETTINGS, "rich.not_there:run", extra="demo"),
    Command("broken", "has a bug", SETTINGS, "backpack_streams.not_there:run", extra="demo"),
)


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(program, "COMMANDS", PROBES)
    cli_probe_command.CALLS.clear()
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.strip()


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_each_command_in_one_line(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "COMMANDS", COMMANDS)
    assert main([flag]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        assert sum(line.split()[:1] == [command.name] and command.summary in line for line in lines) == 1
    assert all(len(line) <= 100 for line in lines)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"backpack-streams {__version__}\n"


def test_a_commands_exit_code_is_the_programs() -> None:
    assert main(["probe"]) == 0
    assert main(["probe", "--depth", "3"]) == 3
    assert main(["loop"]) == 7


def test_settings_and_positionals_reach_the_command() -> None:
    assert main(["many", "SOL_USDC", "AAPL.US_USDC_PERP", "--topic-prefix=x."]) == 0
    assert main(["choice", "list"]) == 0
    (settings, symbols), (_, action) = cli_probe_command.CALLS
    assert settings.topic_prefix == "x."
    assert symbols == ["SOL_USDC", "AAPL.US_USDC_PERP"]
    assert action == "list"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prob"], "backpack-streams: no command is called 'prob'; did you mean 'probe'?"),
        (["--depth"], "backpack-streams: --depth comes before a command; write backpack-streams COMMAND --depth …"),
        (
            ["probe", "--dept", "3"],
            "backpack-streams probe: --dept is no flag of backpack-streams probe; did you mean '--depth'?",
        ),
        (
            ["probe", "--depth"],
            "backpack-streams probe: --depth: expected one argument (see backpack-streams probe --help)",
        ),
        (["probe", "x"], "backpack-streams probe: 'x' is not understood; see backpack-streams probe --help"),
        (["probe", "-z"], "backpack-streams probe: '-z' is not understood; see backpack-streams probe --help"),
        (["many"], "backpack-streams many: missing: SYMBOL (see backpack-streams many --help)"),
        (
            ["probe", "--depth", "0"],
            "backpack-streams probe: --depth: '0' is not allowed; it must be a whole number, at least 1",
        ),
        (
            ["picture"],
            "backpack-streams picture: picture needs the extra 'demo' (rich is not installed): "
            "pip install 'backpack-streams[demo]'",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert one_line(capsys) == message


def test_a_wrong_choice_names_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["choice", "destroy"]) == 2
    line = one_line(capsys)
    assert "invalid choice: 'destroy'" in line
    assert "apply" in line


def test_no_command_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert one_line(capsys).startswith("backpack-streams: which command? one of probe, many")


def test_a_wrong_settings_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("depth = \n")
    assert main(["probe", "--config", str(path)]) == 2
    assert one_line(capsys).startswith(f"backpack-streams probe: {path}:1:9: not valid TOML: ")
    path.write_text("dept = 3\n")
    assert main(["probe", "--config", str(path)]) == 2
    assert one_line(capsys) == (f"backpack-streams probe: {path}: no setting is called dept; did you mean 'depth'?")


def test_an_unknown_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BACKPACK_STREAMS_DEPHT", "3")
    assert main(["probe"]) == 0
    assert "BACKPACK_STREAMS_DEPHT is not a setting and has no effect" in one_line(capsys)


def test_an_error_raised_on_purpose_is_one_line_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fail"]) == 1
    assert one_line(capsys) == "backpack-streams fail: Kafka cannot be reached at x: check bootstrap_servers"


def test_a_bug_of_ours_is_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        main(["broken"])


def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    # A shell starts what it puts in the background deaf to SIGINT, and the tests may run there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["interrupt"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["terminate", "terminate-loop"])
def test_sigterm_unwinds_a_command_and_is_quiet(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 143
    assert cli_probe_command.CALLS == [("closed",)]
    assert capsys.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_who_handles_sigterm_already_keeps_it() -> None:
    taken: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
    try:
        assert main(["terminate"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert taken == [signal.SIGTERM]


def test_a_reader_that_leaves_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipe"]) == 141
    assert capsys.readouterr().err == ""


def test_a_commands_help_names_every_setting_three_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["many", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith("usage: backpack-streams many SYMBOL… [settings] Takes symbols.")
    for attribute in cli_probe_command.ProbeSettings.model_fields:
        assert f"--{attribute.replace('_', '-')}" in words
        assert f"env BACKPACK_STREAMS_{attribute.upper()}" in words
        assert f"key {attribute} · default" in words
