import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import MarketBook
from backpack_streams.demo.board import Board
from backpack_streams.demo.display import summary_line
from backpack_streams.demo.pid_files import PidFiles
from backpack_streams.demo.place import Place, program_to_type
from backpack_streams.demo.ports import DemoPorts
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.service_report import ServiceReport
from backpack_streams.demo.terminal_view import screen
from backpack_streams.demo.what_to_try import suggestions, text_of
from backpack_streams.screen.lines import plain_text, width
from shown_plant import ShownPlant

ONE = 10**18
PIDS = PidFiles(Path("the demo/pids"))
TRY_FILE = Path("what-to-try.txt")
PLACE = Place(DemoPorts(kafka=31092, ws=31765, rest=31766, control=31767), "logs-of-the-demo", PIDS, TRY_FILE)


def board(books: int, programs: ProgramStates | None = None) -> Board:
    symbols = [f"TKN{number:03d}_USDC_PERP" for number in range(books)]
    plant = ShownPlant(symbols)
    plant.take_rates(market_depth=30)
    shown = Board(0.0, programs or ProgramStates(lambda _: None), plant.view)
    shown.saw_listing(symbols, at=0.0)
    for symbol in symbols:
        market = MarketBook(symbol)
        market.on_snapshot(17953334541449, 1, [(86657 * ONE // 10, ONE)], [(8666 * ONE, ONE // 4)])
        shown.saw_book(market.view)
    shown.tick(2.0)
    return shown


def drawn(shown: Board, columns: int, height: int) -> list[str]:
    return [plain_text(each) for each in screen(shown, PLACE, columns, height)]


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (120, 40), (200, 60)])
def test_the_screen_has_the_essentials_at_every_size(columns: int, height: int) -> None:
    text = "\n".join(drawn(board(5), columns, height))
    for part in (
        "5 of 5 books LIVE",
        "127.0.0.1:31092",
        "logs-of-the-demo",
        "TKN004_USDC_PERP",
        "dead letters 0",
        "gaps      0 in the last hour",
    ):
        assert part in text
    assert re.search(r"TKN000_USDC_PERP .* 101 .*\+1\.00% .* LIVE ", text)


BOARDS = {books: board(books) for books in (0, 1, 91)}


@given(st.sampled_from([*BOARDS]), st.integers(1, 200), st.integers(1, 70))
def test_it_fits_every_terminal(books: int, columns: int, height: int) -> None:
    lines = screen(BOARDS[books], PLACE, columns, height)
    assert len(lines) <= height
    assert max(map(width, lines)) <= columns


def test_more_books_than_lines_are_counted() -> None:
    text = "\n".join(drawn(board(91), 80, 24))
    found = re.search(r"of 91 markets; (\d+) of the others LIVE", text)
    assert found
    assert int(found[1]) == 91 - len(re.findall(r"^TKN", text, re.MULTILINE))


def test_before_the_market_list_arrives_the_screen_says_so() -> None:
    assert "no market is known yet" in drawn(board(0), 80, 24)


def test_a_program_that_ended_is_shown_with_its_restarts() -> None:
    programs = ProgramStates(lambda _: None)
    for name in ("sandbox", "market-producer", "perp-producer"):
        programs.saw_report(name, ServiceReport(True), "", at=1.0)
    programs.saw_end("perp-producer", "perp-producer ended unexpectedly (by signal 9): ready", 0.5, at=2.0)
    programs.saw_restart("perp-producer", 4711)
    programs.saw_report("perp-producer", ServiceReport(True), "", at=4.0)
    programs.saw_end("market-producer", "market-producer ended unexpectedly (by signal 9): ready", 0.5, at=2.0)
    [line] = [line for line in drawn(board(5, programs), 200, 40) if line.startswith("programs")]
    assert line.rstrip() == (
        "programs  market-producer not ready: market-producer ended unexpectedly (by signal 9): ready  "
        "perp-producer ready (restarted 1 x)  sandbox ready"
    )


def commands_shown(width: int, height: int) -> list[str]:
    lines = [line.rstrip() for line in drawn(board(5), width, height)]
    first = next(number for number, line in enumerate(lines) if line.startswith("try  "))
    last = next(number for number, line in enumerate(lines) if line.startswith("age  "))
    return [line[len("try       ") :] for line in lines[first:last] if line]


def test_on_a_large_screen_all_commands_can_be_copied() -> None:
    assert commands_shown(140, 60) == [each.command for each in suggestions(PLACE, ["TKN000_USDC_PERP"])]


def test_on_a_small_screen_the_file_with_all_commands_is_named() -> None:
    book, *_ = suggestions(PLACE, ["TKN000_USDC_PERP"])
    assert commands_shown(100, 24) == [book.command, "cat what-to-try.txt"]


def test_before_the_books_are_live_no_command_is_suggested() -> None:
    assert "try       commands follow once the books are LIVE" in "\n".join(drawn(board(0), 80, 24))


def test_the_summary_is_one_line() -> None:
    assert summary_line(board(2).totals(10.0), 1030) == (
        "up 10 s: 2 of 2 books LIVE, 0 frames/s in, 1,030 messages/s in Kafka, gaps 0, dead letters 0"
    )


def test_the_summary_counts_restarts() -> None:
    programs = ProgramStates(lambda _: None)
    programs.saw_end("sandbox", "sandbox ended", 0.5, at=2.0)
    programs.saw_restart("sandbox", 4711)
    assert summary_line(board(2, programs).totals(10.0), None).endswith("dead letters 0, restarts 1")


def test_suggestions_name_an_existing_book_and_the_demo_s_own_addresses() -> None:
    assert [each.line for each in suggestions(PLACE, ["SOL_USDC", "ETH_USDC"])] == [
        "to watch a book go STALE and come back: backpack-streams book ETH_USDC --bootstrap-servers 127.0.0.1:31092",
        "to kill a producer: kill -9 $(cat 'the demo/pids/market-producer')",
        "to drop a frame: curl http://127.0.0.1:31767/faults "
        """-d '{"fault":"drop","stream":"depth.ETH_USDC","count":1}'""",
        """to close the exchange's sockets: curl http://127.0.0.1:31767/faults -d '{"fault":"close"}'""",
        "to kill the exchange: kill -9 $(cat 'the demo/pids/sandbox')",
        "to see the records: backpack-streams tail backpack.market.trade --bootstrap-servers 127.0.0.1:31092",
    ]


def test_at_the_real_exchange_no_command_uses_the_sandbox() -> None:
    usual = Place(DemoPorts(kafka=19092), "logs", PIDS, TRY_FILE)
    assert [each.line for each in suggestions(usual, ["AAPL.US_USDC_PERP", "BTC_USDC_PERP"])] == [
        "to watch a book go STALE and come back: backpack-streams book BTC_USDC_PERP",
        "to kill a producer: kill -9 $(cat 'the demo/pids/market-producer')",
        "to see the records: backpack-streams tail backpack.market.trade",
    ]
    assert usual.exchange_in_short == "the real one"


def test_the_file_has_a_command_on_each_line_that_is_not_a_comment() -> None:
    lines = text_of(suggestions(PLACE, ["SOL_USDC"])).splitlines()
    assert lines[:3] == [
        "# to watch a book go STALE and come back",
        "backpack-streams book SOL_USDC --bootstrap-servers 127.0.0.1:31092",
        "",
    ]


def test_a_program_that_is_not_on_the_path_is_given_with_its_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "backpack-streams"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_to_type() == "backpack-streams"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    assert program_to_type() == str(program)
    monkeypatch.setattr(sys, "argv", ["main.py", "demo"])
    assert program_to_type() == f"{sys.executable} -m backpack_streams.cli.main"
