"""`backpack-streams top`: the markets and the health of the plant, from Kafka alone."""

import asyncio
import os
import shutil
import sys
import time
from typing import Final, NoReturn

from backpack_streams.commands.top.choices import Choices
from backpack_streams.commands.top.settings import TopSettings
from backpack_streams.errors import BackpackStreamsError, UsageError
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection
from backpack_streams.screen.lines import cut, plain_text
from backpack_streams.screen.page import summary, whole
from backpack_streams.screen.reading import PlantReading
from backpack_streams.screen.view import View, as_json

TITLE: Final = "backpack-streams top"
_LOOK_SECONDS: Final = 0.1
_PICTURE_SECONDS: Final = 1.0
_SUMMARY_SECONDS: Final = 10.0
_PLAIN_WIDTH: Final = 160
"""Characters of a line where no terminal says how wide it is."""


class NotReadError(BackpackStreamsError):
    """What Kafka holds could not be read in time."""


async def run(settings: TopSettings) -> int:
    """Show markets and plant: on a terminal a page that is drawn again and again, elsewhere lines from time to time.

    Args:
        settings: Kafka, the order and search to begin with, the output, and its interval in seconds.

    Returns:
        The exit code: 0 after `q` and with `--once`, 129 if the terminal hung up (SIGHUP).

    Raises:
        NotReadError: with `--once`, what Kafka holds could not be read in time.
        UsageError: the page needs rich, which is not installed.
    """
    reading = PlantReading(kafka_connection(settings), kafka_codec(settings), settings.topic_prefix, settings.max_age)
    tasks = [
        asyncio.create_task(_show(reading, settings), name="show"),
        asyncio.create_task(reading.run(), name="read"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(code for code in [task.result() for task in done] if code is not None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show(reading: PlantReading, settings: TopSettings) -> int:
    choices = Choices(settings.sort, settings.search)
    if settings.once:
        await _until_read(reading, settings.timeout)
        _print(reading.view(), choices, settings)
        return 0
    if settings.json_output:
        return await _keep_printing(reading, choices, settings, settings.interval or _PICTURE_SECONDS)
    if not _is_screen():
        return await _keep_summing_up(reading, settings.interval or _SUMMARY_SECONDS)
    try:
        from backpack_streams.commands.top.terminal import show
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        raise UsageError(
            "the page of top needs the extra 'top' (rich is not installed): pip install 'backpack-streams[top]'; "
            "--once and --json need no extra"
        ) from None
    return await show(reading, choices, settings.interval or _PICTURE_SECONDS, settings)


def _is_screen() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


async def _until_read(reading: PlantReading, seconds: float) -> None:
    """Wait until everything that Kafka held at the start has been read.

    Raises:
        NotReadError: that took longer than `seconds`; the message says what is missing.
    """
    deadline = time.monotonic() + seconds
    while unknown := reading.unknown():
        if time.monotonic() > deadline:
            raise NotReadError(f"not read within {seconds:g} s: {unknown}; give more time with --timeout")
        await asyncio.sleep(_LOOK_SECONDS)


async def _keep_printing(reading: PlantReading, choices: Choices, settings: TopSettings, interval: float) -> NoReturn:
    while True:
        _print(reading.view(), choices, settings)
        await asyncio.sleep(interval)


async def _keep_summing_up(reading: PlantReading, interval: float) -> NoReturn:
    while True:
        for each in summary(TITLE, reading.view()):
            print(plain_text(each))
        sys.stdout.flush()
        await asyncio.sleep(interval)


def _print(view: View, choices: Choices, settings: TopSettings) -> None:
    rows = choices.rows(view.rows)
    if settings.json_output:
        print(as_json(view, rows))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
        for each in whole(TITLE, view, rows, width, choices.order):
            print(plain_text(cut(each, width)))
    sys.stdout.flush()
