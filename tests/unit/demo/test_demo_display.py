import re

import pytest
from rich.console import Console

from backpack_streams.books import BookUpdate, MarketBook
from backpack_streams.demo.board import Board
from backpack_streams.demo.display import summary_line
from backpack_streams.demo.place import Place
from backpack_streams.demo.ports import DemoPorts
from backpack_streams.demo.terminal_view import screen

ONE = 10**18
PLACE = Place(DemoPorts(kafka=31092, ws=31765, rest=31766, control=31767), "logs-of-the-demo")


def board(books: int) -> Board:
    shown = Board(0.0, {"market.depth": 0})
    symbols = [f"TKN{number:03d}_USDC_PERP" for number in range(books)]
    shown.saw_listing(symbols, at=0.0)
    for symbol in symbols:
        market = MarketBook(symbol)
        outcome = market.on_seed(17953334541449, 1, [(86657 * ONE // 10, ONE)], [(8666 * ONE, ONE // 4)])
        shown.saw_update(BookUpdate(market, outcome))
    shown.saw_ends({"market.depth": 0}, 0, at=1.0)
    shown.saw_ends({"market.depth": 30}, 30, at=2.0)
    shown.tick(2.0)
    return shown


def drawn(shown: Board, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(screen(shown, PLACE, width, height))
    return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_the_screen_has_what_matters_at_every_size(width: int, height: int) -> None:
    lines = drawn(board(5), width, height)
    assert len(lines) <= height
    text = "\n".join(lines)
    for part in (
        "5 of 5 books LIVE",
        "127.0.0.1:31092",
        "logs-of-the-demo",
        "TKN004_USDC_PERP",
        "gaps 0",
        "market.depth",
    ):
        assert part in text
    assert re.search(r"TKN000_USDC_PERP LIVE +1 +8665\.7 8666 +0\.25", text)


def test_more_books_than_lines_are_counted() -> None:
    text = "\n".join(drawn(board(91), 80, 24))
    found = re.search(r"and (\d+) more, (\d+) of them LIVE", text)
    assert found
    assert int(found[1]) == int(found[2]) == 91 - text.count("_USDC_PERP LIVE")


def test_before_the_list_of_markets_is_there_the_screen_says_so() -> None:
    assert "waiting for the exchange's list of markets" in "\n".join(drawn(board(0), 80, 24))


def test_the_summary_is_one_line() -> None:
    assert summary_line(board(2).totals(10.0)) == (
        "up 10 s: 2 of 2 books LIVE, 0 frames/s in, 30 records/s in Kafka, gaps 0, dead letters 0, seeds 0, unread 0"
    )


def test_what_to_try_names_a_book_that_is_there() -> None:
    assert PLACE.commands_to_try(["SOL_USDC", "ETH_USDC"]) == [
        "backpack-streams book ETH_USDC --bootstrap-servers 127.0.0.1:31092",
        "backpack-streams tail backpack.market.trade --bootstrap-servers 127.0.0.1:31092",
    ]
    usual = Place(DemoPorts(kafka=19092), "logs")
    assert usual.commands_to_try(["AAPL.US_USDC_PERP", "BTC_USDC_PERP"])[0] == "backpack-streams book BTC_USDC_PERP"
    assert usual.exchange_in_short == "the real one"
