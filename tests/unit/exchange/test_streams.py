"""Stream names survive parsing, whatever dots their symbols contain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.errors import UsageError
from backpack_streams.exchange.streams import (
    DEPTH_WINDOWS,
    KLINE_INTERVALS,
    StreamKind,
    parse_kind,
    parse_kinds,
    split_stream,
)

INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1month")
PLAIN = (
    "bookTicker", "trade", "ticker", "externalTicker", "stockPrice", "markPrice", "openInterest", "liquidation",
)  # fmt: skip
KINDS = [
    "depth",
    "depth.200ms",
    "depth.600ms",
    "depth.1000ms",
    *PLAIN,
    *(f"kline.{interval}" for interval in INTERVALS),
    *(f"account.{name}Update" for name in ("order", "position", "rfq", "balance")),
]
SYMBOLS = ["BTC_USDC_PERP", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP", "BRK.B.US_USDC_PERP"]
NASTY = ["200ms.X", "1m.X", "1m", "200ms", ".", "..", "X.", ".X", "depth.X", "kline.1m.X", " ", "ß.✓"]

any_symbol = st.one_of(
    st.sampled_from(SYMBOLS + NASTY), st.text(st.sampled_from(list("ABk_.1m20s")), min_size=1, max_size=14)
)


@pytest.mark.parametrize("text", KINDS)
def test_a_kind_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_kind(text)) == text


@pytest.mark.parametrize("text", KINDS)
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_stream_of_a_real_symbol_survives_parsing(text: str, symbol: str) -> None:
    kind = parse_kind(text)
    assert kind.stream(symbol) == f"{text}.{symbol}"
    assert split_stream(kind.stream(symbol)) == (kind, symbol)


@given(st.sampled_from([kind for kind in KINDS if kind != "depth"]), any_symbol)
def test_any_symbol_survives(text: str, symbol: str) -> None:
    assert split_stream(f"{text}.{symbol}") == (parse_kind(text), symbol)


@given(any_symbol)
def test_any_symbol_of_a_depth_stream_survives_unless_it_starts_with_a_window(symbol: str) -> None:
    kind, found = split_stream(f"depth.{symbol}")
    if symbol.partition(".")[0] in DEPTH_WINDOWS and "." in symbol:
        # The exchange's own names are ambiguous here; the window takes precedence.
        assert (str(kind), found) == (f"depth.{symbol.partition('.')[0]}", symbol.partition(".")[2])
    else:
        assert (str(kind), found) == ("depth", symbol)


@given(any_symbol)
def test_unknown_channels_keep_their_whole_name(symbol: str) -> None:
    assert split_stream(f"somethingNew.{symbol}") == (StreamKind("somethingNew"), symbol)
    assert split_stream(f"account.{symbol}") == (StreamKind("account"), symbol)


@given(st.text(max_size=20))
def test_any_text_can_be_split_and_nothing_of_it_is_lost(name: str) -> None:
    kind, symbol = split_stream(name)
    if name.endswith(".") and symbol is None:
        name = name.removesuffix(".")
    assert kind.stream(symbol) == name or (symbol == "" and f"{kind}." == name)


def test_a_stream_of_all_markets_has_no_symbol() -> None:
    assert split_stream("liquidation") == (StreamKind("liquidation"), None)
    assert parse_kind("liquidation").stream(None) == "liquidation"


@given(any_symbol)
def test_liquidations_by_symbol_are_ordinary_streams(symbol: str) -> None:
    kind = parse_kind("liquidation.symbol")
    assert str(kind) == "liquidation.symbol"
    assert kind.stream(symbol) == f"liquidation.{symbol}"
    assert split_stream(kind.stream(symbol)) == (StreamKind("liquidation"), symbol)


@pytest.mark.parametrize("text", ["kline.1m+7m", "kline.+", "kline.1m+", "kline.ALL", "kline.", "kline", "depth.all"])
def test_a_list_of_intervals_with_an_unknown_one_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="unknown stream"):
        parse_kinds(text)


UNKNOWN = [
    *(
        "",
        ".",
        " depth",
        "trade ",
        "Depth",
        "DEPTH",
        "bookticker",
        "mark_price",
        "orderUpdate",
        "account.orders",
        "account.orderUpdate.SOL_USDC",
    ),
    *("depth.", "depth.300ms", "depth.200MS", "depth.200ms.", "depth.200ms.X", "depth.BTC_USDC"),
    *("kline", "kline.", "kline.7m", "kline.1M", "kline.1m.X"),
    *("trade.", "trade.BTC_USDC", "liquidation.", "liquidation.X"),
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_kind_is_refused_with_a_list_of_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_kind(text)
    message = str(refused.value)
    assert repr(text) in message
    assert all(known in message for known in ("depth.200ms", "bookTicker", "liquidation", *KLINE_INTERVALS))


@given(
    st.text(max_size=12) | st.builds("{}.{}".format, st.sampled_from(["depth", "kline", "trade"]), st.text(max_size=6))
)
def test_a_text_is_either_the_name_of_a_kind_or_refused(text: str) -> None:
    try:
        kind = parse_kind(text)
    except UsageError:
        assert text not in KINDS
        return
    assert str(kind) == text
    assert text in [*KINDS, "liquidation.symbol"]
