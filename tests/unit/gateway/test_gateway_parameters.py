"""Validation of a URL's parameters: an error says what would be valid."""

import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.errors import BadRequestError
from backpack_streams.gateway.gate import check_url
from backpack_streams.gateway.parameters import DECIMALS, Parameter, choice, parse, symbol_parameter, whole, words

DECLARED = {
    each.name: each
    for each in (
        symbol_parameter(),
        whole("depth", 1, 100, default=25, description="levels"),
        choice("type", ("SPOT", "PERP"), default=None, description="kind"),
        words("channels", "channels", "book", is_required=False),
        DECIMALS,
    )
}


def test_omitted_parameters_have_their_defaults() -> None:
    assert parse(b"symbol=SOL_USDC", DECLARED) == {
        "symbol": "SOL_USDC",
        "depth": 25,
        "type": None,
        "channels": None,
        "decimals": "number",
    }


@pytest.mark.parametrize("symbol", ["SOL_USDC", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP", "sol_usdc"])
def test_symbols_may_contain_dots_and_lowercase_letters(symbol: str) -> None:
    assert parse(f"symbol={symbol}".encode(), DECLARED)["symbol"] == symbol


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "symbol is missing; give a market"),
        ("symbol=", "symbol is empty; give a market"),
        ("symbol", "symbol is empty"),
        ("symbol=SOL%20USDC", "'SOL USDC' is no symbol"),
        ("symbol=SOL/USDC", "is no symbol"),
        ("symbol=%FF", "is no symbol"),
        ("symbol=%00", "is no symbol"),
        ("symbol=" + "A" * 65, "is no symbol"),
        ("symbol=A&symbol=A", "symbol is given twice"),
        ("symbol=A&symbol=B", "symbol is given twice"),
        ("symbol=A&depth=0", "depth='0' cannot be; give a whole number from 1 to 100"),
        ("symbol=A&depth=101", "from 1 to 100"),
        ("symbol=A&depth=-1", "from 1 to 100"),
        ("symbol=A&depth=2.5", "from 1 to 100"),
        ("symbol=A&depth=1e1", "from 1 to 100"),
        ("symbol=A&depth=+5", "from 1 to 100"),
        ("symbol=A&depth=%D9%A5", "from 1 to 100"),
        ("symbol=A&depth=" + "9" * 400, "from 1 to 100"),
        ("symbol=A&depth=ten", "from 1 to 100"),
        ("symbol=A&type=spot", "give one of SPOT, PERP"),
        ("symbol=A&decimals=float", "give one of number, string"),
        ("symbol=A&channels=book,,trades", "give names with commas"),
        ("symbol=A&dept=5", "'dept' is no parameter here; did you mean depth?"),
        ("symbol=A&zzz=5", "'zzz' is no parameter here; there are symbol, depth"),
        ("symbol=A&api_key=abc", "a key in the URL is refused"),
        ("symbol=A&X-API-Key=abc", "a key in the URL is refused"),
    ],
)
def test_an_error_says_what_is_valid(query: str, told: str) -> None:
    with pytest.raises(BadRequestError, match=re.escape(told)):
        parse(query.encode(), DECLARED)


@given(
    st.integers(1, 100),
    st.sampled_from(["SPOT", "PERP"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
)
def test_valid_parameters_are_read(depth: int, kind: str, symbol: str) -> None:
    query = urlencode({"type": kind, "depth": depth, "symbol": symbol})
    found = parse(query.encode(), DECLARED)
    assert (found["symbol"], found["depth"], found["type"]) == (symbol, depth, kind)


@given(st.binary(max_size=60))
def test_any_query_is_read_or_refused_in_short_printable_words(query: bytes) -> None:
    refusal = ""
    try:
        found = parse(query, DECLARED)
    except BadRequestError as error:
        refusal, found = str(error), dict(DECLARED)
    assert set(found) == set(DECLARED)
    assert refusal.isprintable()
    assert len(refusal) < 300


@given(st.text(max_size=30))
def test_a_choice_is_one_of_its_values_or_refused(text: str) -> None:
    parameter: Parameter = choice("type", ("SPOT", "PERP"), default=None, description="kind")
    query = f"type={quote(text)}".encode()
    if text in ("SPOT", "PERP"):
        assert parse(query, {"type": parameter}) == {"type": text}
    else:
        with pytest.raises(BadRequestError):
            parse(query, {"type": parameter})


@pytest.mark.parametrize("query", ["symbol={}", "symbols=SOL_USDC,{}", "x=%62ps_{}"])
def test_a_key_as_the_value_of_a_parameter_is_refused(query: str) -> None:
    key = f"bps_{'a' * 12}_{'B' * 43}"
    with pytest.raises(BadRequestError, match="a key in the URL is refused"):
        check_url(query.replace("%62ps_{}", "%62" + key[1:]).format(key).encode())
