from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.commands.top.choices import Choices, keys_of
from backpack_streams.commands.top.terminal import page
from backpack_streams.screen.lines import plain_text, width
from shown_plant import ShownPlant

VIEW = ShownPlant().view()
ROWS = VIEW.rows


def chosen(*keys: str) -> tuple[Choices, list[str]]:
    choices = Choices("volume", "")
    choices.rows(ROWS)
    for key in keys:
        choices.press(key)
    return choices, [row.symbol for row in choices.rows(ROWS)]


def test_keys_are_told_apart() -> None:
    assert list(keys_of(b"sq\x1b[A\x1bOB\x1b[5~\x1b[6~\r\x7f")) == [
        "s",
        "q",
        "up",
        "down",
        "page up",
        "page down",
        "enter",
        "backspace",
    ]
    assert list(keys_of(b"\x1b")) == ["escape"]
    assert list(keys_of(b"\x1b[15~\x1b[1;5C\x00\xff")) == [], "keys that nobody uses"
    assert list(keys_of("é".encode())) == ["é"]


def test_s_takes_the_next_order_and_r_reverses_it() -> None:
    assert chosen()[1][0] == "AAPL.US_USDC_PERP"
    choices, symbols = chosen("r")
    assert symbols[0] == "BTC_USDC_PERP"
    assert plain_text(choices.footer()).startswith("sort volume reversed (s, r)")
    assert chosen("r", "s")[0].order == "funding"
    assert chosen(*"sssssss")[0].order == "volume"


def test_a_search_takes_letters_until_enter() -> None:
    choices, symbols = chosen(*"/qsx", "backspace", "backspace", "backspace", *"shib", "enter", "s")
    assert symbols == ["kSHIB_USDC_PERP"]
    assert (choices.search, choices.order, choices.has_quit) == ("shib", "funding", False)
    assert len(chosen(*"/shib", "escape")[1]) == len(ROWS)
    assert len(chosen(*"/shib", "enter", "escape")[1]) == len(ROWS)


def test_q_quits() -> None:
    assert chosen("q")[0].has_quit


def test_the_list_is_scrolled_within_its_bounds() -> None:
    assert chosen("down", "down", "up")[0].first == 1
    assert chosen("up")[0].first == 0
    assert chosen("end")[0].first == len(ROWS) - 1
    assert chosen("end", "home")[0].first == 0
    assert chosen(*"/btc", "enter")[0].first == 0
    choices, _ = chosen("end")
    choices.turn_page_by(3)
    assert choices.first == len(ROWS) - 3
    choices.press("page up")
    assert choices.first == 0


@given(st.binary(max_size=12), st.integers(1, 100), st.integers(1, 30))
def test_the_page_fits_whatever_is_typed(typed: bytes, columns: int, lines: int) -> None:
    choices = Choices("volume", "")
    for key in keys_of(typed):
        choices.press(key)
        shown = page(VIEW, choices, columns, lines, log="a warning")
        assert len(shown) <= lines
        assert max(map(width, shown)) <= columns


def test_the_page_ends_with_the_log_and_the_keys() -> None:
    plant = ShownPlant()
    plant.data.set_unavailable("books", "topic backpack.market.depth does not exist")
    lines = [plain_text(each) for each in page(plant.view(), Choices("volume", ""), 100, 30, log="12:00 WARNING what")]
    assert len(lines) == 30
    assert lines[1] == "topic backpack.market.depth does not exist"
    assert lines[-2:] == ["12:00 WARNING what", "sort volume (s, r)   search /   scroll ↑ ↓ PgUp PgDn   quit q"]
