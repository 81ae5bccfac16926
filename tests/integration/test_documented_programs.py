"""The programs in `examples/`, the README, the documents and the docstrings do what they say, beside a real Kafka."""

import ast
import asyncio
import builtins
import csv
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import backpack_streams
from backpack_streams.embedded import BlockingKafka
from plant import Plant, running_plant, wait_until

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:19092"
SECONDS = 60.0
LINES = 3
"""After so many lines a program that would go on for ever is stopped."""
DOCUMENTS = ("README.md", "docs/library.md", "docs/reading.md")
NOT_RUN = {
    "nautilus_book": "needs NautilusTrader",
    "duckdb": "needs DuckDB and Polars",
    ":18081": "needs a schema registry; test_schema_registry does the same",
    'pace="real"': "a moment of another time; test_past_books runs the like",
}


@pytest.fixture(scope="module")
def plant(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Books and trades under the names that documents use."""
    with running_plant(kafka.bootstrap_servers, tmp_path_factory.mktemp("plant"), "backpack.") as plant:
        plant.start_exchange("--symbols", "5", "--rate", "200")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth,trade,kline.1m")
        plant.books("BTC_USDC_PERP", "SOL_USDC")
        yield plant


# ---- examples/


class Program:
    """An example that runs until it has said enough, and is then interrupted as from a keyboard."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.out = folder / "out.txt"
        command = [sys.executable, str(ROOT / "examples" / name), *arguments]
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=dict(os.environ)
            )

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def until(self, what: str, holds: Callable[[], bool]) -> list[str]:
        try:
            wait_until(f"{what} ({self.out})", lambda: holds() or self.process.poll() is not None, SECONDS)
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            assert self.process.wait(30) == 0, self.out.read_text()
        finally:
            self.process.kill()
            self.process.wait()
        assert holds(), self.out.read_text()
        return self.lines()


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f'"{path.name}"' not in source] == []


def test_top_of_book(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "top_of_book.py", plant.bootstrap_servers, "BTC*", "SOL_USDC")

    def tops() -> set[str]:
        found = (re.fullmatch(r"(\S+) +[\d.]+ at [\d.]+ \| [\d.]+ at [\d.]+", line) for line in program.lines())
        return {match[1] for match in found if match}

    program.until("two markets have a touch", lambda: {"BTC_USDC_PERP", "SOL_USDC"} <= tops())


def test_trades_to_csv(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "trades_to_csv.py", plant.bootstrap_servers, "trades.csv", "SOL_USDC")
    file = tmp_path / "trades.csv"
    program.until("three trades are written", lambda: file.exists() and len(file.read_text().splitlines()) > LINES)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    ids = [int(row["trade_id"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(Decimal(row["price"]) > 0 and Decimal(row["quantity"]) > 0 for row in rows)
    assert {row["symbol"] for row in rows} == {"SOL_USDC"}


def test_notebook(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "notebook.py", plant.bootstrap_servers, "SOL_USDC")
    lines = program.until("it ends by itself", lambda: program.process.poll() is not None)
    assert re.match(r"SOL_USDC as of update \d+, touch Level\(", lines[0])
    assert any("buying 1000000000: " in line for line in lines)
    assert lines[-1].startswith("now at update ")


def test_level_changes(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "level_changes.py", plant.bootstrap_servers, "SOL_USDC")
    lines = program.until("twenty updates are followed", lambda: len(program.lines()) > 20)
    assert all(line.endswith("same True") for line in lines)


# ---- what documents show


def blocks_of(document: str) -> Iterator[tuple[str, str]]:
    text = (ROOT / document).read_text("utf-8")
    for number, source in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        yield f"{document} {number}", source


def blocks_of_docstring(name: str) -> Iterator[tuple[str, str]]:
    """The indented programs of a class's docstring."""
    doc = inspect.getdoc(getattr(backpack_streams, name)) or ""
    for number, block in enumerate(re.findall(r"(?:^    .*\n?|^\n(?=    ))+", doc, re.MULTILINE)):
        yield f"{name} {number}", textwrap.dedent(block)


ALL = [
    *(block for document in DOCUMENTS for block in blocks_of(document)),
    *(block for name in backpack_streams.__all__ for block in blocks_of_docstring(name)),
]
PROGRAMS = [(name, source) for name, source in ALL if ADDRESS in source]
RUN = {name: source for name, source in PROGRAMS if not any(word in source for word in NOT_RUN)}


def test_what_is_not_run_is_still_there() -> None:
    assert [word for word in NOT_RUN if not any(word in source for _, source in PROGRAMS)] == []
    assert len(RUN) >= 5


TYPED: dict[str, Any] = {}
if find_spec("backpack_streams.books.records"):  # the typed topics that docstrings name
    TYPED = vars(import_module("backpack_streams.books.records")).copy()


class _EnoughError(Exception):
    """It has printed what it would go on printing for ever."""


@pytest.mark.parametrize("name", RUN)
def test_a_documented_program_runs(plant: Plant, name: str) -> None:
    printed: list[tuple[Any, ...]] = []

    def note(*words: Any, **_: Any) -> None:
        printed.append(words)
        if len(printed) >= LINES:
            raise _EnoughError

    source = RUN[name].replace(ADDRESS, plant.bootstrap_servers)
    names = TYPED | {each: getattr(backpack_streams, each) for each in backpack_streams.__all__}
    given = {**vars(builtins), "print": note}
    namespace: dict[str, Any] = {**names, "asyncio": asyncio, "__builtins__": given, "__name__": "documented"}
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def wait_for_it() -> None:
        async with asyncio.timeout(SECONDS):
            await types.FunctionType(code, namespace)()

    with suppress(_EnoughError):
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(wait_for_it())
        else:
            exec(code, namespace)
    assert printed, "it prints nothing"
