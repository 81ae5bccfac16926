"""The argument parser of one command: argparse, but an error is one line that names the nearest flag."""

import argparse
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from pydantic import BaseModel

from backpack_streams.cli.commands import Command
from backpack_streams.errors import UsageError
from backpack_streams.runtime.nearest import nearest
from backpack_streams.runtime.settings_sources import add_setting_flags


class OneLineParser(argparse.ArgumentParser):
    """Raises `UsageError` instead of printing the usage over several lines, as argparse does."""

    def error(self, message: str) -> NoReturn:
        """Raise `message` as a `UsageError`, with a hint at `--help`.

        Args:
            message: argparse's own text.

        Raises:
            UsageError: always.
        """
        message = message.removeprefix("argument ").replace("the following arguments are required: ", "missing: ")
        raise UsageError(f"{message} (see {self.prog} --help)")


class SettingHelpFormatter(argparse.HelpFormatter):
    """Wraps a setting's description, and keeps the line with its names unbroken, so that it can be searched."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        lines: list[str] = []
        for line in text.splitlines():
            lines += [line] if line.startswith("env ") else textwrap.wrap(line, width)
        return lines


def command_parser(program: str, command: Command, model: type[BaseModel]) -> OneLineParser:
    """Return the parser of a command: its positionals, and a flag for each setting.

    Args:
        program: name of the program, for the usage.
        command: its row in the table of commands.
        model: the class of its settings.
    """
    parser = OneLineParser(
        prog=f"{program} {command.name}",
        usage=" ".join([f"{program} {command.name}", *(_usage(command)), "[settings]"]),
        description=f"{command.summary[:1].upper()}{command.summary[1:]}.",
        epilog="A flag wins over an environment variable, which wins over the settings file.",
        formatter_class=SettingHelpFormatter,
        allow_abbrev=False,
    )
    for positional in command.positionals:
        parser.add_argument(
            positional.name,
            metavar=positional.metavar,
            help=positional.help,
            nargs="+" if positional.many else "?" if positional.optional else None,
            choices=positional.choices or None,
        )
    add_setting_flags(parser, model, command.name)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace | None:
    """Parse arguments. A flag must be written in full.

    Args:
        parser: from `command_parser`.
        arguments: everything after the command's name.

    Returns:
        The arguments; None if help was requested and printed.

    Raises:
        UsageError: a flag is unknown, an argument is missing, or there are too many. The message on an unknown flag
            names one that is spelled similarly, if there is one.
    """
    flags = {flag for action in parser._actions for flag in action.option_strings}
    for argument in arguments:
        if argument == "--":
            break
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in flags:
            raise UsageError(f"{flag} is no flag of {parser.prog}{_nearest_flag(flag, flags)}")
    try:
        namespace, unknown = parser.parse_known_args(arguments)
    except SystemExit:  # how argparse ends after --help
        return None
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not understood; see {parser.prog} --help")
    return namespace


def _nearest_flag(flag: str, flags: set[str]) -> str:
    return nearest(flag, flags) or "; --help lists them"


def _usage(command: Command) -> list[str]:
    return [f"{each.metavar}…" if each.many else each.metavar for each in command.positionals]
