"""Entry point of `backpack-streams`: finds the command, reads its settings, runs it, and turns errors into one line."""

import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from backpack_streams import __version__
from backpack_streams.cli.commands import COMMANDS, Command, load
from backpack_streams.cli.termination import EXIT_TERMINATED, Terminated, ends_on_sigterm, run_until_sigterm
from backpack_streams.errors import BackpackStreamsError, UsageError
from backpack_streams.shown_text import one_line

if TYPE_CHECKING:
    from backpack_streams.runtime.settings import LogSettings

PROGRAM = "backpack-streams"
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_PIPE_CLOSED = 128 + signal.SIGPIPE  # what shells show for a program whose reader has closed the pipe


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. Errors are printed as one line on stderr.

    Args:
        argv: the arguments without the program's name; None: those of the process.

    Returns:
        0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of the output closed the pipe, 143
        ended by SIGTERM. A command may return another code of its own.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with ends_on_sigterm():
            return _answer(arguments)
    except Terminated:
        return EXIT_TERMINATED


def _answer(arguments: list[str]) -> int:
    """Run the program and turn every error that a user can cause into one line on stderr and an exit code."""
    label = PROGRAM
    try:
        if not arguments or arguments[0].startswith("-"):
            return _without_command(arguments)
        command = _find(arguments[0])
        label = f"{PROGRAM} {command.name}"
        code = _run(command, arguments[1:])
        sys.stdout.flush()  # so that a closed pipe shows here, not at interpreter exit
        return code
    except BackpackStreamsError as error:
        _print_error(label, str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard(sys.stdout)
        return EXIT_PIPE_CLOSED


def _without_command(arguments: list[str]) -> int:
    if not arguments:
        names = ", ".join(command.name for command in COMMANDS)
        raise UsageError(f"which command? one of {names}; {PROGRAM} --help says what they do")
    if arguments[0] in ("-h", "--help"):
        print(_overview())
    elif arguments[0] in ("-V", "--version"):
        print(f"{PROGRAM} {__version__}")
    else:
        raise UsageError(f"{arguments[0]} comes before a command; write {PROGRAM} COMMAND {arguments[0]} …")
    sys.stdout.flush()
    return 0


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = [
        f"usage: {PROGRAM} COMMAND [--help] [settings]",
        "",
        "Backpack Exchange's market and perpetual-futures data in your own Kafka.",
        "",
        "commands:",
        *(f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS),
        "",
        f"{PROGRAM} COMMAND --help shows each setting as flag, environment variable and TOML key.",
        "Exit codes: 0 done, 1 failed, 2 wrong usage.",
    ]
    return "\n".join(lines)


def _find(name: str) -> Command:
    """Return the command of this name.

    Raises:
        UsageError: there is none; the message names one that is spelled similarly, or all of them.
    """
    for command in COMMANDS:
        if command.name == name:
            return command
    from backpack_streams.runtime.nearest import nearest

    names = [command.name for command in COMMANDS]
    hint = nearest(name, names) or f"; there are {', '.join(names)}"
    raise UsageError(f"no command is called {name!r}{hint}")


def _run(command: Command, arguments: list[str]) -> int:
    """Read the settings of a command and run it, in an event loop if its function is a coroutine function.

    Args:
        command: its row in the table of commands.
        arguments: everything after its name.

    Returns:
        The exit code; 0 after `--help`.

    Raises:
        UsageError: an argument or a setting is invalid, or the command's extra is not installed.
    """
    from backpack_streams.cli.parser import command_parser, parse
    from backpack_streams.runtime.settings import LogSettings
    from backpack_streams.runtime.settings_sources import read_settings

    model = load(command, command.settings)
    parser = command_parser(PROGRAM, command, model)
    namespace = parse(parser, arguments)
    if namespace is None:
        return 0
    read = read_settings(
        model,
        command.name,
        namespace,
        commands=[each.name for each in COMMANDS],
        names_elsewhere=_names_of_all_settings,
    )
    _configure_logging(read.settings if isinstance(read.settings, LogSettings) else LogSettings(), read.warnings)
    function = load(command, command.run)
    result = function(read.settings, *(getattr(namespace, positional.name) for positional in command.positionals))
    if isinstance(result, Coroutine):
        result = _run_in_loop(result)
    return result if isinstance(result, int) else 0


def _run_in_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    from backpack_streams.runtime.loop import loop_factory

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run_until_sigterm(coroutine))


def _configure_logging(settings: "LogSettings", warnings: Sequence[str]) -> None:
    import logging

    from backpack_streams.runtime.logging import configure_logging

    configure_logging(settings)
    for warning in warnings:
        logging.getLogger(__name__).warning(warning)


def _names_of_all_settings() -> frozenset[str]:
    """Return the names of the settings of every command whose extras are installed."""
    from backpack_streams.runtime.settings_fields import known_names

    models = []
    for command in COMMANDS:
        try:
            models.append(load(command, command.settings))
        except (ImportError, UsageError):  # not installed, so its names cannot be known
            continue
    return known_names(models)


def _print_error(label: str, message: str) -> None:
    try:
        print(f"{label}: {one_line(message)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Redirect `stream` to the null device, so that flushing it at interpreter exit does not fail again."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream without a file, as in tests
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _script() -> NoReturn:
    code = main()
    # Everything is done: Ctrl-C while the interpreter shuts down ends the process at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    _script()
