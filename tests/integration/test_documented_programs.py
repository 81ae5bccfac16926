"""The programs in `examples/`, the README, the documentation and the docstrings work as described, with a real Kafka."""

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
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import backpack_streams
from embedded_kafka import BlockingKafka
from gateway_answers import ReadApi
from plant import Plant, running_plant, wait_until

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:19092"
SECONDS = 60.0
LINES = 3
"""A program that never ends is stopped after so many lines."""
DOCUMENTS = tuple(
    path.relative_to(ROOT).as_posix() for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
)
RUN_ELSEWHERE = {"duckdb_over_export.py": "unit/books/adapters/test_duckdb_example.py"}
"""Examples that need a library of the other environment."""
NOT_RUN = {
    "nautilus_book": "needs NautilusTrader",
    "duckdb": "needs DuckDB and Polars",
    ":18081": "needs a schema registry; test_schema_registry does the same",
    'pace="real"': "a moment of another time; test_past_books runs the like",
}


@pytest.fixture(scope="module")
def plant(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Books and trades under the names in the documentation."""
    with running_plant(kafka.bootstrap_servers, tmp_path_factory.mktemp("plant"), "backpack.") as plant:
        plant.start_exchange("--symbols", "5", "--rate", "200")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth,bookTicker,trade,kline.1m")
        plant.start_ready("perp-producer")
        plant.books("BTC_USDC_PERP", "SOL_USDC")
        yield plant


# ---- examples/


class Program:
    """An example that runs until it has printed enough, and is then interrupted as with Ctrl-C."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.out = folder / "out.txt"
        command = [sys.executable, str(ROOT / "examples" / name), *arguments]
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=dict(os.environ)
            )

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def until(self, what: str, holds: Callable[[], bool], seconds: float = SECONDS) -> list[str]:
        try:
            wait_until(f"{what} ({self.out})", lambda: holds() or self.process.poll() is not None, seconds)
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            assert self.process.wait(30) == 0, self.out.read_text()
        finally:
            self.process.kill()
            self.process.wait()
        assert holds(), self.out.read_text()
        return self.lines()

    def to_its_end(self) -> list[str]:
        return self.until("it ends by itself", lambda: self.process.poll() is not None, 4 * SECONDS)


def test_every_example_has_a_test() -> None:
    source = Path(__file__).read_text()
    for name, test in RUN_ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / "tests" / test).read_text()
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
    lines = program.to_its_end()
    assert re.match(r"SOL_USDC as of update \d+, touch Level\(", lines[0])
    assert any("buying 1000000000: " in line for line in lines)
    assert lines[-1].startswith("now at update ")


def test_level_changes(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "level_changes.py", plant.bootstrap_servers, "SOL_USDC")
    lines = program.until("twenty updates are followed", lambda: len(program.lines()) > 20)
    assert all(line.endswith("same True") for line in lines)


def test_read_api_stream(plant: Plant, tmp_path: Path) -> None:
    api = ReadApi(plant)
    api.wait_ready()
    program = Program(tmp_path, "read_api_stream.py", f"ws://127.0.0.1:{api.port}/v1/stream", "SOL_USDC")
    lines = program.until("twenty states are printed", lambda: len(program.lines()) > 20)
    states = [line.split() for line in lines if re.fullmatch(r"\d+ [\d.]+ [\d.]+", line)]
    assert len(states) > 20
    assert [int(sequence) for sequence, _, _ in states] == sorted(int(sequence) for sequence, _, _ in states)
    assert all(Decimal(bid) < Decimal(ask) for _, bid, ask in states)


def test_read_api_stream_notices_a_gateway_that_hangs(plant: Plant, tmp_path: Path) -> None:
    api = ReadApi(plant)
    api.wait_ready()
    program = Program(tmp_path, "read_api_stream.py", f"ws://127.0.0.1:{api.port}/v1/stream", "SOL_USDC")
    wait_until("it prints the book", lambda: bool(program.lines()))
    api.service.suspend()
    assert program.process.wait(SECONDS) == 1
    assert program.lines()[-1] == "the gateway fell silent: the book is not LIVE any more"


def test_bars(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "bars.py", plant.bootstrap_servers, "SOL_USDC", "2")

    def bars() -> list[re.Match[str]]:
        found = (
            re.fullmatch(r"(\S+) (?:no trades|([\d. ]+) volume ([\d.]+) in (\d+))", each) for each in program.lines()
        )
        return [match for match in found if match]

    lines = program.until("four bars are closed", lambda: len(bars()) >= 4)
    assert len(bars()) == len(lines), "each bar is closed once, and none is short"
    starts = [datetime.fromisoformat(bar[1]) for bar in bars()]
    assert {after - before for before, after in pairwise(starts)} == {timedelta(seconds=2)}
    for bar in bars():
        if bar[2]:
            first, high, low, last = map(Decimal, bar[2].split())
            assert low <= min(first, last) <= max(first, last) <= high


def test_alerts(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "alerts.py", plant.bootstrap_servers, "0", "0")

    def told() -> set[str]:
        return {line.split()[0] for line in program.lines()}

    lines = program.until("both kinds are told", lambda: {"LIQUIDATION", "FUNDING"} <= told())
    rates = [line.split()[1] for line in lines if line.startswith("FUNDING")]
    assert len(rates) == len(set(rates)), "the program reports each market once while its rate is far from zero"


def test_fair_price(plant: Plant, tmp_path: Path) -> None:
    program = Program(tmp_path, "fair_price.py", plant.bootstrap_servers, "BTC_USDC_PERP")

    def quotes() -> list[re.Match[str]]:
        found = (re.match(r"fair ([\d.]+) quote ([\d.]+) ([\d.]+) as of \d+$", line) for line in program.lines())
        return [match for match in found if match]

    program.until("it quotes", lambda: len(quotes()) > LINES)
    for fair, bid, ask in (map(Decimal, quote.groups()) for quote in quotes()):
        assert bid < fair < ask


def test_export_day(plant: Plant, tmp_path: Path) -> None:
    for attempt in range(2):  # the day may end during the export
        today = datetime.now(UTC).date().isoformat()
        program = Program(tmp_path, "export_day.py", plant.bootstrap_servers, today, f"data-{attempt}")
        lines = program.to_its_end()
        if datetime.now(UTC).date().isoformat() == today:
            break
    sums = [match for line in lines if (match := re.fullmatch(r"(\S+): (\d+) trades, volume [\d.]+, .*", line))]
    assert "SOL_USDC" in {match[1] for match in sums}
    assert lines[-1].startswith(("plotted to", "no plot: "))


def test_replay_strategy(kafka: BlockingKafka, plant: Plant, tmp_path: Path) -> None:
    """A recording of this exchange, replayed into separate topics; the strategy gives the same result each time."""
    file = tmp_path / "session.bpr"
    streams = ("--streams", "bookTicker,trade", "--symbols", "SOL_USDC")
    record = plant.start_record(file, *streams)
    wait_until("it records", record.is_ready)
    wait_until("something is recorded", lambda: record.metric("recorded_frames_total") > 100, 2 * SECONDS)
    assert record.stop() == 0, record.log_tail()
    with running_plant(kafka.bootstrap_servers, tmp_path, "backpack-replayed.") as replayed:
        replay = replayed.start_replay(str(file), "--speed", "max", "--start", "all-streams", "--exit-when-done")
        producer = replayed.start("market-producer", *streams)
        assert replay.popen.wait(90) == 0, replay.log_tail()
        wait_until("all is published", lambda: producer.metric("frames_published_total") > 50)
        assert producer.stop() == 0
    results = set()
    for _ in range(2):
        program = Program(tmp_path, "replay_strategy.py", plant.bootstrap_servers, "SOL_USDC", "backpack-replayed.")
        results.add(tuple(program.to_its_end()))
    [[line]] = results
    found = re.fullmatch(r"(\d+) records, (\d+) fills, position -?[\d.]+, worth -?[\d.]+", line)
    assert found
    assert int(found[1]) > 50
    assert int(found[2]) > 0


def test_strategy_faults(plant: Plant, tmp_path: Path) -> None:
    program = Program(
        tmp_path, "strategy_faults.py", plant.bootstrap_servers, plant.exchange.control_url, "BTC_USDC_PERP"
    )
    lines = program.to_its_end()
    assert [line.rpartition(" ")[2] for line in lines] == ["True", "False", "True", "False", "True"]


# ---- programs in the documentation


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


def test_the_excluded_programs_still_exist() -> None:
    assert [word for word in NOT_RUN if not any(word in source for _, source in PROGRAMS)] == []
    assert len(RUN) >= 5


TYPED: dict[str, Any] = {}
if find_spec("backpack_streams.books.records"):  # the typed topics in docstrings
    TYPED = vars(import_module("backpack_streams.books.records")).copy()


class _EnoughError(Exception):
    """Stops a program that would print forever."""


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
